"""Motion transfer in NumPy equals that of `fomm_tf.ops.motion`."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import config
from fomm_tf.inference import motion_transfer
from fomm_tf.ops import motion
from fomm_tf.structures import Keypoints


def keypoints(rng, count, spread=0.5):
    value, jacobian = rng.normal(0, spread, [count, 5, 2]), np.eye(2) + rng.normal(0, 0.3, [count, 5, 2, 2])
    return Keypoints(np.float32(value), np.float32(jacobian))


SWITCHES = [("absolute", False, True), *itertools.product(["relative"], [False, True], [False, True])]


@pytest.mark.parametrize(("mode", "adapt_scale", "relative_jacobian"), SWITCHES)
def test_transfer_equals_that_of_ops(mode, adapt_scale, relative_jacobian):
    rng = np.random.default_rng(3)
    source, driving, initial = keypoints(rng, 1), keypoints(rng, 7), keypoints(rng, 1)
    driving.jacobian[1, 0] = 0
    initial.jacobian[0, 1:4] = [[[1, 2], [2, 4]], [[1e20, 0], [0, 1e20]], [[1e-5, 0], [0, -1e-5]]]
    settings = config.AnimateConfig(mode=mode, adapt_scale=adapt_scale, relative_jacobian=relative_jacobian)
    expected = motion.transfer(source, driving, initial, mode, relative_jacobian, adapt_scale)
    for part, of_ops in zip(motion_transfer.transfer(source, driving, initial, settings), expected, strict=True):
        assert part.dtype == np.float32
        np.testing.assert_allclose(part, of_ops, rtol=2e-5, atol=1e-6)


def test_transfer_of_zeroth_order_keypoints_has_no_jacobian():
    rng = np.random.default_rng(4)
    points = [keypoints(rng, count)._replace(jacobian=None) for count in (1, 3, 1)]
    assert motion_transfer.transfer(*points, config.AnimateConfig()).jacobian is None


@pytest.mark.parametrize("shape", ["random", "line", "repeated"])
def test_hull_area_equals_that_of_ops(shape):
    points = np.random.default_rng(5).normal(0, 0.5, [4, 6, 2]).astype(np.float32)
    if shape == "line":
        points[..., 1] = 0.5 * points[..., 0]
    if shape == "repeated":
        points[:] = points[:, :1]
    np.testing.assert_allclose(
        motion_transfer.hull_area(points), motion.hull_area(tf.constant(points)), rtol=1e-5, atol=1e-6
    )

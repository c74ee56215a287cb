"""Local motions, their combination and relative transfer, against their equations in NumPy."""

import re

import numpy as np
import pytest
import scipy.spatial
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fomm_tf.ops import motion
from fomm_tf.structures import Keypoints

# The first call of TensorFlow takes much longer than later ones: no deadline.
properties = settings(deadline=None, max_examples=30, derandomize=True)
every_number_of_sources = pytest.mark.parametrize("sources", [1, 3])


def frames(batch, seed, count=4, jacobian=True, dtype=np.float64):
    generator = np.random.default_rng(seed)
    value = generator.uniform(-0.9, 0.9, (batch, count, 2)).astype(dtype)
    matrices = (np.eye(2) + generator.uniform(-0.4, 0.4, (batch, count, 2, 2))).astype(dtype)
    return Keypoints(value, matrices if jacobian else None)


def tensors(keypoints):
    return Keypoints(*(None if part is None else tf.constant(part) for part in keypoints))


def transferred(source, driving, initial, relative_jacobian, adapt_scale):
    """Eq. 14-15 and A.3 for one frame and keypoint at a time."""
    value, jacobian = np.zeros_like(driving.value), np.zeros_like(driving.jacobian)
    for b in range(len(value)):
        s, i = (b if len(part.value) > 1 else 0 for part in (source, initial))
        scale = 1.0
        if adapt_scale:
            area_of = [scipy.spatial.ConvexHull(points).volume for points in (source.value[s], initial.value[i])]
            scale = np.sqrt(area_of[0]) / np.sqrt(area_of[1])
        for k in range(value.shape[1]):
            value[b, k] = scale * (driving.value[b, k] - initial.value[i, k]) + source.value[s, k]
            change = driving.jacobian[b, k] @ np.linalg.inv(initial.jacobian[i, k])
            jacobian[b, k] = change @ source.jacobian[s, k] if relative_jacobian else driving.jacobian[b, k]
    return value, jacobian


@every_number_of_sources
@pytest.mark.parametrize("jacobian", [True, False], ids=["first order", "zeroth order"])
def test_local_motions_equal_loops_over_pixels(sources, jacobian):
    source, driving, height, width = frames(sources, 1, jacobian=jacobian), frames(3, 2, jacobian=jacobian), 3, 5
    expected = np.zeros((3, 5, height, width, 2))
    for b, i, j in np.ndindex(3, height, width):
        z = np.array([-1 + 2 * j / (width - 1), -1 + 2 * i / (height - 1)])
        expected[b, 0, i, j] = z
        for k in range(4):
            s = b if sources > 1 else 0
            own = source.jacobian[s, k] @ np.linalg.inv(driving.jacobian[b, k]) if jacobian else np.eye(2)
            expected[b, k + 1, i, j] = source.value[s, k] + own @ (z - driving.value[b, k])
    result = motion.local_motions(tensors(source), tensors(driving), height, width)
    np.testing.assert_allclose(result, expected, atol=1e-12)


def test_combine_equals_loops():
    generator = np.random.default_rng(3)
    motions, mask = generator.normal(size=(2, 4, 3, 5, 2)), generator.uniform(size=(2, 3, 5, 4))
    expected = np.zeros((2, 3, 5, 2))
    for b, k, i, j in np.ndindex(2, 4, 3, 5):
        expected[b, i, j] += mask[b, i, j, k] * motions[b, k, i, j]
    np.testing.assert_allclose(motion.combine(tf.constant(motions), tf.constant(mask)), expected, atol=1e-12)


@every_number_of_sources
@pytest.mark.parametrize("relative_jacobian", [True, False])
@pytest.mark.parametrize("adapt_scale", [True, False])
@pytest.mark.parametrize("traced", [True, False])
def test_transfer_relative_equals_loops(sources, relative_jacobian, adapt_scale, traced):
    parts = frames(sources, 4), frames(3, 5), frames(sources, 6)
    call = tf.function(motion.transfer) if traced else motion.transfer
    arguments = {"relative_jacobian": relative_jacobian, "adapt_scale": adapt_scale}
    result = call(*map(tensors, parts), **arguments)
    value, jacobian = transferred(*parts, **arguments)
    np.testing.assert_allclose(result.value, value, atol=1e-9)
    np.testing.assert_allclose(result.jacobian, jacobian, atol=1e-9)


@properties
@given(st.integers(0, 10_000), st.booleans())
def test_transfer_of_the_initial_frame_is_the_source(seed, adapt_scale):
    source, driving = frames(1, seed), frames(1, seed + 1)
    result = motion.transfer(source, driving, driving, adapt_scale=adapt_scale)
    np.testing.assert_allclose(result.value, source.value, atol=1e-12)
    np.testing.assert_allclose(result.jacobian, source.jacobian, atol=1e-9)


@properties
@given(st.integers(0, 10_000))
def test_transfer_from_the_source_itself_is_the_driving_motion(seed):
    source, driving = frames(1, seed), frames(3, seed + 1)
    result = motion.transfer(source, driving, source, adapt_scale=True)
    np.testing.assert_allclose(result.value, driving.value, atol=1e-12)
    np.testing.assert_allclose(result.jacobian, driving.jacobian, atol=1e-9)


@properties
@given(st.floats(0.2, 4.0), st.integers(0, 10_000), st.booleans())
def test_transfer_adapt_scale_of_a_scaled_copy_is_its_scale(scale, seed, traced):
    initial, driving = frames(1, seed, count=8, jacobian=False), frames(2, seed + 1, count=8, jacobian=False)
    source = Keypoints(scale * initial.value + 0.1, None)
    call = tf.function(motion.transfer) if traced else motion.transfer
    result = call(*map(tensors, (source, driving, initial)), adapt_scale=True)
    expected = source.value + scale * (driving.value - initial.value)
    np.testing.assert_allclose(result.value, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "points",
    [
        [(0.1, 0.2)],
        [(0.1, 0.2), (0.7, -0.3)],
        [(0.1, 0.2)] * 4,
        [(0.1 * i, 0.3) for i in range(4)],
        [(0.1 * i + 0.013, 0.17 * i - 0.31) for i in range(6)],  # not exactly collinear in float32
    ],
    ids=["one", "two", "repeated", "horizontal", "slanted"],
)
@pytest.mark.parametrize("which", ["source", "initial"])
@pytest.mark.parametrize("traced", [True, False])
def test_transfer_adapt_scale_without_area_is_one(points, which, traced):
    count = len(points)
    flat = Keypoints(np.array([points], np.float32), None)
    other, driving = (frames(b, 7 + b, count, jacobian=False, dtype=np.float32) for b in (1, 2))
    source, initial = (flat, other) if which == "source" else (other, flat)
    call = tf.function(motion.transfer) if traced else motion.transfer
    result = call(*map(tensors, (source, driving, initial)), adapt_scale=True)
    np.testing.assert_allclose(result.value, driving.value - initial.value + source.value, atol=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_transfer_adapt_scale_of_collinear_points_is_one(seed):
    generator = np.random.default_rng(seed)
    line = generator.uniform(-1, 1, (1, 10, 1)) * generator.uniform(-1, 1, (1, 1, 2))
    initial = Keypoints(line.astype(np.float32), None)
    source, driving = (frames(b, 20 + b, 10, jacobian=False, dtype=np.float32) for b in (1, 2))
    expected = driving.value - initial.value + source.value
    for call in (motion.transfer, tf.function(motion.transfer)):
        result = call(*map(tensors, (source, driving, initial)), adapt_scale=True)
        np.testing.assert_allclose(result.value, expected, atol=1e-6)


def test_transfer_absolute_is_the_driving_motion():
    driving = frames(3, 8)
    result = motion.transfer(frames(1, 9), driving, frames(1, 10), "absolute", adapt_scale=True)
    np.testing.assert_array_equal(result.value, driving.value)
    np.testing.assert_array_equal(result.jacobian, driving.jacobian)


def test_transfer_without_jacobians_moves_values_only():
    source, driving, initial = (frames(b, b + 11, jacobian=False) for b in (1, 3, 1))
    result = motion.transfer(source, driving, initial)
    assert result.jacobian is None
    np.testing.assert_allclose(result.value, driving.value - initial.value + source.value, atol=1e-12)


@properties
@given(st.integers(0, 10_000))
def test_local_motions_of_equal_keypoints_are_the_identity(seed):
    still = tensors(frames(2, seed))
    motions = motion.local_motions(still, still, 4, 6)
    background = np.broadcast_to(motions[:, :1], motions.shape)
    np.testing.assert_allclose(motions, background, atol=1e-9)
    mask = np.random.default_rng(seed).dirichlet(np.ones(5), (2, 4, 6))
    np.testing.assert_allclose(motion.combine(motions, tf.constant(mask)), motions[:, 0], atol=1e-9)


def test_local_motions_map_driving_keypoints_to_source_keypoints():
    source, driving = tensors(frames(1, 12)), frames(1, 13)
    # The grid of 3 x 3 has a pixel at (0, 1): put every driving keypoint there.
    driving = tensors(Keypoints(np.broadcast_to([0.0, 1.0], driving.value.shape), driving.jacobian))
    motions = motion.local_motions(source, driving, 3, 3)
    np.testing.assert_allclose(motions[0, 1:, 2, 1], source.value[0], atol=1e-12)


def test_motion_gradients_are_numeric(check_gradient):
    source, driving, initial = frames(1, 14, count=2), frames(2, 15, count=2), frames(1, 16, count=2)

    def moved(source_value, source_jacobian, value, jacobian):
        motions = motion.local_motions(Keypoints(source_value, source_jacobian), Keypoints(value, jacobian), 2, 3)
        return motion.combine(motions, tf.constant(np.random.default_rng(0).uniform(size=(2, 2, 3, 3))))

    check_gradient(moved, *source, *driving)

    @tf.function  # in the graph, the scale has a gradient too
    def carried(*parts):
        pairs = [Keypoints(*pair) for pair in zip(parts[::2], parts[1::2], strict=True)]
        return tf.concat([tf.reshape(part, [-1]) for part in motion.transfer(*pairs)], 0)

    check_gradient(carried, *source, *driving, *initial)


def test_transfer_adapt_scale_gradient_is_numeric(check_gradient):
    source, driving, initial = (frames(1, seed, count=5, jacobian=False).value for seed in (17, 18, 19))

    @tf.function
    def carried(*values):
        return motion.transfer(*(Keypoints(value, None) for value in values), adapt_scale=True).value

    check_gradient(carried, source, driving, initial)


def test_local_motions_reject_jacobians_of_one_frame_only():
    with_jacobian, without = tensors(frames(1, 0)), tensors(frames(1, 0, jacobian=False))
    for pair in ((with_jacobian, without), (without, with_jacobian)):
        with pytest.raises(ValueError, match=r"^source and driving must both have Jacobians or both have none\.$"):
            motion.local_motions(*pair, 4, 4)


@pytest.mark.parametrize("which", ["source", "driving"])
def test_local_motions_reject_other_shapes_by_name(which):
    parts = {name: Keypoints(tf.zeros([1, 4, 2]), None) for name in ("source", "driving")}
    parts[which] = Keypoints(tf.zeros([4, 2]), None)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{which}.value must be [B, K, 2]; got shape (4, 2).')}$"):
        motion.local_motions(parts["source"], parts["driving"], 4, 4)


def test_transfer_rejects_unknown_mode():
    with pytest.raises(ValueError, match=r"^mode must be one of relative, absolute; got 'relativ'\.$"):
        motion.transfer(frames(1, 0), frames(1, 0), frames(1, 0), "relativ")

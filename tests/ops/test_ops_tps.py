"""The equivariance transform against loops over control points; statistics of its samples."""

import math
import re

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fomm_tf import ops
from fomm_tf.ops import tps

# The first call of TensorFlow takes much longer than later ones: no deadline.
properties = settings(deadline=None, max_examples=30, derandomize=True)

GENERATOR = np.random.default_rng(0)
THETA = np.eye(2, 3) + GENERATOR.normal(0, 0.2, (2, 2, 3))
WEIGHTS = GENERATOR.normal(0, 0.1, (2, 9))
POINTS = GENERATOR.uniform(-1.1, 1.1, (2, 4, 2))
TRANSFORM = tps.Transform(tf.constant(THETA), tf.constant(WEIGHTS))


def place_from(theta, weights, x, y):
    """T(z) of one point: the affine part, and one field that is added to both coordinates."""
    side = round(len(weights) ** 0.5)
    field = 0.0
    for index, weight in enumerate(weights):
        row, column = divmod(index, side)
        control_x, control_y = -1 + 2 * column / (side - 1), -1 + 2 * row / (side - 1)
        distance = abs(x - control_x) + abs(y - control_y)
        field += weight * distance**2 * math.log(distance + 1e-6)
    new_x = theta[0][0] * x + theta[0][1] * y + theta[0][2] + field
    return new_x, theta[1][0] * x + theta[1][1] * y + theta[1][2] + field


def test_warp_points_equals_loops():
    expected = [[place_from(THETA[b], WEIGHTS[b], *point) for point in POINTS[b]] for b in range(2)]
    np.testing.assert_allclose(tps.warp_points(TRANSFORM, tf.constant(POINTS)), expected, atol=1e-12)


def test_jacobian_equals_finite_differences():
    expected, step = np.zeros((2, 4, 2, 2)), 1e-6
    for b, n, column in np.ndindex(2, 4, 2):
        offset = step * np.eye(2)[column]
        ahead, behind = (place_from(THETA[b], WEIGHTS[b], *(POINTS[b, n] + sign * offset)) for sign in (1, -1))
        expected[b, n, :, column] = (np.array(ahead) - behind) / (2 * step)
    np.testing.assert_allclose(tps.jacobian(TRANSFORM, tf.constant(POINTS)), expected, atol=1e-8)


@pytest.mark.parametrize(("align_corners", "mode"), [(True, "mirror"), (False, "reflect")])
def test_warp_image_equals_scipy(align_corners, mode):
    image = np.random.default_rng(1).uniform(size=(2, 6, 9, 1))
    result = tps.warp_image(TRANSFORM, tf.constant(image), align_corners)
    for b in range(2):
        rows, columns = np.zeros((6, 9)), np.zeros((6, 9))
        for i, j in np.ndindex(6, 9):
            x, y = place_from(THETA[b], WEIGHTS[b], -1 + 2 * j / 8, -1 + 2 * i / 5)
            rows[i, j] = (y + 1) / 2 * 5 if align_corners else ((y + 1) * 6 - 1) / 2
            columns[i, j] = (x + 1) / 2 * 8 if align_corners else ((x + 1) * 9 - 1) / 2
        expected = scipy.ndimage.map_coordinates(image[b, ..., 0], [rows, columns], order=1, mode=mode)
        np.testing.assert_allclose(result[b, ..., 0], expected, atol=1e-9)


@properties
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_transform_with_zero_weights_is_affine(seed, side):
    generator = np.random.default_rng(seed)
    theta, points = tf.constant(generator.normal(size=(2, 2, 3))), tf.constant(generator.uniform(-1, 1, (2, 5, 2)))
    flat, affine = tps.Transform(theta, tf.zeros([2, side * side], tf.float64)), tps.Transform(theta, None)
    np.testing.assert_allclose(tps.warp_points(flat, points), tps.warp_points(affine, points), atol=1e-12)
    np.testing.assert_allclose(tps.jacobian(flat, points), tps.jacobian(affine, points), atol=1e-12)
    np.testing.assert_array_equal(tps.jacobian(affine, points), np.repeat(theta[:, None, :, :2], 5, 1))


def test_identity_transform_keeps_points_and_images():
    identity = tps.Transform(tf.eye(2, 3, [1]), tf.zeros([1, 25]))
    points = tf.constant(POINTS[:1], tf.float32)
    image = np.random.default_rng(2).uniform(size=(1, 7, 5, 3)).astype(np.float32)
    np.testing.assert_array_equal(tps.warp_points(identity, points), points)
    np.testing.assert_allclose(tps.warp_image(identity, tf.constant(image)), image, atol=1e-5)


def test_affine_transforms_compose_as_matrices():
    first, second = (tps.Transform(tf.constant(THETA[i : i + 1]), None) for i in range(2))
    whole = np.vstack([THETA[1], [0, 0, 1]]) @ np.vstack([THETA[0], [0, 0, 1]])
    together = tps.Transform(tf.constant(whole[None, :2]), None)
    points = tf.constant(POINTS[:1])
    moved = tps.warp_points(second, tps.warp_points(first, points))
    np.testing.assert_allclose(moved, tps.warp_points(together, points), atol=1e-12)


@properties
@given(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))
def test_sample_is_a_function_of_the_seed(first, second):
    ours = tps.sample([first, second], 3)
    for same, other in zip(tps.sample([first, second], 3), tps.sample([first, second + 1], 3), strict=True):
        reference = ours.theta if same.shape == ours.theta.shape else ours.control_weights
        np.testing.assert_array_equal(same, reference)
        assert np.abs(other - reference).max() > 1e-4


def test_sample_is_the_same_in_a_graph_and_has_distinct_entries():
    drawn, traced = tps.sample([3, 4], 6), tf.function(tps.sample)(tf.constant([3, 4]), tf.constant(6))
    np.testing.assert_array_equal(drawn.theta, traced.theta)
    np.testing.assert_array_equal(drawn.control_weights, traced.control_weights)
    assert len(np.unique(drawn.theta - tf.eye(2, 3))) == 36
    assert len(np.unique(drawn.control_weights)) == 150


def test_sample_has_the_paper_s_means_and_deviations():
    drawn = tps.sample([1, 2], 4000)
    assert drawn.theta.shape == [4000, 2, 3] and drawn.control_weights.shape == [4000, 25]
    assert drawn.theta.dtype == drawn.control_weights.dtype == tf.float32
    noise = drawn.theta.numpy() - np.eye(2, 3)
    for values, sigma in ((noise, 0.05), (drawn.control_weights.numpy(), 0.005)):
        np.testing.assert_allclose(values.std(0), sigma, rtol=0.06)
        np.testing.assert_allclose(values.mean(0), 0.0, atol=5 * sigma / 4000**0.5)
    together = np.concatenate([noise.reshape(4000, -1), drawn.control_weights], axis=1)
    assert np.abs(np.corrcoef(together.T) - np.eye(31)).max() < 0.09
    # One seed for both parts would draw the same numbers twice, in the order of memory.
    assert abs(np.corrcoef(noise.ravel(), drawn.control_weights.numpy().ravel()[: noise.size])[0, 1]) < 0.05


def test_sample_uses_its_arguments():
    drawn = tps.sample([1, 2], 2000, sigma_affine=0.2, sigma_tps=0.0, points=3)
    assert drawn.control_weights.shape == [2000, 9]
    np.testing.assert_allclose((drawn.theta - tf.eye(2, 3)).numpy().std(), 0.2, rtol=0.05)
    assert not drawn.control_weights.numpy().any()


def test_tps_gradients_are_numeric(check_gradient):
    points = POINTS[:1, :3]

    def moved(theta, weights, where):
        return tps.warp_points(tps.Transform(theta, weights), where)

    def slopes(theta, weights, where):
        return tps.jacobian(tps.Transform(theta, weights), where)

    check_gradient(moved, THETA[:1], WEIGHTS[:1], points)
    check_gradient(slopes, THETA[:1], WEIGHTS[:1], points, tolerance=1e-5)


def test_warp_image_gradient_is_numeric(check_gradient):
    image = np.random.default_rng(3).uniform(size=(1, 4, 5, 1))
    # 0.07 away from whole pixels everywhere: the finite differences cross no kink.
    theta = np.array([[[1.0, 0.0, 0.17], [0.0, 1.0, 0.23]]])
    check_gradient(lambda t, i: tps.warp_image(tps.Transform(t, None), i), theta, image)


def test_warp_points_gradient_at_a_control_point_is_finite():
    points = tf.reshape(ops.identity_grid(3, 3), [1, 9, 2])
    transform = tps.Transform(tf.eye(2, 3, [1]), tf.ones([1, 9]))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(points)
        moved, slopes = tps.warp_points(transform, points), tps.jacobian(transform, points)
    for result in (moved, slopes):
        assert np.isfinite(result).all() and np.isfinite(tape.gradient(result, points)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tps.warp_points(TRANSFORM, tf.zeros([4, 2])), "points must be [B, N, 2]; got shape (4, 2)."),
        (lambda: tps.jacobian(TRANSFORM, tf.zeros([2, 4, 3])), "points must be [B, N, 2]; got shape (2, 4, 3)."),
        (lambda: tps.warp_image(TRANSFORM, tf.zeros([6, 9, 3])), "image must be [B, H, W, C]; got shape (6, 9, 3)."),
        (
            lambda: tps.warp_points(tps.Transform(tf.eye(2, 3, [1]), tf.zeros([1, 8])), tf.zeros([1, 4, 2])),
            "control_weights must hold P x P weights; got 8.",
        ),
    ],
)
def test_tps_ops_reject_other_shapes(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()

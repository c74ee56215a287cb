"""Identity grids and pixel positions: the convention of all ops."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fomm_tf import ops

# The first call of TensorFlow takes much longer than later ones: no deadline.
properties = settings(deadline=None, max_examples=30, derandomize=True)

sizes = st.integers(1, 40)


@pytest.mark.parametrize(("height", "width"), [(2, 2), (3, 7), (8, 5), (1, 4), (4, 1)])
def test_identity_grid_equals_loops_over_rows_and_columns(height, width):
    expected = np.zeros((height, width, 2))
    for row in range(height):
        for column in range(width):
            x = -1.0 + 2.0 * column / (width - 1) if width > 1 else -1.0
            y = -1.0 + 2.0 * row / (height - 1) if height > 1 else -1.0
            expected[row, column] = x, y
    np.testing.assert_allclose(ops.identity_grid(height, width), expected, atol=1e-7)
    np.testing.assert_allclose(ops.identity_grid(tf.constant(height), tf.constant(width)), expected, atol=1e-7)


@pytest.mark.parametrize("align_corners", [True, False])
def test_to_pixels_equals_the_definition_of_both_conventions(align_corners):
    points = np.random.default_rng(0).uniform(-2, 2, (3, 4, 2))
    expected = np.zeros_like(points)
    for index in np.ndindex(3, 4):
        x, y = points[index]
        for axis, (position, size) in enumerate(((y, 6), (x, 11))):
            first, last = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
            expected[(*index, axis)] = first + (position + 1.0) / 2.0 * (last - first)
    np.testing.assert_allclose(ops.to_pixels(tf.constant(points), 6, 11, align_corners), expected, atol=1e-12)


@properties
@given(st.integers(2, 40), st.integers(2, 40))
def test_identity_grid_with_aligned_corners_is_at_whole_pixels(height, width):
    pixels = ops.to_pixels(ops.identity_grid(height, width), height, width, True)
    rows, columns = np.mgrid[:height, :width]
    np.testing.assert_allclose(pixels, np.stack([rows, columns], -1), atol=1e-5)


@properties
@given(sizes, sizes)
def test_identity_grid_is_antisymmetric_and_independent_of_static_sizes(height, width):
    result = ops.identity_grid(height, width).numpy()
    if height > 1 and width > 1:
        np.testing.assert_allclose(result[::-1, ::-1], -result, atol=1e-6)
    np.testing.assert_array_equal(result, ops.identity_grid(tf.constant(height), tf.constant(width)))


@pytest.mark.parametrize("align_corners", [True, False])
def test_to_pixels_gradient_is_numeric(align_corners, check_gradient):
    points = np.random.default_rng(1).uniform(-1, 1, (3, 2))
    check_gradient(lambda p: ops.to_pixels(p, 4, 9, align_corners), points)

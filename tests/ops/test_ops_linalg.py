"""2x2 linear algebra against NumPy, and the documented results for singular matrices."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fomm_tf.ops import linalg

# The first call of TensorFlow takes much longer than later ones: no deadline.
properties = settings(deadline=None, max_examples=30, derandomize=True)

entries = st.floats(-10.0, 10.0, width=32)
anything_finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
matrices = arrays.arrays(np.float64, (3, 2, 2), elements=entries)


def invertible(shape, seed):
    return np.eye(2) + np.random.default_rng(seed).uniform(-0.4, 0.4, (*shape, 2, 2))


def test_multiply_and_apply_equal_loops():
    generator = np.random.default_rng(0)
    left, right = generator.normal(size=(3, 2, 2)), generator.normal(size=(1, 2, 2))
    vector = generator.normal(size=(3, 2))
    product, image = np.zeros((3, 2, 2)), np.zeros((3, 2))
    for b in range(3):
        for i in range(2):
            for j in range(2):
                image[b, i] += left[b, i, j] * vector[b, j]
                for k in range(2):
                    product[b, i, k] += left[b, i, j] * right[0, j, k]
    np.testing.assert_allclose(linalg.multiply(tf.constant(left), tf.constant(right)), product, atol=1e-12)
    np.testing.assert_allclose(linalg.apply(tf.constant(left), tf.constant(vector)), image, atol=1e-12)


def test_inverse_equals_cramers_rule():
    matrix = invertible((2, 3), 1)
    expected = np.zeros_like(matrix)
    for index in np.ndindex(2, 3):
        for column in range(2):
            for row in range(2):
                replaced = matrix[index].copy()
                replaced[:, row] = np.eye(2)[column]
                expected[(*index, row, column)] = np.linalg.det(replaced) / np.linalg.det(matrix[index])
    np.testing.assert_allclose(linalg.inverse(tf.constant(matrix)), expected, atol=1e-12)
    np.testing.assert_allclose(linalg.inverse(tf.constant(matrix)), np.linalg.inv(matrix), atol=1e-12)


@properties
@given(matrices)
def test_inverse_of_inverse_is_the_matrix(matrix):
    assume((np.abs(np.linalg.det(matrix)) > 1e-2).all())
    matrix = tf.constant(matrix)
    twice = linalg.inverse(linalg.inverse(matrix))
    np.testing.assert_allclose(twice, matrix, atol=1e-8)
    product = linalg.multiply(matrix, linalg.inverse(matrix))
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(2), (3, 2, 2)), atol=1e-9)


@properties
@given(arrays.arrays(np.float32, (4, 2, 2), elements=anything_finite))
def test_inverse_and_products_of_finite_matrices_are_finite(matrix):
    inverse = linalg.inverse(tf.constant(matrix))
    assert np.isfinite(inverse).all()
    assert np.isfinite(linalg.multiply(tf.constant(matrix), inverse)).all()
    assert np.isfinite(linalg.multiply(tf.constant(matrix), tf.constant(matrix[::-1]))).all()


@pytest.mark.parametrize(
    ("matrix", "determinant"),
    [
        ([[0.0, 0.0], [0.0, 0.0]], 1e-8),
        ([[1.0, 2.0], [2.0, 4.0]], 1e-8),
        ([[1e-6, 0.0], [0.0, 1e-6]], 1e-8),
        ([[1e-6, 0.0], [0.0, -1e-6]], -1e-8),
        ([[1e-15, 0.0], [0.0, 1e-15]], 1e-8),
        ([[1e-4, 0.0], [0.0, 2e-4]], 2e-8),
        ([[0.0, 3e-4], [1e-4, 0.0]], -3e-8),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inverse_replaces_small_determinants_with_their_sign(matrix, determinant, dtype):
    (a, b), (c, d) = matrix
    expected = np.array([[d, -b], [-c, a]]) / determinant
    np.testing.assert_allclose(linalg.inverse(tf.constant(matrix, dtype)), expected, rtol=2e-6)


def test_inverse_clips_large_entries():
    huge, largest = tf.constant([[1e20, -1e20], [1e20, 1e20]]), tf.constant([[1e9, -1e9], [1e9, 1e9]])
    np.testing.assert_array_equal(linalg.inverse(huge), linalg.inverse(largest))
    np.testing.assert_allclose(linalg.inverse(largest), [[5e-10, 5e-10], [-5e-10, 5e-10]], rtol=1e-6)
    np.testing.assert_array_equal(linalg.multiply(huge, tf.eye(2)), largest)


def test_linalg_gradients_are_numeric(check_gradient):
    check_gradient(linalg.inverse, invertible((2,), 2))
    check_gradient(linalg.multiply, invertible((2,), 3), invertible((1,), 4))
    check_gradient(linalg.apply, invertible((2,), 5), np.random.default_rng(6).normal(size=(2, 2)))


def test_inverse_has_no_gradient_through_replaced_determinants():
    matrix = tf.Variable([[1e-6, 0.0], [0.0, 2e-6]])
    with tf.GradientTape() as tape:
        corner = linalg.inverse(matrix)[0, 0]  # d / determinant
    np.testing.assert_allclose(tape.gradient(corner, matrix), [[0.0, 0.0], [0.0, 1e8]], rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3), (3, 3), (4, 2, 1), (2,)])
def test_inverse_rejects_other_shapes(shape):
    written = "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
    with pytest.raises(ValueError) as caught:
        linalg.inverse(tf.zeros(shape))
    assert str(caught.value) == f"matrix must be [..., 2, 2]; got shape {written}."

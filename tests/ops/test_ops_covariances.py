"""Covariances of keypoints, against loops over pixels and NumPy's eigenvalues."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fomm_tf.ops import covariances, keypoints

BATCH, HEIGHT, WIDTH, COUNT = 2, 4, 6, 3
ENTRIES = st.floats(-1, 1, width=32)


def position(row, column):
    return np.array([-1.0 + 2.0 * column / (WIDTH - 1), -1.0 + 2.0 * row / (HEIGHT - 1)])


def draw_heatmap():
    positive = np.random.default_rng(0).uniform(0.1, 1.0, (BATCH, HEIGHT, WIDTH, COUNT))
    return positive / positive.sum((1, 2), keepdims=True)


def test_from_heatmaps_equals_loops():
    heatmap = draw_heatmap()
    mean, expected = np.zeros((BATCH, COUNT, 2)), np.zeros((BATCH, COUNT, 2, 2))
    for b, i, j, k in np.ndindex(*heatmap.shape):
        mean[b, k] += heatmap[b, i, j, k] * position(i, j)
    for b, i, j, k in np.ndindex(*heatmap.shape):
        offset = position(i, j) - mean[b, k]
        for row in range(2):
            for column in range(2):
                expected[b, k, row, column] += heatmap[b, i, j, k] * offset[row] * offset[column]
    value = keypoints.soft_argmax(tf.constant(heatmap))
    np.testing.assert_allclose(covariances.from_heatmaps(tf.constant(heatmap), value), expected, atol=1e-12)


def test_gaussian_heatmaps_equal_loops():
    rng = np.random.default_rng(1)
    value, root = rng.uniform(-1, 1, (BATCH, COUNT, 2)), rng.normal(size=(BATCH, COUNT, 2, 2))
    covariance = root @ root.swapaxes(-1, -2) + 0.1 * np.eye(2)
    expected = np.zeros((BATCH, HEIGHT, WIDTH, COUNT))
    for b, i, j, k in np.ndindex(*expected.shape):
        offset = position(i, j) - value[b, k]
        expected[b, i, j, k] = math.exp(-0.5 * offset @ np.linalg.inv(covariance[b, k]) @ offset)
    result = covariances.gaussian_heatmaps(tf.constant(value), tf.constant(covariance), HEIGHT, WIDTH)
    np.testing.assert_allclose(result, expected, atol=1e-9)


def test_gaussian_heatmaps_of_a_round_covariance_are_those_of_its_variance():
    value = np.random.default_rng(2).uniform(-1, 1, (BATCH, COUNT, 2))
    covariance = np.broadcast_to(0.01 * np.eye(2), (BATCH, COUNT, 2, 2))
    expected = keypoints.gaussian_heatmaps(tf.constant(value), HEIGHT, WIDTH, 0.01)
    result = covariances.gaussian_heatmaps(tf.constant(value), tf.constant(covariance), HEIGHT, WIDTH)
    np.testing.assert_allclose(result, expected, atol=1e-9)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.lists(ENTRIES, min_size=4, max_size=4))
def test_clip_raises_the_eigenvalues_of_the_symmetric_part(entries):
    matrix = np.reshape(entries, (2, 2)).astype(np.float64)
    eigenvalues, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    expected = vectors @ np.diag(np.maximum(eigenvalues, covariances.MIN_VARIANCE)) @ vectors.T
    np.testing.assert_allclose(covariances.clip(tf.constant(matrix)), expected, atol=2e-6)


def test_gradients_equal_differences(check_gradient):
    heatmap, value = draw_heatmap()[:1, :, :, :1], np.array([[[0.1, -0.2]]])
    check_gradient(lambda h, v: covariances.from_heatmaps(h, v), heatmap, value)
    matrix = np.array([[[[0.3, 0.1], [0.05, 0.2]]]])
    check_gradient(lambda v, m: covariances.gaussian_heatmaps(v, m, 3, 4), value, matrix)


def test_clip_has_a_finite_gradient_at_a_round_covariance():
    matrix = tf.Variable(0.25 * tf.eye(2))
    with tf.GradientTape() as tape:
        clipped = covariances.clip(matrix)
    np.testing.assert_allclose(clipped, matrix, atol=1e-6)
    assert np.isfinite(tape.gradient(clipped, matrix)).all()


def test_clip_rejects_other_matrices():
    with pytest.raises(ValueError, match=r"matrix must be \[\.\.\., 2, 2\]; got shape \(3, 3\)"):
        covariances.clip(tf.zeros([3, 3]))

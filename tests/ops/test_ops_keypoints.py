"""Keypoints from heatmaps, and heatmaps of keypoints, against loops over pixels."""

import math
import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fomm_tf.ops import keypoints

# The first call of TensorFlow takes much longer than later ones: no deadline.
properties = settings(deadline=None, max_examples=30, derandomize=True)

BATCH, HEIGHT, WIDTH, COUNT = 2, 4, 6, 3


def position(row, column, height=HEIGHT, width=WIDTH):
    return -1.0 + 2.0 * column / (width - 1), -1.0 + 2.0 * row / (height - 1)


@pytest.fixture
def heatmap():
    positive = np.random.default_rng(0).uniform(0.1, 1.0, (BATCH, HEIGHT, WIDTH, COUNT))
    return positive / positive.sum((1, 2), keepdims=True)


def test_spatial_softmax_equals_loops():
    logits = np.random.default_rng(1).normal(size=(BATCH, HEIGHT, WIDTH, COUNT))
    expected = np.zeros_like(logits)
    for b in range(BATCH):
        for k in range(COUNT):
            total = sum(math.exp(logits[b, i, j, k] / 0.3) for i in range(HEIGHT) for j in range(WIDTH))
            for i in range(HEIGHT):
                for j in range(WIDTH):
                    expected[b, i, j, k] = math.exp(logits[b, i, j, k] / 0.3) / total
    np.testing.assert_allclose(keypoints.spatial_softmax(tf.constant(logits), 0.3), expected, atol=1e-12)


def test_soft_argmax_equals_loops(heatmap):
    expected = np.zeros((BATCH, COUNT, 2))
    for b, i, j, k in np.ndindex(BATCH, HEIGHT, WIDTH, COUNT):
        x, y = position(i, j)
        expected[b, k, 0] += heatmap[b, i, j, k] * x
        expected[b, k, 1] += heatmap[b, i, j, k] * y
    np.testing.assert_allclose(keypoints.soft_argmax(tf.constant(heatmap)), expected, atol=1e-12)


@pytest.mark.parametrize("maps", [1, COUNT])
def test_average_jacobian_equals_loops(heatmap, maps):
    channels = np.random.default_rng(2).normal(size=(BATCH, HEIGHT, WIDTH, 4 * maps))
    expected = np.zeros((BATCH, COUNT, 2, 2))
    for b, i, j, k in np.ndindex(BATCH, HEIGHT, WIDTH, COUNT):
        for row in range(2):
            for column in range(2):
                channel = (0 if maps == 1 else 4 * k) + 2 * row + column
                expected[b, k, row, column] += heatmap[b, i, j, k] * channels[b, i, j, channel]
    result = keypoints.average_jacobian(tf.constant(heatmap), tf.constant(channels))
    np.testing.assert_allclose(result, expected, atol=1e-12)


def test_gaussian_heatmaps_equal_loops():
    value = np.random.default_rng(3).uniform(-1.2, 1.2, (BATCH, COUNT, 2))
    expected = np.zeros((BATCH, HEIGHT, WIDTH, COUNT))
    for b, i, j, k in np.ndindex(expected.shape):
        x, y = position(i, j)
        squared = (x - value[b, k, 0]) ** 2 + (y - value[b, k, 1]) ** 2
        expected[b, i, j, k] = math.exp(-squared / (2.0 * 0.05))
    result = keypoints.gaussian_heatmaps(tf.constant(value), HEIGHT, WIDTH, 0.05)
    np.testing.assert_allclose(result, expected, atol=1e-12)


@properties
@given(st.integers(2, 9), st.integers(2, 9), st.data())
def test_soft_argmax_of_a_single_pixel_is_its_position(height, width, data):
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    heatmap = np.zeros((1, height, width, 1), np.float32)
    heatmap[0, row, column] = 1.0
    detected = keypoints.soft_argmax(tf.constant(heatmap))
    np.testing.assert_allclose(detected[0, 0], position(row, column, height, width), atol=1e-6)


@properties
@given(st.floats(-1e4, 1e4), st.floats(0.01, 10.0))
def test_spatial_softmax_sums_to_one_and_ignores_large_offsets(constant, temperature):
    logits = np.random.default_rng(4).normal(size=(1, 5, 3, 2))
    result = keypoints.spatial_softmax(tf.constant(logits), temperature)
    np.testing.assert_allclose(tf.reduce_sum(result, [1, 2]), 1.0, atol=1e-12)
    np.testing.assert_allclose(
        keypoints.spatial_softmax(tf.constant(logits + constant), temperature), result, atol=1e-6
    )


@properties
@given(st.integers(0, 8), st.integers(0, 12))
def test_gaussian_heatmap_peaks_with_one_at_its_keypoint(row, column):
    value = tf.constant([[position(row, column, 9, 13)]], tf.float32)
    heatmap = keypoints.gaussian_heatmaps(value, 9, 13, 0.01).numpy()[0, :, :, 0]
    assert np.unravel_index(heatmap.argmax(), heatmap.shape) == (row, column)
    np.testing.assert_allclose(heatmap.max(), 1.0, atol=1e-6)


def test_average_jacobian_of_a_constant_map_is_the_constant(heatmap):
    maps = tf.broadcast_to(tf.constant([1.0, 2.0, 3.0, 4.0], tf.float64), [BATCH, HEIGHT, WIDTH, 4])
    result = keypoints.average_jacobian(tf.constant(heatmap), maps)
    np.testing.assert_allclose(result, np.broadcast_to([[1.0, 2.0], [3.0, 4.0]], result.shape), atol=1e-12)


def test_keypoint_gradients_are_numeric(heatmap, check_gradient):
    generator = np.random.default_rng(5)
    check_gradient(lambda t: keypoints.spatial_softmax(t, 0.5), generator.normal(size=(1, 2, 3, 2)))
    check_gradient(keypoints.soft_argmax, heatmap[:1, :, :, :1])
    check_gradient(keypoints.average_jacobian, heatmap[:1, :2, :3, :2], generator.normal(size=(1, 2, 3, 8)))
    check_gradient(
        lambda v: keypoints.gaussian_heatmaps(v, 3, 4, 0.1), generator.uniform(-1, 1, (1, 2, 2)), tolerance=1e-5
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: keypoints.spatial_softmax(tf.zeros([3, 4, 5]), 0.1),
            "logits must be [B, h, w, K]; got shape (3, 4, 5).",
        ),
        (lambda: keypoints.soft_argmax(tf.zeros([3, 4])), "heatmap must be [B, h, w, K]; got shape (3, 4)."),
        (
            lambda: keypoints.average_jacobian(tf.zeros([1, 2, 2, 3]), tf.zeros([1, 2, 2, 8])),
            "jacobian_maps must have 4 or 12 channels; got 8.",
        ),
        (
            lambda: keypoints.average_jacobian(tf.zeros([1, 2, 2, 3]), tf.zeros([2, 2, 12])),
            "jacobian_maps must be [B, h, w, 4K]; got shape (2, 2, 12).",
        ),
        (
            lambda: keypoints.gaussian_heatmaps(tf.zeros([1, 5, 3]), 8, 8, 0.01),
            "value must be [B, K, 2]; got shape (1, 5, 3).",
        ),
    ],
)
def test_keypoint_ops_reject_other_shapes(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()

"""The other ways to compute a convolution against loops over pixels, and against TensorFlow's in float32."""

import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fomm_tf.ops import conv

# The first call of TensorFlow takes much longer than later ones: no deadline.
properties = settings(deadline=None, max_examples=20, derandomize=True)


def convolve(image, kernel, bias):
    """Pixel by pixel; zeros surround the image."""
    radius = len(kernel) // 2
    padded = np.pad(image, [(0, 0), (radius, radius), (radius, radius), (0, 0)])
    result = np.empty((*image.shape[:3], kernel.shape[3]))
    for i, j in np.ndindex(image.shape[1:3]):
        window = padded[:, i : i + len(kernel), j : j + len(kernel)]
        result[:, i, j] = np.einsum("buvc,uvco->bo", window, kernel) + bias
    return result


def winograd(image, kernel, bias):
    return conv.winograd_conv2d(image, tf.constant(conv.transform_kernel(kernel.numpy())), bias)


def draw(shape, size, filters):
    random = np.random.default_rng(1)
    kernel = random.normal(size=(size, size, shape[3], filters)) / (size * shape[3] ** 0.5)
    return random.normal(size=shape), kernel, random.normal(size=filters)


@pytest.mark.parametrize(
    ("compute", "shape", "size", "filters"),
    [
        (conv.few_filters_conv2d, (2, 4, 6, 3), 7, 3),
        (conv.few_filters_conv2d, (1, 2, 10, 2), 3, 1),
        (conv.few_filters_conv2d, (1, 6, 2, 1), 1, 4),
        (winograd, (2, 8, 12, 3), 3, 5),
        (winograd, (1, 4, 4, 1), 3, 1),
        (winograd, (3, 16, 4, 2), 3, 2),
    ],
)
def test_convolution_equals_loops(compute, shape, size, filters):
    image, kernel, bias = draw(shape, size, filters)
    found = compute(tf.constant(image), tf.constant(kernel), tf.constant(bias))
    np.testing.assert_allclose(found, convolve(image, kernel, bias), atol=1e-12)


@properties
@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from([-1, 0, 1]), st.sampled_from([-1, 0, 1]))
def test_convolution_with_one_tap_shifts_the_image(rows, columns, down, right):
    image = np.random.default_rng(0).normal(size=(1, 4 * rows, 4 * columns, 2))
    kernel = np.zeros((3, 3, 2, 2))
    kernel[1 - down, 1 - right] = np.eye(2)
    expected = np.zeros_like(image)
    inner = np.pad(image, [(0, 0), (1, 1), (1, 1), (0, 0)])
    expected[:] = inner[:, 1 - down : 1 - down + image.shape[1], 1 - right : 1 - right + image.shape[2]]
    for compute in (conv.few_filters_conv2d, winograd):
        found = compute(tf.constant(image), tf.constant(kernel), tf.zeros(2, tf.float64))
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_few_filters_gradient_is_numeric(check_gradient):
    check_gradient(conv.few_filters_conv2d, *draw((1, 4, 4, 2), 3, 2))


def test_winograd_gradient_is_numeric(check_gradient):
    image, kernel, bias = draw((1, 4, 8, 2), 3, 2)
    transformed = conv.transform_kernel(kernel)
    check_gradient(lambda image, bias: conv.winograd_conv2d(image, tf.constant(transformed), bias), image, bias)


@pytest.mark.parametrize(
    ("compute", "shape", "size", "filters", "tolerance"),
    [(conv.few_filters_conv2d, (1, 64, 64, 64), 7, 3, 1e-6), (winograd, (2, 64, 64, 128), 3, 128, 1e-5)],
)
def test_convolution_agrees_with_tensorflow_in_float32(compute, shape, size, filters, tolerance):
    inputs = [tf.constant(array, tf.float32) for array in draw(shape, size, filters)]
    image, kernel, bias = (tf.cast(tensor, tf.float64) for tensor in inputs)
    expected = tf.nn.bias_add(tf.nn.conv2d(image, kernel, 1, "SAME"), bias)
    error = tf.cast(compute(*inputs), tf.float64) - expected
    assert np.sqrt(np.mean(error**2) / np.mean(expected**2)) < tolerance


@pytest.mark.parametrize(
    ("compute", "image", "kernel", "message"),
    [
        (conv.few_filters_conv2d, [4, 4, 2], [3, 3, 2, 1], "image must be [B, H, W, C]"),
        (conv.few_filters_conv2d, [1, 4, 5, 2], [3, 3, 2, 1], "image must have even sides"),
        (conv.few_filters_conv2d, [1, 4, 4, 2], [4, 4, 2, 1], "kernel must be [k, k, C, O], k odd"),
        (conv.winograd_conv2d, [1, 4, 6, 2], [36, 2, 1], "image must have sides that are multiples of 4"),
    ],
)
def test_convolution_rejects_other_shapes(compute, image, kernel, message):
    wrong = kernel if message.startswith("kernel") else image
    with pytest.raises(ValueError, match=re.escape(f"{message}; got shape {tuple(wrong)}.")):
        compute(tf.zeros(image), tf.zeros(kernel), tf.zeros(kernel[-1]))


def test_transform_kernel_rejects_other_sizes():
    with pytest.raises(ValueError, match=re.escape("kernel must be [3, 3, C, O]; got shape (5, 5, 2, 2).")):
        conv.transform_kernel(np.zeros((5, 5, 2, 2)))

"""Downsampling, resizing and upsampling against loops over pixels."""

import math
import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fomm_tf.ops import resample

# The first call of TensorFlow takes much longer than later ones: no deadline.
properties = settings(deadline=None, max_examples=30, derandomize=True)

IMAGE = np.random.default_rng(0).uniform(size=(2, 7, 10, 3))


def gaussian(scale):
    """The kernel from its definition; the radius is rounded half to even."""
    sigma = (1.0 / scale - 1.0) / 2.0
    radius = round(4 * sigma)
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    for i in range(-radius, radius + 1):
        for j in range(-radius, radius + 1):
            kernel[i + radius, j + radius] = math.exp(-(i * i + j * j) / (2 * sigma * sigma)) if radius else 1.0
    return kernel / kernel.sum()


def blur_and_subsample(image, kernel, step):
    """`kernel` is `[k, k, C]`; outside of the image there are zeros."""
    batch, height, width, channels = image.shape
    radius = len(kernel) // 2
    rows, columns = range(0, height, step), range(0, width, step)
    result = np.zeros((batch, len(rows), len(columns), channels))
    for b, i, j, c in np.ndindex(result.shape):
        for u in range(-radius, radius + 1):
            for v in range(-radius, radius + 1):
                row, column = rows[i] + u, columns[j] + v
                if 0 <= row < height and 0 <= column < width:
                    result[b, i, j, c] += image[b, row, column, c] * kernel[u + radius, v + radius, c]
    return result


def resize_by_loops(image, height, width):
    """Bilinear with half-pixel centers; the border pixel outside of the outer centers."""
    batch, rows, columns, channels = image.shape
    result = np.zeros((batch, height, width, channels))
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * rows / height - 0.5, 0.0), rows - 1.0)
            x = min(max((j + 0.5) * columns / width - 0.5, 0.0), columns - 1.0)
            top, left = min(int(y), rows - 2), min(int(x), columns - 2)
            for u, wu in ((top, 1 - (y - top)), (top + 1, y - top)):
                for v, wv in ((left, 1 - (x - left)), (left + 1, x - left)):
                    result[:, i, j] += wu * wv * image[:, u, v]
    return result


@pytest.mark.parametrize(("scale", "size"), [(1.0, 1), (0.5, 5), (0.25, 13), (0.125, 29)])
def test_antialias_kernel_is_a_gaussian(scale, size):
    kernel = resample.antialias_kernel(scale)
    assert kernel.shape == (size, size)
    assert kernel.dtype == np.float32
    np.testing.assert_allclose(kernel, gaussian(scale), atol=1e-7)


@pytest.mark.parametrize("scale", [0.5, 0.25])
def test_downsample_equals_loops(scale):
    kernel = np.repeat(resample.antialias_kernel(scale)[:, :, None].astype(np.float64), 3, axis=2)
    expected = blur_and_subsample(IMAGE, kernel, round(1 / scale))
    np.testing.assert_allclose(resample.downsample(tf.constant(IMAGE), scale), expected, atol=1e-12)


def test_downsample_with_given_kernel_equals_loops():
    kernel = np.random.default_rng(1).uniform(size=(5, 5, 3))
    result = resample.downsample(tf.constant(IMAGE), 0.5, kernel[..., None])
    np.testing.assert_allclose(result, blur_and_subsample(IMAGE, kernel, 2), atol=1e-12)
    result = resample.downsample(tf.constant(IMAGE), 0.5, kernel[..., 0])
    np.testing.assert_allclose(result, blur_and_subsample(IMAGE, np.repeat(kernel[..., :1], 3, 2), 2), atol=1e-12)


@pytest.mark.parametrize(("height", "width"), [(14, 20), (3, 5), (11, 4), (7, 13)])
def test_resize_equals_loops(height, width):
    result = resample.resize(tf.constant(IMAGE, tf.float32), height, width)
    np.testing.assert_allclose(result, resize_by_loops(IMAGE, height, width), atol=2e-6)


@pytest.mark.parametrize("autograph", [True, False])
@pytest.mark.parametrize("sizes", [(7, 10), (9, 4)])
def test_resize_to_dynamic_sizes_is_the_same(autograph, sizes):
    image = tf.constant(IMAGE, tf.float32)
    traced = tf.function(resample.resize, autograph=autograph)
    result = traced(image, *map(tf.constant, sizes))
    np.testing.assert_array_equal(result, resample.resize(image, *sizes))


def test_pyramid_levels_come_from_the_full_size():
    image = tf.constant(IMAGE)
    levels = resample.pyramid(image, [1, 0.5, 0.25])
    assert list(levels) == [1, 0.5, 0.25]
    assert levels[1] is image
    for scale, level in levels.items():
        np.testing.assert_array_equal(level, resample.downsample(image, scale))
    assert np.abs(levels[0.25] - resample.downsample(levels[0.5], 0.5)).max() > 1e-3


@properties
@given(st.integers(1, 33), st.integers(1, 33), st.sampled_from([1.0, 0.5, 0.25, 0.125]))
def test_downsample_rounds_sizes_up(height, width, scale):
    result = resample.downsample(tf.zeros([1, height, width, 1]), scale)
    assert result.shape == [1, math.ceil(height * scale), math.ceil(width * scale), 1]


@properties
@given(st.sampled_from([0.5, 0.25, 0.125]), st.integers(2, 40))
def test_downsample_keeps_constants_far_from_the_border(scale, size):
    radius = len(resample.antialias_kernel(scale)) // 2
    side = 2 * radius + size
    result = resample.downsample(tf.ones([1, side, side, 1]), scale).numpy()[0, :, :, 0]
    step = resample.stride(scale)
    inner = [i for i in range(len(result)) if radius <= i * step < side - radius]
    np.testing.assert_allclose(result[np.ix_(inner, inner)], 1.0, atol=1e-6)
    assert result[0, 0] < 0.9  # zeros outside


@properties
@given(st.integers(1, 12), st.integers(1, 12))
def test_resize_keeps_constants_and_images_of_the_same_size(height, width):
    image = tf.constant(IMAGE, tf.float32)
    np.testing.assert_allclose(resample.resize(tf.fill([1, 5, 4, 2], 0.3), height, width), 0.3, atol=1e-6)
    assert resample.resize(image, 7, 10) is image


def test_resample_gradients_are_numeric(check_gradient):
    image = np.random.default_rng(2).uniform(size=(1, 4, 5, 1))
    check_gradient(lambda t: resample.downsample(t, 0.5), image)
    check_gradient(lambda t: resample.pyramid(t, [1, 0.5])[0.5], image)


def test_resize_gradient_is_its_transpose():
    """TensorFlow resizes in float32 only, too coarse for differences; it is linear, so <R x, y> = <x, R' y>."""
    generator = np.random.default_rng(3)
    image, upstream = (tf.constant(generator.normal(size=s), tf.float32) for s in [(1, 4, 5, 2), (1, 7, 3, 2)])
    with tf.GradientTape() as tape:
        tape.watch(image)
        resized = resample.resize(image, 7, 3)
    gradient = tape.gradient(resized, image, upstream)
    expected = np.zeros((4, 5))
    for i in range(4):
        for j in range(5):
            one = np.zeros((1, 4, 5, 1))
            one[0, i, j] = 1.0
            expected[i, j] = (resize_by_loops(one, 7, 3)[..., 0] * upstream[..., 1]).numpy().sum()
    np.testing.assert_allclose(gradient[0, :, :, 1], expected, atol=1e-5)


@pytest.mark.parametrize(("scale", "step"), [(1.0, 1), (0.7, 1), (0.5, 2), (0.25, 4), (0.3, 3)])
def test_stride_is_the_integer_part_of_the_reciprocal(scale, step):
    assert resample.stride(scale) == step


@pytest.mark.parametrize("scale", [0, -0.5, 1.5, float("nan")])
@pytest.mark.parametrize(
    "call",
    [
        resample.stride,
        resample.antialias_kernel,
        lambda scale: resample.downsample(tf.zeros([1, 8, 8, 1]), scale),
        lambda scale: resample.pyramid(tf.zeros([1, 8, 8, 1]), [1, scale]),
    ],
)
def test_stride_rejects_scales_outside_of_zero_to_one(call, scale):
    with pytest.raises(ValueError, match=f"^{re.escape(f'scale must be in (0, 1]; got {scale}.')}$"):
        call(scale)


def test_downsample_rejects_images_without_batch():
    with pytest.raises(ValueError, match=re.escape("image must be [B, H, W, C]; got shape (8, 8, 3).")):
        resample.downsample(tf.zeros([8, 8, 3]), 0.5)


def test_upsample_nearest_2x_equals_keras_and_its_gradient_is_a_sum(check_gradient):
    image = np.random.default_rng(0).random([2, 3, 5, 4])
    expected = np.repeat(np.repeat(image, 2, axis=1), 2, axis=2)
    np.testing.assert_array_equal(resample.upsample_nearest_2x(tf.constant(image)), expected)
    np.testing.assert_array_equal(tf.keras.layers.UpSampling2D(2, dtype="float64")(image), expected)
    check_gradient(lambda values: resample.upsample_nearest_2x(values), image)
    with pytest.raises(ValueError, match="image"):
        resample.upsample_nearest_2x(tf.zeros([3, 5, 4]))


def upsample_and_convolve(image, kernel):
    """Pixel by pixel of the upsampled image, which is surrounded by zeros."""
    large = np.pad(np.repeat(np.repeat(image, 2, axis=1), 2, axis=2), [(0, 0), (1, 1), (1, 1), (0, 0)])
    batch, height, width, _ = large.shape
    result = np.zeros((batch, height - 2, width - 2, kernel.shape[3]))
    for i, j in np.ndindex(result.shape[1:3]):
        result[:, i, j] = np.einsum("buvc,uvco->bo", large[:, i : i + 3, j : j + 3], kernel)
    return result


def use_subpixel_conv(image, kernel):
    bias = tf.range(kernel.shape[3], dtype=kernel.dtype)
    return resample.subpixel_conv2d(image, kernel, bias) - bias


both_ways = pytest.mark.parametrize("convolve", [resample.upsample_conv2d, use_subpixel_conv])


@both_ways
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 1, 2, 1), (1, 1, 1, 3)])
def test_upsample_conv2d_and_gradient_equal_loops(shape, convolve, check_gradient):
    random = np.random.default_rng(1)
    image, kernel = random.normal(size=shape), random.normal(size=(3, 3, shape[3], 2))
    found = convolve(tf.constant(image), tf.constant(kernel))
    np.testing.assert_allclose(found, upsample_and_convolve(image, kernel), atol=1e-12)
    check_gradient(lambda values: convolve(values, tf.constant(kernel)), image)
    check_gradient(lambda values: convolve(tf.constant(image), values), kernel)


@both_ways
@pytest.mark.parametrize(("height", "channels", "tolerance"), [(8, 24, 1e-5), (64, 256, 1e-4)])
def test_upsample_conv2d_agrees_with_separate_upsampling_in_float32(height, channels, tolerance, convolve):
    random = np.random.default_rng(2)
    image = tf.constant(random.normal(size=(1, height, height, channels)), tf.float32)
    kernel = tf.constant(random.normal(size=(3, 3, channels, 32)) / (9 * channels) ** 0.5, tf.float32)
    weights = tf.constant(random.normal(size=(1, 2 * height, 2 * height, 32)), tf.float32)
    results = []
    for call in (convolve, lambda x, k: tf.nn.conv2d(resample.upsample_nearest_2x(x), k, 1, "SAME")):
        with tf.GradientTape() as tape:
            tape.watch([image, kernel])
            outputs = call(image, kernel)
            total = tf.reduce_sum(outputs * weights)
        results.append([outputs, *tape.gradient(total, [image, kernel])])
    for found, expected in zip(*results, strict=True):
        size = np.abs(expected).max()
        np.testing.assert_allclose(found / size, expected / size, atol=tolerance)


@both_ways
def test_upsample_conv2d_rejects_other_kernels(convolve):
    with pytest.raises(ValueError, match=re.escape("kernel must be [3, 3, C, O]; got shape (5, 5, 3, 4).")):
        convolve(tf.zeros([1, 4, 4, 3]), tf.zeros([5, 5, 3, 4]))

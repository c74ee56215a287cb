"""Antialiased downsampling and the image pyramid, as the reference computes them (B.1, Eq. 9), and upsampling.

Convention: a scale in (0, 1] keeps every int(1 / scale)-th pixel, starting with the first, after a Gaussian blur of
sigma (1 / scale - 1) / 2 pixels with zeros outside the image; odd sizes therefore round up.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from fomm_tf import ops

# Along one axis, which of a convolution's 3 taps each of the 4 taps of `upsample_conv2d` sums.
_TAPS = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], np.float32)
# The two of the four that an even pixel of the result takes, and the two that an odd one does.
_PHASES = _TAPS[[[3, 1], [2, 0]]]


def stride(scale: float) -> int:
    """The number of input pixels per output pixel at `scale`.

    Raises:
      ValueError: if `scale` is not in (0, 1].
    """
    if not 0.0 < scale <= 1.0:
        raise ValueError(f"scale must be in (0, 1]; got {scale}.")
    return int(1.0 / scale)


def antialias_kernel(scale: float, size: int = 0) -> np.ndarray:
    """The Gaussian that `downsample` blurs with.

    Args:
      scale: in (0, 1].
      size: pixels per side, odd; 0 for the size that belongs to the scale.

    Returns:
      `[k, k]` float32 that sums to one, k = 2 round(4 sigma) + 1 (banker's rounding) or `size`; `[[1]]` at scale 1.

    Raises:
      ValueError: if `scale` is not in (0, 1].
    """
    stride(scale)
    sigma = (size - 1) / 8.0 if size else (1.0 / scale - 1.0) / 2.0
    radius = round(4.0 * sigma)
    if radius == 0:
        return np.ones((1, 1), np.float32)
    line = np.exp(-np.square(np.arange(-radius, radius + 1, dtype=np.float32)) / np.float32(2.0 * sigma**2))
    kernel = np.outer(line, line)
    return (kernel / kernel.sum()).astype(np.float32)


def downsample(image: tf.Tensor, scale: float, kernel: tf.Tensor | np.ndarray | None = None) -> tf.Tensor:
    """A smaller copy of `image`, without aliasing.

    Sums in at least float32: a sum of 25 taps in bfloat16 is off by 2e-2.

    Args:
      image: `[B, H, W, C]` float.
      scale: in (0, 1].
      kernel: `[k, k]`, or `[k, k, C, 1]` for one per channel; default `antialias_kernel(scale)`. The models pass the
        kernel of their checkpoint.

    Returns:
      `[B, ceil(H / s), ceil(W / s), C]` with s = int(1 / scale), dtype of `image`.

    Raises:
      ValueError: if `image` is not of rank 4 or `scale` is not in (0, 1].
    """
    ops.check_shape("image", image, "B H W C")
    step = stride(scale)
    if scale == 1.0:
        return image
    result_dtype, image = image.dtype, ops.at_least_float32(image)
    kernel = tf.cast(antialias_kernel(scale) if kernel is None else kernel, image.dtype)
    if kernel.shape.rank == 2:
        kernel = tf.tile(kernel[:, :, tf.newaxis, tf.newaxis], [1, 1, image.shape[-1], 1])
    pad = kernel.shape[0] // 2
    padded = tf.pad(image, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    result = tf.nn.depthwise_conv2d(padded, kernel, strides=[1, step, step, 1], padding="VALID")
    return tf.cast(result, result_dtype)


def pyramid(image: tf.Tensor, scales: list[float] | tuple[float, ...]) -> dict[float, tf.Tensor]:
    """Downsamples `image` to each of `scales`, each from the full size, as the reference does.

    Args:
      image: `[B, H, W, C]` float.
      scales: each in (0, 1].

    Returns:
      scale -> `[B, ceil(H / s), ceil(W / s), C]`.
    """
    return {scale: downsample(image, scale) for scale in scales}


def resize(image: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """Bilinear resize with half-pixel centers and no anti-aliasing (torch's `align_corners=False`).

    Args:
      image: `[B, H, W, C]` float.
      height: rows of the result.
      width: columns of the result.

    Returns:
      `[B, height, width, C]`, dtype of `image`.
    """
    if isinstance(height, int) and isinstance(width, int) and list(image.shape[1:3]) == [height, width]:
        return image
    resized = tf.image.resize(ops.at_least_float32(image), [height, width], method="bilinear", antialias=False)
    return tf.cast(resized, image.dtype)


def upsample_nearest_2x(image: tf.Tensor) -> tf.Tensor:
    """Upsamples by nearest neighbor to twice the size; the gradient is a plain sum.

    Args:
      image: `[B, H, W, C]`.

    Returns:
      `[B, 2 H, 2 W, C]`.

    Raises:
      ValueError: if `image` is not of rank 4.
    """
    ops.check_shape("image", image, "B H W C")
    batch, height, width, channels = ops.sizes(image)
    wide = tf.reshape(tf.concat([image, image], axis=3), [batch, height, 2 * width * channels])
    return tf.reshape(tf.concat([wide, wide], axis=2), [batch, 2 * height, 2 * width, channels])


def upsample_conv2d(image: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """The 3x3 convolution of `upsample_nearest_2x(image)` with zero padding, at 4/9 of the work.

    The nine taps of an output pixel read a 2x2 neighborhood of `image`, so that this is a transposed convolution of
    stride 2 whose 4x4 taps are sums of the nine. The gradients of both arguments are exact.

    Args:
      image: `[B, H, W, C]`.
      kernel: `[3, 3, C, O]`.

    Returns:
      `[B, 2 H, 2 W, O]`.

    Raises:
      ValueError: if `image` is not of rank 4 or `kernel` is not 3x3.
    """
    _check_upsample_conv2d(image, kernel)
    batch, height, width, _ = ops.sizes(image)
    turned = tf.transpose(kernel, [0, 1, 3, 2])
    filters = tf.reshape(_sum_taps(turned, np.kron(_TAPS, _TAPS)), [4, 4, *turned.shape[2:]])
    return tf.nn.conv2d_transpose(image, filters, [batch, 2 * height, 2 * width, filters.shape[2]], strides=2)


def subpixel_conv2d(image: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """`upsample_conv2d` and a bias as a convolution with 2x2 taps, with one kernel for each of four output pixels.

    The runtimes of exported files compute it faster than a transposed convolution, also in 8 bits.

    Args:
      image: `[B, H, W, C]`.
      kernel: `[3, 3, C, O]`.
      bias: `[O]`; added to the convolution directly, so that runtimes fuse it and do not round it separately in 8 bits.

    Returns:
      `[B, 2 H, 2 W, O]`.

    Raises:
      ValueError: if `image` is not of rank 4 or `kernel` is not 3x3.
    """
    _check_upsample_conv2d(image, kernel)
    _, height, width, _ = ops.sizes(image)
    channels, filters = kernel.shape[2:]
    sums = np.einsum("akr,blc->klabrc", _PHASES, _PHASES).reshape(16, 9)
    taps = tf.reshape(_sum_taps(kernel, sums), [2, 2, 4, channels, filters])
    taps = tf.reshape(tf.transpose(taps, [0, 1, 3, 2, 4]), [2, 2, channels, 4 * filters])
    outputs = tf.nn.conv2d(tf.pad(image, [[0, 0], [1, 1], [1, 1], [0, 0]]), taps, 1, "VALID")
    outputs = tf.nn.bias_add(outputs, tf.tile(bias, [4]))
    parts = [
        part[:, down : down + height, right : right + width]
        for part, (down, right) in zip(tf.split(outputs, 4, axis=3), [(0, 0), (0, 1), (1, 0), (1, 1)], strict=True)
    ]
    return tf.nn.depth_to_space(tf.concat(parts, axis=3), 2)


def _sum_taps(kernel: tf.Tensor, sums: np.ndarray) -> tf.Tensor:
    """Sums of a kernel's nine taps by a matrix product, whose gradient is faster than that of sums of slices."""
    flat = tf.reshape(kernel, [9, -1])
    return tf.constant(sums, flat.dtype) @ flat


def _check_upsample_conv2d(image: tf.Tensor, kernel: tf.Tensor) -> None:
    ops.check_shape("image", image, "B H W C")
    ops.check_shape("kernel", kernel, "3 3 C O")
    if kernel.shape[:2] != [3, 3]:
        raise ValueError(f"kernel must be [3, 3, C, O]; got shape {kernel.shape}.")

"""Pure functions of the method: no variables, no config, no Keras layers. Here: grids, shapes and dtypes of tensors.

Convention of all of them:
  * points are `(x, y)`, x to the right, y down, in [-1, 1];
  * the identity grid puts -1 and +1 at the CENTERS of the first and last pixel;
    the `align_corners` argument of a warp says what they mean in an image;
  * images are NHWC;
  * grids, points and Jacobians are float32 (or float64), also under mixed precision.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def sizes(tensor: tf.Tensor) -> list[int | tf.Tensor]:
    """The sizes of `tensor`, each an int if known at trace time, else an int32 scalar."""
    if tensor.shape.is_fully_defined():
        return tensor.shape.as_list()
    dynamic = tf.shape(tensor)
    return [dynamic[axis] if size is None else size for axis, size in enumerate(tensor.shape)]


def check_shape(name: str, tensor: tf.Tensor, pattern: str, last: int | None = None) -> None:
    """Checks the static rank of a tensor, and the size of its last axis.

    Args:
      name: the name of the caller's argument.
      tensor: any tensor.
      pattern: the expected shape, as in `"B H W C"`: one word per axis.
      last: the size of the last axis, if it is fixed.

    Raises:
      ValueError: if they differ from the expected ones.
    """
    axes = pattern.split()
    if tensor.shape.rank != len(axes) or (last is not None and tensor.shape[-1] not in (None, last)):
        raise ValueError(f"{name} must be [{', '.join(axes)}]; got shape {tensor.shape}.")


def at_least_float32(tensor: tf.Tensor) -> tf.Tensor:
    """Casts half precision to float32; leaves float32 and float64 unchanged."""
    tensor = tf.convert_to_tensor(tensor)
    return tf.cast(tensor, tf.float32) if tensor.dtype.size < 4 else tensor


def identity_grid(height: int | tf.Tensor, width: int | tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """The grid of every pixel's own position.

    Args:
      height: rows, an int or an int32 scalar.
      width: columns, an int or an int32 scalar.
      dtype: float32 or float64.

    Returns:
      `[height, width, 2]`, (x, y); an axis of one pixel has its only point at -1.
    """
    x = tf.broadcast_to(_axis(width, dtype)[tf.newaxis, :], [height, width])
    y = tf.broadcast_to(_axis(height, dtype)[:, tf.newaxis], [height, width])
    return tf.stack([x, y], axis=-1)


def _axis(size: int | tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    if isinstance(size, int):
        numpy_dtype = dtype.as_numpy_dtype
        steps = np.arange(size, dtype=numpy_dtype) / numpy_dtype(max(size - 1, 1))
        return tf.constant(numpy_dtype(2) * steps - numpy_dtype(1))
    return 2.0 * (tf.cast(tf.range(size), dtype) / tf.cast(tf.maximum(size - 1, 1), dtype)) - 1.0


def to_pixels(points: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor, align_corners: bool) -> tf.Tensor:
    """Converts normalized (x, y) to pixel positions (row, column) in an image of `height` x `width`.

    Convention:
      * `align_corners=True`: -1 and +1 are the centers of the first and last pixel (torch before 1.3, with
        which the released weights were trained); `False`: their outer edges (torch's default since 1.3).

    Args:
      points: `[..., 2]` float, (x, y).
      height: rows of the image.
      width: columns of the image.
      align_corners: see above.

    Returns:
      `[..., 2]`, (row, column) in pixels; 0 is the center of the first pixel.
    """

    def convert(position: tf.Tensor, size: int | tf.Tensor) -> tf.Tensor:
        size = tf.cast(size, position.dtype)
        return (position + 1.0) * 0.5 * (size - 1.0) if align_corners else ((position + 1.0) * size - 1.0) * 0.5

    return tf.stack([convert(points[..., 1], height), convert(points[..., 0], width)], axis=-1)

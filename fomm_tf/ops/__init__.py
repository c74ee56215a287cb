"""Pure functions of the method: no variables, no config, no Keras layers. Here: shapes and dtypes of tensors."""

from __future__ import annotations

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

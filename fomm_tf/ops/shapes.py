"""Static sizes where they are known, dynamic ones where they are not."""

from __future__ import annotations

import tensorflow as tf


def sizes(tensor: tf.Tensor) -> list[int | tf.Tensor]:
    """The sizes of `tensor`, each an int if known at trace time, else an int32 scalar."""
    dynamic = None
    result = []
    for axis, size in enumerate(tensor.shape):
        if size is None:
            dynamic = tf.shape(tensor) if dynamic is None else dynamic
            size = dynamic[axis]
        result.append(size)
    return result


def check(name: str, tensor: tf.Tensor, pattern: str, last: int | None = None) -> None:
    """Refuses a tensor whose static rank (or last size) does not fit.

    Args:
      name: what the caller calls the tensor.
      tensor: any tensor.
      pattern: the shape that is wanted, as in `"B H W C"`: one word an axis.
      last: the size of the last axis, where it is fixed.

    Raises:
      ValueError: with the shape that was wanted and the one that came.
    """
    rank = len(pattern.split())
    if tensor.shape.rank != rank or (last is not None and tensor.shape[-1] not in (None, last)):
        raise ValueError(f"{name} must be [{', '.join(pattern.split())}]; got shape {tensor.shape}.")

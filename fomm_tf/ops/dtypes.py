"""The precision of coordinates, statistics and outputs."""

from __future__ import annotations

import tensorflow as tf


def at_least_float32(tensor: tf.Tensor) -> tf.Tensor:
    """Casts half precision to float32 and leaves float32 and float64 as they are.

    Args:
      tensor: any shape, floating point.

    Returns:
      The same values, in float32 or float64.
    """
    tensor = tf.convert_to_tensor(tensor)
    return tf.cast(tensor, tf.float32) if tensor.dtype.size < 4 else tensor

"""2x2 linear algebra in closed form: `tf.linalg.inv` does not convert to TFLite builtins.

Convention: matrices are `[..., 2, 2]`, row-major; Jacobians are d(x', y')/d(x, y).
"""

from __future__ import annotations

import tensorflow as tf

MIN_DETERMINANT = 1e-8
MAX_ENTRY = 1e9


def inverse(matrix: tf.Tensor) -> tf.Tensor:
    """The inverse of 2x2 matrices, defined for singular ones too.

    A determinant that is smaller than `MIN_DETERMINANT` in size is replaced by that value with its sign (plus for 0),
    so the result is the adjugate times at most 1e8: finite for finite input, and equal to the inverse everywhere else.
    No gradient flows through a replaced determinant. Entries are clipped to `MAX_ENTRY` in size (without a gradient):
    the determinant of larger ones overflows float32, so that finite input would give NaN. Such a matrix mostly maps to
    positions far outside of the image, which `fomm_tf.ops.warp.backward_warp` reads as padding.

    Args:
      matrix: `[..., 2, 2]` float.

    Returns:
      `[..., 2, 2]`.

    Raises:
      ValueError: if the last two static sizes are not 2.
    """
    if list(matrix.shape[-2:]) != [2, 2]:
        raise ValueError(f"matrix must be [..., 2, 2]; got shape {matrix.shape}.")
    matrix = _bounded(matrix)
    a, b = matrix[..., 0, 0], matrix[..., 0, 1]
    c, d = matrix[..., 1, 0], matrix[..., 1, 1]
    determinant = a * d - b * c
    floor = tf.where(determinant < 0.0, -MIN_DETERMINANT, MIN_DETERMINANT)
    determinant = tf.where(tf.abs(determinant) < MIN_DETERMINANT, tf.cast(floor, matrix.dtype), determinant)
    adjugate = tf.stack([tf.stack([d, -b], axis=-1), tf.stack([-c, a], axis=-1)], axis=-2)
    return adjugate / determinant[..., tf.newaxis, tf.newaxis]


def multiply(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """The product of 2x2 matrices, `[..., 2, 2]` each; leading axes broadcast; entries are bounded as in `inverse`."""
    left, right = _bounded(left), _bounded(right)
    return tf.reduce_sum(left[..., :, :, tf.newaxis] * right[..., tf.newaxis, :, :], axis=-2)


def apply(matrix: tf.Tensor, vector: tf.Tensor) -> tf.Tensor:
    """The product of 2x2 matrices `[..., 2, 2]` and vectors `[..., 2]`; leading axes broadcast."""
    return tf.reduce_sum(matrix * vector[..., tf.newaxis, :], axis=-1)


def _bounded(matrix: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(matrix, -MAX_ENTRY, MAX_ENTRY)

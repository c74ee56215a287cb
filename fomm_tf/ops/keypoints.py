"""Keypoints with their Jacobians, their computation from heatmaps, and Gaussian heatmaps of them (Eq. 2, 6).

Convention: see `fomm_tf.ops`. All values are float32, also under mixed precision. Jacobians are d(x', y')/d(x, y),
row-major; their inverses and products are in closed form, since `tf.linalg.inv` does not convert to TFLite builtins.
"""

from __future__ import annotations

import tensorflow as tf

from fomm_tf import ops
from fomm_tf.structures import MAX_ENTRY, MIN_DETERMINANT


def spatial_softmax(logits: tf.Tensor, temperature: float) -> tf.Tensor:
    """Heatmaps that sum to one over the positions of each channel.

    Args:
      logits: `[B, h, w, K]` float.
      temperature: divides the logits; the smaller, the sharper the heatmap.

    Returns:
      `[B, h, w, K]` float32.

    Raises:
      ValueError: if `logits` is not of rank 4.
    """
    ops.check_shape("logits", logits, "B h w K")
    batch, height, width, channels = ops.sizes(logits)
    logits = ops.at_least_float32(logits)
    flat = tf.reshape(logits / temperature, [batch, height * width, channels])
    return tf.reshape(tf.nn.softmax(flat, axis=1), [batch, height, width, channels])


def soft_argmax(heatmap: tf.Tensor) -> tf.Tensor:
    """Expected position under each heatmap; the grid spans [-1, 1], whatever the padding of the head.

    Args:
      heatmap: `[B, h, w, K]` float32, sums to one over the positions.

    Returns:
      `[B, K, 2]`, (x, y).

    Raises:
      ValueError: if `heatmap` is not of rank 4.
    """
    ops.check_shape("heatmap", heatmap, "B h w K")
    _, height, width, _ = ops.sizes(heatmap)
    grid = ops.identity_grid(height, width, heatmap.dtype)
    return tf.reduce_sum(heatmap[..., tf.newaxis] * grid[tf.newaxis, :, :, tf.newaxis, :], axis=[1, 2])


def average_jacobian(heatmap: tf.Tensor, jacobian_maps: tf.Tensor) -> tf.Tensor:
    """Jacobian of each keypoint: the mean of its four map channels, weighted by its heatmap.

    Args:
      heatmap: `[B, h, w, K]` float32, sums to one over the positions.
      jacobian_maps: `[B, h, w, 4 K]` (channel 4 k + row-major 2x2), or `[B, h, w, 4]`: one map for all keypoints.

    Returns:
      `[B, K, 2, 2]` float32.

    Raises:
      ValueError: if the ranks or the channels do not fit.
    """
    ops.check_shape("heatmap", heatmap, "B h w K")
    ops.check_shape("jacobian_maps", jacobian_maps, "B h w 4K")
    batch, height, width, num_keypoints = ops.sizes(heatmap)
    channels = jacobian_maps.shape[-1]
    if channels not in (4, 4 * num_keypoints):
        raise ValueError(f"jacobian_maps must have 4 or {4 * num_keypoints} channels; got {channels}.")
    maps = tf.reshape(tf.cast(jacobian_maps, heatmap.dtype), [batch, height, width, channels // 4, 4])
    mean = tf.reduce_sum(heatmap[..., tf.newaxis] * maps, axis=[1, 2])
    return tf.reshape(mean, [batch, num_keypoints, 2, 2])


def gaussian_heatmaps(value: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor, variance: float) -> tf.Tensor:
    """exp(-|z - p_k|^2 / (2 variance)): the two terms of Eq. 6, with the reference's exponent.

    Args:
      value: `[B, K, 2]` float, (x, y).
      height: rows of the heatmaps.
      width: columns of the heatmaps.
      variance: in normalized units squared; 0.01 in the paper.

    Returns:
      `[B, height, width, K]` float32.

    Raises:
      ValueError: if `value` is not `[B, K, 2]`.
    """
    ops.check_shape("value", value, "B K 2", last=2)
    value = ops.at_least_float32(value)
    grid = ops.identity_grid(height, width, value.dtype)
    offset = grid[tf.newaxis, :, :, tf.newaxis, :] - value[:, tf.newaxis, tf.newaxis, :, :]
    return tf.exp(-0.5 * tf.reduce_sum(tf.square(offset), axis=-1) / variance)


def invert_jacobian(matrix: tf.Tensor) -> tf.Tensor:
    """The inverse of 2x2 matrices, defined for singular ones too.

    A determinant that is smaller than `MIN_DETERMINANT` in size is replaced by that value with its sign (plus for 0),
    so the result is the adjugate times at most 1e8: finite for finite input, and equal to the inverse everywhere else.
    Entries are clipped to `MAX_ENTRY` in size, since the determinant of larger ones overflows float32. No gradient
    flows through a replaced determinant or a clipped entry.

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


def multiply_jacobians(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """The product of 2x2 matrices, `[..., 2, 2]` each, bounded as in `invert_jacobian`; leading axes broadcast."""
    left, right = _bounded(left), _bounded(right)
    return tf.reduce_sum(left[..., :, :, tf.newaxis] * right[..., tf.newaxis, :, :], axis=-2)


def apply_jacobian(matrix: tf.Tensor, vector: tf.Tensor) -> tf.Tensor:
    """The product of 2x2 matrices `[..., 2, 2]` and vectors `[..., 2]`; leading axes broadcast."""
    return tf.reduce_sum(matrix * vector[..., tf.newaxis, :], axis=-1)


def _bounded(matrix: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(matrix, -MAX_ENTRY, MAX_ENTRY)

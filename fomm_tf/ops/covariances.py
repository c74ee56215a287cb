"""Covariances of keypoints: from heatmaps, clipped, and as Gaussians of their shape (Monkey-Net, sec. 3.1).

Convention: see `fomm_tf.ops`. A covariance is a symmetric 2x2 matrix in normalized units squared, of the same axes as a
point (x, y). All values are float32, also under mixed precision.
"""

from __future__ import annotations

import tensorflow as tf

from fomm_tf import ops
from fomm_tf.ops import keypoints

# The smallest eigenvalue: a Gaussian of a standard deviation of 1.6 % of the frame's side.
MIN_VARIANCE = 1e-3
_EPSILON = 1e-12


def from_heatmaps(heatmap: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """The covariance of the position under each heatmap: sum_z H(z) (z - h) (z - h)^T.

    Args:
      heatmap: `[B, h, w, K]` float32, sums to one over the positions.
      value: `[B, K, 2]`, the expected positions h, from `fomm_tf.ops.keypoints.soft_argmax`.

    Returns:
      `[B, K, 2, 2]`.

    Raises:
      ValueError: if `heatmap` is not of rank 4, or `value` not `[B, K, 2]`.
    """
    ops.check_shape("heatmap", heatmap, "B h w K")
    ops.check_shape("value", value, "B K 2", last=2)
    _, height, width, _ = ops.sizes(heatmap)
    grid = ops.identity_grid(height, width, heatmap.dtype)
    offset = grid[tf.newaxis, :, :, tf.newaxis, :] - value[:, tf.newaxis, tf.newaxis, :, :]
    return tf.einsum("bhwk,bhwki,bhwkj->bkij", heatmap, offset, offset)


def clip(matrix: tf.Tensor, minimum: float = MIN_VARIANCE) -> tf.Tensor:
    """The symmetric part of matrices, with eigenvalues of at least `minimum`; the eigenvectors stay.

    Args:
      matrix: `[..., 2, 2]` float; relative transfer makes covariances that are not symmetric.
      minimum: in normalized units squared.

    Returns:
      `[..., 2, 2]`, symmetric and positive definite.

    Raises:
      ValueError: if the last two static sizes are not 2.
    """
    if list(matrix.shape[-2:]) != [2, 2]:
        raise ValueError(f"matrix must be [..., 2, 2]; got shape {matrix.shape}.")
    a, d = matrix[..., 0, 0], matrix[..., 1, 1]
    b = 0.5 * (matrix[..., 0, 1] + matrix[..., 1, 0])
    mean, half = 0.5 * (a + d), 0.5 * (a - d)
    # The eigenvalues are mean + radius and mean - radius; epsilon bounds the gradient of the root at 0.
    radius = tf.sqrt(tf.square(half) + tf.square(b) + _EPSILON)
    largest, smallest = (tf.maximum(each, minimum) for each in (mean + radius, mean - radius))
    mean, scale = 0.5 * (largest + smallest), 0.5 * (largest - smallest) / radius
    rows = [[mean + scale * half, scale * b], [scale * b, mean - scale * half]]
    return tf.stack([tf.stack(row, axis=-1) for row in rows], axis=-2)


def gaussian_heatmaps(
    value: tf.Tensor, covariance: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor
) -> tf.Tensor:
    """exp(-(z - h)^T Sigma^-1 (z - h) / 2): 1 at a keypoint, whatever its covariance.

    Args:
      value: `[B, K, 2]` float, (x, y).
      covariance: `[B, K, 2, 2]`; clipped first.
      height: rows of the heatmaps.
      width: columns of the heatmaps.

    Returns:
      `[B, height, width, K]` float32.

    Raises:
      ValueError: if `value` is not `[B, K, 2]`, or `covariance` not `[..., 2, 2]`.
    """
    ops.check_shape("value", value, "B K 2", last=2)
    value = ops.at_least_float32(value)
    inverse = keypoints.invert_jacobian(clip(tf.cast(covariance, value.dtype)))[:, tf.newaxis, tf.newaxis]
    grid = ops.identity_grid(height, width, value.dtype)
    offset = grid[tf.newaxis, :, :, tf.newaxis, :] - value[:, tf.newaxis, tf.newaxis, :, :]
    return tf.exp(-0.5 * tf.reduce_sum(offset * keypoints.apply_jacobian(inverse, offset), axis=-1))

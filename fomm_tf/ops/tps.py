"""The equivariance sampler: random affine + thin-plate-spline deformations (sec. 3.3, B.2, Eq. 10-13).

Convention: a transform maps a point z of the deformed frame to the position in the original frame that it comes from,
T(z) = theta [z; 1] + r(z) (1, 1), r(z) = sum_i w_i d_i^2 log(d_i + 1e-6), d_i = |x - x_i| + |y - y_i|. ONE scalar field
r is added to both coordinates and the distance is L1: the reference's choice, which the released weights were trained
with. The reference also reads the paper's 0.05 and 0.005 as standard deviations; so do we.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from fomm_tf import ops
from fomm_tf.ops import warp

_EPSILON = 1e-6


class Transform(NamedTuple):
    """B deformations.

    Attributes:
      theta: `[B, 2, 3]` float, the affine part.
      control_weights: `[B, P * P]` float, one weight per control point of a uniform P x P grid on [-1, 1]^2, row by
        row; None for an affine transform.
    """

    theta: tf.Tensor
    control_weights: tf.Tensor | None


def sample(
    seed: tf.Tensor, batch: int | tf.Tensor, sigma_affine: float = 0.05, sigma_tps: float = 0.005, points: int = 5
) -> Transform:
    """Draws `batch` transforms; the same seed draws the same ones (B.2).

    Args:
      seed: `[2]` integers, as `tf.random.stateless_normal` takes them.
      batch: number of transforms.
      sigma_affine: standard deviation of each entry of theta around the identity.
      sigma_tps: standard deviation of each control weight.
      points: control points along each side.

    Returns:
      A `Transform` of float32 tensors.
    """
    affine_seed, tps_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    noise = tf.random.stateless_normal([batch, 2, 3], affine_seed, stddev=sigma_affine)
    weights = tf.random.stateless_normal([batch, points * points], tps_seed, stddev=sigma_tps)
    return Transform(noise + tf.eye(2, 3), weights)


def warp_points(transform: Transform, points: tf.Tensor) -> tf.Tensor:
    """T(z) at each of `points`.

    Args:
      transform: B deformations.
      points: `[B, N, 2]`, (x, y); a batch of 1 serves all deformations, at a lower cost.

    Returns:
      `[B, N, 2]`.

    Raises:
      ValueError: if `points` is not `[B, N, 2]` or the number of control points is not a square.
    """
    ops.check_shape("points", points, "B N 2", last=2)
    moved = tf.matmul(points, transform.theta[..., :2], transpose_b=True) + transform.theta[:, tf.newaxis, :, 2]
    if transform.control_weights is None:
        return moved
    x, y = tf.unstack(_offsets(transform, points), axis=-1)
    distance = tf.abs(x) + tf.abs(y)
    radial = tf.square(distance) * tf.math.log(distance + _EPSILON)
    return moved + tf.matmul(radial, transform.control_weights[..., tf.newaxis])


def jacobian(transform: Transform, points: tf.Tensor) -> tf.Tensor:
    """dT/dz at each of `points`, in closed form and differentiable itself (Eq. 12-13).

    Args:
      transform: B deformations.
      points: `[B, N, 2]`, (x, y).

    Returns:
      `[B, N, 2, 2]`: row = output coordinate, column = input coordinate.

    Raises:
      ValueError: as `warp_points`.
    """
    ops.check_shape("points", points, "B N 2", last=2)
    batch, count, _ = ops.sizes(points)
    affine = tf.broadcast_to(transform.theta[:, tf.newaxis, :, :2], [batch, count, 2, 2])
    if transform.control_weights is None:
        return affine
    offsets = _offsets(transform, points)
    distance = tf.reduce_sum(tf.abs(offsets), axis=-1)
    slope = 2.0 * distance * tf.math.log(distance + _EPSILON) + tf.square(distance) / (distance + _EPSILON)
    weighted = (transform.control_weights[:, tf.newaxis] * slope)[..., tf.newaxis] * tf.sign(offsets)
    return affine + tf.reduce_sum(weighted, axis=2)[:, :, tf.newaxis, :]


def warp_image(transform: Transform, image: tf.Tensor, align_corners: bool = True) -> tf.Tensor:
    """Deforms frames; outside, a frame is mirrored.

    Args:
      transform: B deformations.
      image: `[B, H, W, C]` float.
      align_corners: see `fomm_tf.ops.warp.backward_warp`.

    Returns:
      `[B, H, W, C]`.
    """
    ops.check_shape("image", image, "B H W C")
    batch, height, width, _ = ops.sizes(image)
    identity = ops.identity_grid(height, width, transform.theta.dtype)
    points = tf.reshape(identity, [1, height * width, 2])
    positions = tf.reshape(warp_points(transform, points), [batch, height, width, 2])
    return warp.backward_warp(image, positions, padding="reflection", align_corners=align_corners)


def _offsets(transform: Transform, points: tf.Tensor) -> tf.Tensor:
    """`[B, N, P * P, 2]`: from each control point to each of `points`."""
    count = transform.control_weights.shape[-1]
    side = round(count**0.5)
    if side * side != count:
        raise ValueError(f"control_weights must hold P x P weights; got {count}.")
    control = tf.reshape(ops.identity_grid(side, side, points.dtype), [count, 2])
    return points[:, :, tf.newaxis, :] - control

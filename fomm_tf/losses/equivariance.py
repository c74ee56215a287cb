"""The equivariance of keypoints under known deformations (sec. 3.3, Eq. 10-13)."""

from __future__ import annotations

import tensorflow as tf

from fomm_tf.losses.perceptual import mean_absolute
from fomm_tf.ops import keypoints, linalg, tps


def value_loss(driving: keypoints.Keypoints, transformed: keypoints.Keypoints, transform: tps.Transform) -> tf.Tensor:
    """|p_D - T(p_T)|: keypoints of the deformed frame, moved back, are those of the frame (Eq. 11).

    Args:
      driving: keypoints of B driving frames.
      transformed: keypoints of the same frames deformed.
      transform: the deformations.

    Returns:
      `[B]`.
    """
    return mean_absolute(driving.value - tps.warp_points(transform, transformed.value))


def jacobian_loss(
    driving: keypoints.Keypoints, transformed: keypoints.Keypoints, transform: tps.Transform
) -> tf.Tensor:
    """|1 - J_D^-1 dT(p_T) J_T|: the same of their Jacobians (Eq. 13).

    Args:
      driving: keypoints of B driving frames.
      transformed: keypoints of the same frames deformed.
      transform: the deformations.

    Returns:
      `[B]`.

    Raises:
      ValueError: if the keypoints have no Jacobians.
    """
    if driving.jacobian is None or transformed.jacobian is None:
        raise ValueError("The equivariance of Jacobians needs keypoints with Jacobians.")
    moved = linalg.multiply(tps.jacobian(transform, transformed.value), transformed.jacobian)
    return mean_absolute(tf.eye(2, dtype=moved.dtype) - linalg.multiply(linalg.inverse(driving.jacobian), moved))

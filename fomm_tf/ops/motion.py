"""From keypoints to motion: local affine motions, their combination, relative transfer (Eq. 4-7, 14-15).

Convention: see `fomm_tf.ops`. All in float32, also under mixed precision.
"""

from __future__ import annotations

import tensorflow as tf

from fomm_tf import ops
from fomm_tf.ops import keypoints as keypoint_ops
from fomm_tf.structures import MIN_HULL_AREA, Keypoints

MODES = ("relative", "absolute")


def local_motions(source: Keypoints, driving: Keypoints, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """Where each output pixel comes from under the background's and each keypoint's own motion (Eq. 4-5).

    T_{S<-D}(z) = T_{S<-R}(p_k) + J_k (z - T_{D<-R}(p_k)), J_k = J_S J_D^-1 (identity without Jacobians).

    Args:
      source: keypoints of the source; batch 1 serves every driving frame.
      driving: keypoints of B driving frames.
      height: rows of the grids.
      width: columns of the grids.

    Returns:
      `[B, K + 1, height, width, 2]` float32; the background's identity grid is the first.

    Raises:
      ValueError: if the keypoints are not `[B, K, 2]` or only one of both has Jacobians.
    """
    for name, keypoints in (("source", source), ("driving", driving)):
        ops.check_shape(f"{name}.value", keypoints.value, "B K 2", last=2)
    if (source.jacobian is None) != (driving.jacobian is None):
        raise ValueError("source and driving must both have Jacobians or both have none.")
    identity = ops.identity_grid(height, width, driving.value.dtype)[tf.newaxis, tf.newaxis]
    offset = identity - driving.value[:, :, tf.newaxis, tf.newaxis, :]
    if driving.jacobian is not None:
        jacobian = keypoint_ops.multiply_jacobians(source.jacobian, keypoint_ops.invert_jacobian(driving.jacobian))
        # Positions on one axis: TFLite slices at most five axes, and the product would have six.
        batch, count, _ = ops.sizes(driving.value)
        flat = keypoint_ops.apply_jacobian(
            jacobian[:, :, tf.newaxis], tf.reshape(offset, [batch, count, height * width, 2])
        )
        offset = tf.reshape(flat, [batch, count, height, width, 2])
    moved = offset + source.value[:, :, tf.newaxis, tf.newaxis, :]
    background = tf.broadcast_to(identity, [ops.sizes(driving.value)[0], 1, height, width, 2])
    return tf.concat([background, moved], axis=1)


def combine(motions: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """The dense motion: local motions weighted by their masks (Eq. 7).

    Args:
      motions: `[B, K + 1, h, w, 2]` float32.
      mask: `[B, h, w, K + 1]`, sums to one over the last axis.

    Returns:
      `[B, h, w, 2]` float32, the deformation.
    """
    weights = tf.transpose(tf.cast(mask, motions.dtype), [0, 3, 1, 2])
    return tf.reduce_sum(motions * weights[..., tf.newaxis], axis=1)


def transfer(
    source_keypoints: Keypoints,
    driving: Keypoints,
    initial: Keypoints,
    mode: str = "relative",
    relative_jacobian: bool = True,
    adapt_scale: bool = False,
) -> Keypoints:
    """Transfers the driving motion to the source's object (Eq. 14-15, A.3).

    Relative: value = scale (value_D - value_D1) + value_S, Jacobian = J_D J_D1^-1 J_S. Absolute: `driving` as it is.
    scale is sqrt(hull area of S) / sqrt(hull area of D1) with `adapt_scale`, else 1; it is also 1 where either hull has
    no area (less than `MIN_HULL_AREA`: fewer than three points, or all on a line).

    Args:
      source_keypoints: of the source image, batch 1 or B.
      driving: keypoints of B driving frames.
      initial: keypoints of the first driving frame (or the best one), batch 1 or B.
      mode: one of `MODES`.
      relative_jacobian: False keeps the driving Jacobians in relative mode, as the reference's switch does.
      adapt_scale: see above; without effect in absolute mode.

    Returns:
      B keypoints, float32; arguments may be NumPy arrays.

    Raises:
      ValueError: if `mode` is unknown.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}; got {mode!r}.")
    source, driving, initial = (
        keypoints.map(tf.convert_to_tensor) for keypoints in (source_keypoints, driving, initial)
    )
    if mode == "absolute":
        return driving
    movement = driving.value - initial.value
    if adapt_scale:
        movement = movement * _scale(source.value, initial.value)[:, tf.newaxis, tf.newaxis]
    jacobian = driving.jacobian
    if relative_jacobian and jacobian is not None:
        change = keypoint_ops.multiply_jacobians(jacobian, keypoint_ops.invert_jacobian(initial.jacobian))
        jacobian = keypoint_ops.multiply_jacobians(change, source.jacobian)
    return Keypoints(movement + source.value, jacobian)


def _scale(source: tf.Tensor, initial: tf.Tensor) -> tf.Tensor:
    source_area, initial_area = hull_area(source), hull_area(initial)
    known = tf.logical_and(source_area > MIN_HULL_AREA, initial_area > MIN_HULL_AREA)
    ratio = tf.sqrt(source_area) / tf.sqrt(tf.where(known, initial_area, tf.ones_like(initial_area)))
    return tf.where(known, ratio, tf.ones_like(ratio))


def hull_area(points: tf.Tensor) -> tf.Tensor:
    """Area of the convex hull of keypoints: the integral of its upper minus its lower boundary (A.3).

    At the x of each point, the upper boundary is the highest of all chords between two points on either side, and the
    lower one the lowest; between these x both are straight. Collinear or repeated points have the area 0.

    Args:
      points: `[B, K, 2]` float, K static and at least 1.

    Returns:
      `[B]`, dtype of `points`.

    Raises:
      ValueError: if `points` is not `[B, K, 2]`.
    """
    ops.check_shape("points", points, "B K 2", last=2)
    x, y = points[..., 0], points[..., 1]
    knots = tf.reverse(tf.math.top_k(x, k=points.shape[1]).values, axis=[-1])
    knot = knots[:, :, tf.newaxis, tf.newaxis]
    left, right = x[:, tf.newaxis, :, tf.newaxis], x[:, tf.newaxis, tf.newaxis, :]
    covered = tf.logical_and(left <= knot, knot <= right)
    width = right - left
    share = tf.where(width > 0.0, (knot - left) / tf.where(width > 0.0, width, tf.ones_like(width)), 0.0)
    y_left, y_right = y[:, tf.newaxis, :, tf.newaxis], y[:, tf.newaxis, tf.newaxis, :]
    chord = y_left + share * (y_right - y_left)
    highest = tf.reduce_max(tf.where(covered, chord, points.dtype.min), axis=[2, 3])
    lowest = tf.reduce_min(tf.where(covered, chord, points.dtype.max), axis=[2, 3])
    height = highest - lowest
    return tf.reduce_sum((knots[:, 1:] - knots[:, :-1]) * 0.5 * (height[:, 1:] + height[:, :-1]), axis=-1)

"""From keypoints to motion: local affine motions, their combination, relative transfer (Eq. 4-7, 14-15).

Convention: see `fomm_tf.ops.grid`. All in float32, also under mixed precision.
"""

from __future__ import annotations

import tensorflow as tf

from fomm_tf.ops import grid as grid_ops
from fomm_tf.ops import hull, linalg, shapes
from fomm_tf.ops.keypoints import Keypoints

MODES = ("relative", "absolute")
# Points on a slanted line have a hull of up to 2e-7 by the rounding of float32, in Qhull's eyes too.
MIN_HULL_AREA = 1e-6


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
        shapes.check(f"{name}.value", keypoints.value, "B K 2", last=2)
    if (source.jacobian is None) != (driving.jacobian is None):
        raise ValueError("source and driving must both have Jacobians or both have none.")
    identity = grid_ops.identity_grid(height, width, driving.value.dtype)[tf.newaxis, tf.newaxis]
    offset = identity - driving.value[:, :, tf.newaxis, tf.newaxis, :]
    if driving.jacobian is not None:
        jacobian = linalg.multiply(source.jacobian, linalg.inverse(driving.jacobian))
        # Positions on one axis: the sixth axis of the product would be one more than TFLite slices.
        batch, count, _ = shapes.sizes(driving.value)
        flat = linalg.apply(jacobian[:, :, tf.newaxis], tf.reshape(offset, [batch, count, height * width, 2]))
        offset = tf.reshape(flat, [batch, count, height, width, 2])
    moved = offset + source.value[:, :, tf.newaxis, tf.newaxis, :]
    background = tf.broadcast_to(identity, [shapes.sizes(driving.value)[0], 1, height, width, 2])
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
    """The driving motion carried over to the source's object (Eq. 14-15, A.3).

    Relative: value = scale (value_D - value_D1) + value_S, Jacobian = J_D J_D1^-1 J_S. Absolute: `driving` as it is.
    scale is sqrt(hull area of S) / sqrt(hull area of D1) with `adapt_scale`, else 1; it is also 1 where either hull has
    no area (less than `MIN_HULL_AREA`: fewer than three points, or all on a line). Hulls are SciPy's when called
    eagerly and in-graph otherwise.

    Args:
      source_keypoints: of the source picture, batch 1 or B.
      driving: keypoints of B driving frames.
      initial: keypoints of the first driving frame (or the best one), batch 1 or B.
      mode: one of `MODES`.
      relative_jacobian: False keeps the driving Jacobians in relative mode, as the reference's switch does.
      adapt_scale: see above; without effect in absolute mode.

    Returns:
      B keypoints, float32. NumPy arrays are taken for tensors.

    Raises:
      ValueError: if `mode` is unknown.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}; got {mode!r}.")
    source, driving, initial = (
        Keypoints(*(None if part is None else tf.convert_to_tensor(part) for part in keypoints))
        for keypoints in (source_keypoints, driving, initial)
    )
    if mode == "absolute":
        return driving
    movement = driving.value - initial.value
    if adapt_scale:
        movement = movement * _scale(source.value, initial.value)[:, tf.newaxis, tf.newaxis]
    jacobian = driving.jacobian
    if relative_jacobian and jacobian is not None:
        change = linalg.multiply(jacobian, linalg.inverse(initial.jacobian))
        jacobian = linalg.multiply(change, source.jacobian)
    return Keypoints(movement + source.value, jacobian)


def _scale(source: tf.Tensor, initial: tf.Tensor) -> tf.Tensor:
    if tf.executing_eagerly():
        areas = [tf.constant(hull.area_by_qhull(points.numpy()), points.dtype) for points in (source, initial)]
    else:
        areas = [hull.area(source), hull.area(initial)]
    source_area, initial_area = areas
    known = tf.logical_and(source_area > MIN_HULL_AREA, initial_area > MIN_HULL_AREA)
    ratio = tf.sqrt(source_area) / tf.sqrt(tf.where(known, initial_area, tf.ones_like(initial_area)))
    return tf.where(known, ratio, tf.ones_like(ratio))

"""`fomm_tf.transfer` in NumPy, for all engines: K keypoints a frame are too few to wait for TensorFlow (Eq. 14-15).

The same function with tensors, for training and export, is `fomm_tf.ops.motion.transfer`.
"""

from __future__ import annotations

import numpy as np

from fomm_tf.config import AnimateConfig
from fomm_tf.structures import MAX_ENTRY, MIN_DETERMINANT, MIN_HULL_AREA, Keypoints


def transfer(source: Keypoints, driving: Keypoints, initial: Keypoints, settings: AnimateConfig) -> Keypoints:
    """Transfers the driving motion to the source's object; see `fomm_tf.ops.motion.transfer`.

    Args:
      source: of the source image, batch 1.
      driving: of B driving frames.
      initial: of the frame that relative motion starts from, batch 1 or B.
      settings: mode, adapt_scale and relative_jacobian.

    Returns:
      B keypoints, float32 NumPy arrays.
    """
    source, driving, initial = (
        keypoints.map(lambda part: np.asarray(part, np.float32)) for keypoints in (source, driving, initial)
    )
    if settings.mode == "absolute":
        return driving
    movement = driving.value - initial.value
    if settings.adapt_scale:
        areas = np.broadcast_arrays(hull_area(source.value), hull_area(initial.value))
        is_known = np.logical_and(*(area > MIN_HULL_AREA for area in areas))
        source_area, initial_area = (np.where(is_known, area, np.float32(1)) for area in areas)
        movement = movement * (np.sqrt(source_area) / np.sqrt(initial_area))[:, np.newaxis, np.newaxis]
    jacobian = driving.jacobian
    if settings.relative_jacobian and jacobian is not None:
        jacobian = _multiply(_multiply(jacobian, _invert(initial.jacobian)), source.jacobian)
    return Keypoints(movement + source.value, jacobian)


def hull_area(points: np.ndarray) -> np.ndarray:
    """Area of the convex hull of keypoints `[B, K, 2]`, as `fomm_tf.ops.motion.hull_area` computes it: `[B]`."""
    x, y = points[..., 0], points[..., 1]
    knots = np.sort(x, axis=-1)
    knot = knots[:, :, np.newaxis, np.newaxis]
    left, right = x[:, np.newaxis, :, np.newaxis], x[:, np.newaxis, np.newaxis, :]
    is_covered = (left <= knot) & (knot <= right)
    width = right - left
    share = np.where(width > 0, (knot - left) / np.where(width > 0, width, np.float32(1)), np.float32(0))
    y_left, y_right = y[:, np.newaxis, :, np.newaxis], y[:, np.newaxis, np.newaxis, :]
    chord = y_left + share * (y_right - y_left)
    highest = np.where(is_covered, chord, -np.inf).max(axis=(2, 3))
    lowest = np.where(is_covered, chord, np.inf).min(axis=(2, 3))
    height = (highest - lowest).astype(np.float32)
    return np.sum(np.diff(knots, axis=1) * np.float32(0.5) * (height[:, 1:] + height[:, :-1]), axis=-1)


def _invert(matrix: np.ndarray) -> np.ndarray:
    """The inverse of 2x2 matrices with a floor under the determinant; see `fomm_tf.ops.keypoints.invert_jacobian`."""
    matrix = np.clip(matrix, -MAX_ENTRY, MAX_ENTRY)
    (a, b), (c, d) = np.moveaxis(matrix, (-2, -1), (0, 1))
    determinant = a * d - b * c
    floor = np.where(determinant < 0, np.float32(-MIN_DETERMINANT), np.float32(MIN_DETERMINANT))
    determinant = np.where(np.abs(determinant) < MIN_DETERMINANT, floor, determinant)
    adjugate = np.stack([np.stack([d, -b], axis=-1), np.stack([-c, a], axis=-1)], axis=-2)
    return adjugate / determinant[..., np.newaxis, np.newaxis]


def _multiply(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    left, right = np.clip(left, -MAX_ENTRY, MAX_ENTRY), np.clip(right, -MAX_ENTRY, MAX_ENTRY)
    return np.sum(left[..., :, :, np.newaxis] * right[..., np.newaxis, :, :], axis=-2)

"""Warnings about inputs whose animation cannot be good: no object, a photo for a model of drawings, a far pose.

The thresholds were measured with the bundled models; `docs/animate.md` has the numbers.
"""

from __future__ import annotations

import warnings

import numpy as np

from fomm_tf import structures, video
from fomm_tf.inference import animator

# Keypoints of an object move with it: the frame is shifted by this fraction of its side in four directions.
_SHIFT = 0.1
# Median error of the keypoints' displacements relative to the shift: 1 if they stay where they are.
_MAX_SHIFT_ERROR = 0.65
# Edges are measured at this side or below: smaller images are not enlarged, which blurs edges.
_EDGE_SIDE = 128
# Pose distance of a first driving frame from the source, and how much closer another frame must be.
_MAX_POSE_DISTANCE, _CLOSER = 0.2, 0.6


def warn_about_input(model: animator.Animator, name: str, frame: np.ndarray, original: np.ndarray) -> bool:
    """Warns if the model cannot animate an image, or by a frame, with one line; returns whether it can.

    Args:
      model: the animator.
      name: of the image or frame, for the message.
      frame: `[H, W, 3]` uint8, fitted to the model.
      original: before it was fitted.
    """
    puppets = model.config.data.puppets
    if puppets is not None and puppets.portraits and is_photo(original):
        reason = "looks like a photo, and the model has seen drawn heads only"
        cure = "choose a model that was trained on such images (`folder`), or give a drawing"
    elif shift_error(model, frame) > _MAX_SHIFT_ERROR:
        reason = "shows no object that the model finds"
        cure = "give an image like those that the model was trained on, with the object large in its middle"
    else:
        return True
    warnings.warn(f"{name} {reason}, so the result cannot be good; {cure}.", video.VideoNote, stacklevel=2)
    return False


def shift_error(model: animator.Animator, frame: np.ndarray) -> float:
    """How badly keypoints follow a frame that is shifted: 0 if exactly, 1 if they stay where they are.

    Args:
      model: the animator.
      frame: `[H, W, 3]` uint8, of the model's size.
    """
    height, width = frame.shape[:2]
    distance = max(1, round(_SHIFT * min(height, width)))
    steps = distance * np.array([[0, 0], [0, 1], [0, -1], [1, 0], [-1, 0]])
    rows, columns = (
        np.clip(np.arange(side) - steps[:, [axis]], 0, side - 1) for axis, side in enumerate((height, width))
    )
    value = np.asarray(model.detect(frame[rows[:, :, np.newaxis], columns[:, np.newaxis]]).value)
    expected = 2 * steps[1:, np.newaxis, ::-1] / (np.array([width, height]) - 1)
    errors = np.linalg.norm(value[1:] - value[:1] - expected, axis=-1) / np.linalg.norm(expected, axis=-1)
    return float(np.median(errors))


def is_photo(image: np.ndarray) -> bool:
    """Whether an image looks like a photo: many soft and few hard edges, in contrast to drawings with outlines.

    Args:
      image: `[H, W, 3]` uint8.
    """
    side = min(_EDGE_SIDE, *image.shape[:2])
    pixels = video.resize(image, (side, side)).astype(np.int16)
    across, down = (np.abs(np.diff(pixels, axis=axis)) for axis in (1, 0))
    steps = np.maximum(across[1:], down[:, 1:]).max(axis=-1)
    soft, hard = np.mean((steps > 10) & (steps <= 40)), np.mean(steps > 80)
    ratio = hard / (soft + 0.01)
    return bool((soft > 0.06 and ratio < 0.065) or (soft > 0.24 and ratio < 0.3))


class PoseComparison:
    """Compares the poses of driving frames with the source's, for relative motion.

    Args:
      source: keypoints of the source, of batch 1.
      best_frame: index of the driving frame that motion starts from.
    """

    def __init__(self, source: structures.Keypoints, best_frame: int) -> None:
        self._source, self._best_frame = np.asarray(source.value), best_frame
        self._distances: list[np.ndarray] = []

    def add(self, driving: structures.Keypoints) -> None:
        """Adds the keypoints of the next N driving frames."""
        self._distances.append(pose_distance(self._source, np.asarray(driving.value)))

    def warn(self, name: str) -> None:
        """Warns if motion starts far from the source's pose although another driving frame is close to it."""
        distances = np.concatenate(self._distances)
        start, closest = distances[self._best_frame], int(distances.argmin())
        if start > _MAX_POSE_DISTANCE and distances[closest] < _CLOSER * start:
            warnings.warn(
                f"{name}: the pose in frame {self._best_frame}, from which relative motion starts, is far from the "
                f"image's (distance {start:.2f}); frame {closest} is closer ({distances[closest]:.2f}), so set "
                f"`best_frame` to {closest}.",
                video.VideoNote,
                stacklevel=2,
            )


def pose_distance(source: np.ndarray, driving: np.ndarray) -> np.ndarray:
    """Mean distance of keypoints, in units of their spread, when position and size are equal.

    Args:
      source: `[1, K, 2]`.
      driving: `[N, K, 2]`.

    Returns:
      `[N]`.
    """
    shapes = []
    for value in (source, driving):
        centered = value - value.mean(axis=1, keepdims=True)
        spread = np.sqrt(np.square(centered).sum(axis=-1).mean(axis=-1))
        shapes.append(centered / np.maximum(spread, 1e-6)[:, np.newaxis, np.newaxis])
    return np.linalg.norm(shapes[0] - shapes[1], axis=-1).mean(axis=-1)

"""How well a source and a driving video fit: the best frame for motion to start from, and warnings about bad inputs.

The best frame is the driving frame whose pose is closest to the source's. Poses are compared by face landmarks, body
points, or the model's own keypoints: `[P, 2]` points of an object in each frame, in any unit. Position and size do not
count; rotation does.

Warnings are about inputs whose animation cannot be good: no object, a photo for a model of drawings, a far pose. Their
thresholds were measured with the bundled models; `docs/animate.md` has the numbers.

Source: the reference implementation's `find_best_frame`: points minus their mean, divided by the square root of the
area of their convex hull, compared by the sum of squared distances. Here it is the root of the mean over the points
that are visible in both frames, which has the same order where all are visible.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from fomm_tf import detectors, errors, structures, video
from fomm_tf.detectors import networks
from fomm_tf.inference import stream
from fomm_tf.opencv import cv2

# Frames are compared if they show at least this share of the source's visible points, and that many.
_MIN_SHARE, _MIN_POINTS = 0.5, 3
# Frames per call of a detector.
_BATCH = 8
# Keypoints of an object move with it: the frame is shifted by this fraction of its side in four directions.
_SHIFT = 0.1
# Median error of the keypoints' displacements relative to the shift: 1 if they stay where they are.
_MAX_SHIFT_ERROR = 0.65
# Edges are measured at this side or below: smaller images are not enlarged, which blurs edges.
_EDGE_SIDE = 128
# Pose distance of a first driving frame from the source, and how much closer another frame must be.
_MAX_POSE_DISTANCE, _CLOSER = 0.2, 0.6


class BestFrame(NamedTuple):
    """The result of a search.

    Attributes:
      index: of the frame, from 0.
      distance: between its pose and the source's; 0 if they are the same.
      first: distance of frame 0; NaN if that frame cannot be compared.
      frames: number of frames.
      skipped: number of frames that cannot be compared, as they do not show the object.
    """

    index: int
    distance: float
    first: float
    frames: int
    skipped: int

    def describe(self, what: str) -> str:
        """Says which frame and why, as one sentence.

        Args:
          what: what was compared, such as `face landmarks`.
        """
        others = "" if self.index == 0 or np.isnan(self.first) else f"; frame 0: {self.first:.3f}"
        skipped = ""
        if self.skipped:
            skipped = f"; {self.skipped} of {self.frames} frames without visible {what} were skipped"
        return (
            f"best frame: {self.index}, whose {what} are closest to the source's (distance {self.distance:.3f}{others})"
            f"{skipped}"
        )


class BestFrameSearch:
    """Finds the best frame in one pass over a clip; keeps distances only, no frames.

    Args:
      source: `[P, 2]`; NaN where a point is not found.
      visibility: `[P]` in [0, 1]; None if all points are visible.
    """

    def __init__(self, source: np.ndarray, visibility: np.ndarray | None = None) -> None:
        self._source = np.asarray(source, np.float64)
        self._visible = _are_visible(self._source, visibility)
        self._distances: list[float] = []

    @property
    def is_possible(self) -> bool:
        """Whether the source shows enough points to compare with."""
        return _normalize(self._source[self._visible]) is not None

    def add(self, driving: np.ndarray, visibility: np.ndarray | None = None) -> None:
        """Adds the points of the next N frames.

        Args:
          driving: `[N, P, 2]`; NaN where a point is not found.
          visibility: `[N, P]` in [0, 1]; None if all points are visible.
        """
        for index, points in enumerate(np.asarray(driving, np.float64)):
            visible = _are_visible(points, None if visibility is None else visibility[index])
            self._distances.append(self._distance(points, visible & self._visible))

    def result(self, name: str = "the driving video") -> BestFrame:
        """The best of all frames, the first one if several are.

        Args:
          name: of the video, for messages.

        Raises:
          errors.UserError: if no frame can be compared with the source.
        """
        distances = np.array(self._distances)
        skipped = int(np.isnan(distances).sum())
        if skipped == len(distances):
            raise errors.UserError(
                f"`best_frame` auto: none of the {len(distances)} frames of {name} shows the object that the source "
                "shows; give the number of a frame, or off."
            )
        best = int(np.nanargmin(distances))
        return BestFrame(best, float(distances[best]), float(distances[0]), len(distances), skipped)

    def _distance(self, points: np.ndarray, common: np.ndarray) -> float:
        if common.sum() < _MIN_SHARE * self._visible.sum():
            return np.nan
        poses = [_normalize(part[common]) for part in (self._source, points)]
        if poses[0] is None or poses[1] is None:
            return np.nan
        return float(np.sqrt(np.square(poses[0] - poses[1]).sum(axis=1).mean()))


def find_best_frame(
    source: np.ndarray,
    frames: Iterable[np.ndarray],
    detect: detectors.Detector[detectors.Points],
    name: str = "the driving video",
    shows_object: np.ndarray | None = None,
) -> BestFrame | None:
    """Finds the best frame in one pass over a clip.

    Args:
      source: `[H, W, 3]` uint8, cropped to the object.
      frames: the driving frames, `[H, W, 3]` uint8 each, cropped to the object.
      detect: from `fomm_tf.detectors.load_points`, or a model's keypoints as `Points`.
      name: of the video, for messages.
      shows_object: `[N]` bool, which frames are compared; None for all.

    Returns:
      The best frame, or None if the source does not show enough points.

    Raises:
      errors.UserError: if no frame can be compared with the source.
    """
    points = detect([source])
    search = BestFrameSearch(points.value[0], points.visibility[0])
    if not search.is_possible:
        return None
    remaining, count = iter(frames), 0
    while batch := list(itertools.islice(remaining, _BATCH)):
        value, visibility = detect(batch)
        if shows_object is not None:
            visibility = visibility * shows_object[count : count + len(batch), np.newaxis]
        search.add(value, visibility)
        count += len(batch)
    return search.result(name)


def _are_visible(points: np.ndarray, visibility: np.ndarray | None) -> np.ndarray:
    known = np.isfinite(points).all(axis=1)
    return known if visibility is None else known & (np.asarray(visibility) >= networks.MIN_SCORE)


def _normalize(points: np.ndarray) -> np.ndarray | None:
    """Points `[P, 2]` with mean 0 and a convex hull of area 1; None if there are too few, or all are on a line."""
    if len(points) < _MIN_POINTS:
        return None
    centered = points - points.mean(axis=0)
    spread = np.abs(centered).max()
    if not spread > 0:
        return None
    area = cv2.contourArea(cv2.convexHull((centered / spread).astype(np.float32)))
    return centered / (spread * np.sqrt(area)) if area > 1e-6 else None


def warn_about_input(model: stream.Performer, name: str, frame: np.ndarray, original: np.ndarray) -> bool:
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
    elif model.config.model.traits.has_keypoints and shift_error(model, frame) > _MAX_SHIFT_ERROR:
        reason = "shows no object that the model finds"
        cure = "give an image like those that the model was trained on, with the object large in its middle"
    else:
        return True
    warnings.warn(f"{name} {reason}, so the result cannot be good; {cure}.", video.VideoNote, stacklevel=2)
    return False


def shift_error(model: stream.Performer, frame: np.ndarray) -> float:
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

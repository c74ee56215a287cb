"""The driving frame whose pose is closest to the source's, for relative motion to start from.

Poses are compared by face landmarks, body points, or the model's own keypoints: `[P, 2]` points of an object in each
frame, in any unit. Position and size do not count; rotation does.

Source: the reference implementation's `find_best_frame`: points minus their mean, divided by the square root of the
area of their convex hull, compared by the sum of squared distances. Here it is the root of the mean over the points
that are visible in both frames, which has the same order where all are visible.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from fomm_tf import detectors, errors
from fomm_tf.detectors import networks
from fomm_tf.opencv import cv2

# Frames are compared if they show at least this share of the source's visible points, and that many.
_MIN_SHARE, _MIN_POINTS = 0.5, 3
# Frames per call of a detector.
_BATCH = 8


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
) -> BestFrame | None:
    """Finds the best frame in one pass over a clip.

    Args:
      source: `[H, W, 3]` uint8, cropped to the object.
      frames: the driving frames, `[H, W, 3]` uint8 each, cropped to the object.
      detect: from `fomm_tf.detectors.load_points`, or a model's keypoints as `Points`.
      name: of the video, for messages.

    Returns:
      The best frame, or None if the source does not show enough points.

    Raises:
      errors.UserError: if no frame can be compared with the source.
    """
    points = detect([source])
    search = BestFrameSearch(points.value[0], points.visibility[0])
    if not search.is_possible:
        return None
    stream = iter(frames)
    while batch := list(itertools.islice(stream, _BATCH)):
        search.add(*detect(batch))
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

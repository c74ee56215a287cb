"""Bodies: boxes and 33 points, by MediaPipe's networks.

Source: Bazarevsky et al., BlazePose (2020), arXiv:2006.10204.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fomm_tf.detectors import boxes, lite, regions
from fomm_tf.detectors.results import CERTAIN, Boxes, Points

# Points of what the network finds; the circle around the first through the second holds the whole body.
_HIPS, _RIM = 0, 1
_LAYOUT = boxes.Layout("pose_detection.tflite", grids=((28, 2), (14, 2), (7, 6)))
# How much larger than the box the points' region is.
_MARGIN = 1.25
_POINTS = 33
# x, y, z, visibility, presence
_VALUES = 5
_VISIBILITY = 3


class BodyBoxes:
    """Finds people of whom at least the face and the hips can be guessed.

    A box is the square around the hips that holds the whole body, arms and legs stretched. Its points are the middle of
    the hips, the end of the circle's radius that points up along the body, and the same two for the upper body alone.

    Args:
      threads: that the network may use.

    Raises:
      UserError: if the network cannot be fetched.
    """

    def __init__(self, threads: int = 1) -> None:
        self._network = boxes.BoxNetwork(_LAYOUT, threads)

    def __call__(self, frames: Sequence[np.ndarray]) -> list[Boxes]:
        """The bodies of each frame; `frames` are `[H, W, 3]` uint8, not necessarily of one size."""
        return [around_hips(self._network(frame)) for frame in frames]


class BodyPoints:
    """Finds 33 points of the best body, in the order of MediaPipe's pose.

    Args:
      threads: that the networks may use.

    Raises:
      UserError: if a network cannot be fetched.
    """

    def __init__(self, threads: int = 1) -> None:
        self._bodies = BodyBoxes(threads)
        self._model = lite.LiteModel("pose_landmark_full.tflite", threads)

    def __call__(self, frames: Sequence[np.ndarray]) -> Points:
        """The points of N frames, P = 33; `frames` are `[H, W, 3]` uint8, not necessarily of one size."""
        value = np.full([len(frames), _POINTS, 2], np.nan, np.float32)
        visibility = np.zeros([len(frames), _POINTS], np.float32)
        for number, (frame, found) in enumerate(zip(frames, self._bodies(frames), strict=True)):
            if not len(found.score):
                continue
            region = region_of(found)
            raw, presence, *_ = self._model(regions.cut(frame, region, self._model.side).astype(np.float32) / 255)
            if presence.item() >= CERTAIN:
                raw = raw.reshape(-1, _VALUES)[:_POINTS]
                value[number] = regions.to_frame(raw[:, :2] / self._model.side, region)
                visibility[number] = lite.sigmoid(raw[:, _VISIBILITY])
        return Points(value, visibility)


def around_hips(found: Boxes) -> Boxes:
    """Puts the squares around the hips in the place of the network's own boxes, which hold the faces."""
    hips = found.points[:, _HIPS]
    radius = np.linalg.norm(found.points[:, _RIM] - hips, axis=1, keepdims=True)
    return found._replace(box=np.concatenate([hips - radius, hips + radius], axis=1))


def region_of(found: Boxes) -> regions.Region:
    """Where to look for the points of the best body: around its hips, with the body upright."""
    up = found.points[0, _RIM] - found.points[0, _HIPS]
    return regions.Region(
        tuple(found.points[0, _HIPS].tolist()), 2 * _MARGIN * math.hypot(*up), math.atan2(up[0], -up[1])
    )

"""Faces: boxes and 468 landmarks, by MediaPipe's networks.

Sources: Bazarevsky et al., BlazeFace (2019), arXiv:1907.05047; Kartynnik et al., Real-time Facial Surface Geometry from
Monocular Video on Mobile GPUs (2019), arXiv:1907.06724.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fomm_tf.detectors import boxes, landmarks, lite, regions
from fomm_tf.detectors.results import Boxes, Points

# Points of a face box: the eyes first, right and left as the person has them.
_RIGHT_EYE, _LEFT_EYE = 0, 1
# Colored blots and drawn shapes score up to 0.72, faces of people down to 0.77.
_LAYOUT = boxes.Layout("face_detection_short_range.tflite", grids=((16, 2), (8, 6)), certain=0.75)
# How much larger than the box the landmarks' region is.
_MARGIN = 1.5
_LANDMARKS = 468


class FaceBoxes:
    """Finds faces whose box measures 15 % or more of the frame's longer side.

    The points are the right and left eye (of the person), the tip of the nose, the mouth, the right and left ear.

    Args:
      threads: that the network may use.

    Raises:
      UserError: if the network cannot be fetched.
    """

    def __init__(self, threads: int = 1) -> None:
        self._network = boxes.BoxNetwork(_LAYOUT, threads)

    def __call__(self, frames: Sequence[np.ndarray]) -> list[Boxes]:
        """The faces of each frame; `frames` are `[H, W, 3]` uint8, not necessarily of one size."""
        return [self._network(frame) for frame in frames]


class FacePoints:
    """Finds 468 landmarks of the best face, in the order of MediaPipe's face mesh; all are as visible as the face.

    Args:
      threads: that the networks may use.

    Raises:
      UserError: if a network cannot be fetched.
    """

    def __init__(self, threads: int = 1) -> None:
        self._faces = FaceBoxes(threads)
        self._model = lite.LiteModel("face_landmark.tflite", threads)

    def __call__(self, frames: Sequence[np.ndarray]) -> Points:
        """The landmarks of N frames, P = 468; `frames` are `[H, W, 3]` uint8, not necessarily of one size."""
        return landmarks.gather(frames, self._faces(frames), _LANDMARKS, self._locate)

    def _locate(self, frame: np.ndarray, found: Boxes) -> tuple[float, np.ndarray, float]:
        region = region_of(found)
        raw, presence = landmarks.look(self._model, frame, region)
        presence = lite.sigmoid(presence.item())
        return presence, regions.to_frame(raw.reshape(_LANDMARKS, 3)[:, :2] / self._model.side, region), presence


def region_of(found: Boxes) -> regions.Region:
    """Where to look for the landmarks of the best face: around its box, with the eyes level."""
    left, top, right, bottom = found.box[0].tolist()
    across = found.points[0, _LEFT_EYE] - found.points[0, _RIGHT_EYE]
    side = _MARGIN * max(right - left, bottom - top)
    return regions.Region(((left + right) / 2, (top + bottom) / 2), side, math.atan2(across[1], across[0]))

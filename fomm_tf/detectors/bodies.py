"""Bodies: boxes and 33 points, by MediaPipe's networks.

Source: Bazarevsky et al., BlazePose (2020), arXiv:2006.10204.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fomm_tf.detectors import boxes, landmarks, lite, regions
from fomm_tf.detectors.results import Boxes, Points

# Points of what the network finds; the circle around the first through the second holds the whole body.
_HIPS, _RIM = 0, 1
# Colored blots and drawn shapes score up to 0.67, one in a thousand above 0.6; people down to 0.73.
_LAYOUT = boxes.Layout("pose_detection.tflite", grids=((28, 2), (14, 2), (7, 6)), certain=0.6)
# How much larger than the box the points' region is.
_MARGIN = 1.25
_POINTS = 33
# The same two points among those that follow the 33.
_HIPS_AGAIN, _RIM_AGAIN = 33, 34
# A second look, from where the first one sees the body, is steadier: under a shift of the frame by a few pixels the
# points stay within 0.8 % of the box on the average, with one look within 1.6 %. With a third they flip sides oftener.
_LOOKS = 2
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
        return landmarks.gather(frames, self._bodies(frames), _POINTS, self._locate)

    def _locate(self, frame: np.ndarray, found: Boxes) -> tuple[float, np.ndarray, np.ndarray]:
        hips, rim = found.points[0, [_HIPS, _RIM]]
        for _ in range(_LOOKS):
            region = stand_up(hips, rim)
            raw, presence, *_ = landmarks.look(self._model, frame, region)
            raw = raw.reshape(-1, _VALUES)
            places = regions.to_frame(raw[:, :2] / self._model.side, region)
            hips, rim = places[[_HIPS_AGAIN, _RIM_AGAIN]]
        return presence.item(), places[:_POINTS], lite.sigmoid(raw[:_POINTS, _VISIBILITY])


def around_hips(found: Boxes) -> Boxes:
    """Puts the squares around the hips in the place of the network's own boxes, which hold the faces."""
    hips = found.points[:, _HIPS]
    radius = np.linalg.norm(found.points[:, _RIM] - hips, axis=1, keepdims=True)
    return found._replace(box=np.concatenate([hips - radius, hips + radius], axis=1))


def stand_up(hips: np.ndarray, rim: np.ndarray) -> regions.Region:
    """Where to look for the points of a body: around its hips `[2]`, with the `rim` `[2]` above them."""
    up = rim - hips
    return regions.Region(tuple(hips.tolist()), 2 * _MARGIN * math.hypot(*up), math.atan2(up[0], -up[1]))

"""Faces with 468 landmarks, and bodies with 33 points, by the networks of MediaPipe.

Sources: Bazarevsky et al., BlazeFace (2019), arXiv:1907.05047; Kartynnik et al., Real-time Facial Surface Geometry from
Monocular Video on Mobile GPUs (2019), arXiv:1907.06724; Bazarevsky et al., BlazePose (2020), arXiv:2006.10204.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fomm_tf.detectors import boxes, networks
from fomm_tf.detectors.networks import Boxes, Points

# The person's right and left eye among the points of a face box.
_RIGHT_EYE, _LEFT_EYE = 0, 1
# Blobs and drawn shapes score up to 0.72, real faces at least 0.77.
_FACE_ANCHORS = boxes.Anchors("face_detection_short_range.tflite", grids=((16, 2), (8, 6)), min_score=0.75)
# Side of the region for the landmarks, relative to that of the box.
_FACE_MARGIN = 1.5
_LANDMARKS = 468

# Two points of a body box: the circle around the first through the second contains the whole body.
_HIPS, _RIM = 0, 1
# Blobs and drawn shapes score up to 0.67, above 0.6 in one of 1,000; real people at least 0.73.
_BODY_ANCHORS = boxes.Anchors("pose_detection.tflite", grids=((28, 2), (14, 2), (7, 6)), min_score=0.6)
_BODY_MARGIN = 1.25
_BODY_POINTS = 33
# The same two points in the output of the second network, after the 33.
_REFINED_HIPS, _REFINED_RIM = 33, 34
# With a second pass, on the region that the first one found, points are off by 0.8 % of the box on average when the
# frame is shifted by a few pixels; with one pass by 1.6 %. With a third pass, left and right are swapped more often.
_PASSES = 2
# Per point: x, y, z, visibility, presence.
_VALUES = 5
_VISIBILITY = 3


class FaceBoxes:
    """Detects faces whose box is at least 15 % of the frame's longer side.

    The points are the person's right and left eye, the tip of the nose, the mouth, the right and left ear.

    Args:
      threads: number of threads that the network may use.

    Raises:
      errors.UserError: if the network cannot be downloaded.
    """

    def __init__(self, threads: int = 1) -> None:
        self._network = boxes.BoxNetwork(_FACE_ANCHORS, threads)

    def __call__(self, frames: Sequence[np.ndarray]) -> list[Boxes]:
        """The faces of each frame; `frames` are `[H, W, 3]` uint8, possibly of different sizes."""
        return [self._network(frame) for frame in frames]


class FacePoints:
    """Detects 468 landmarks of the best face, in the order of MediaPipe's face mesh; their visibility is the face's.

    Args:
      threads: number of threads that the networks may use.

    Raises:
      errors.UserError: if a network cannot be downloaded.
    """

    def __init__(self, threads: int = 1) -> None:
        self._faces = FaceBoxes(threads)
        self._model = networks.TFLiteModel("face_landmark.tflite", threads)

    def __call__(self, frames: Sequence[np.ndarray]) -> Points:
        """The landmarks of N frames, P = 468; `frames` are `[H, W, 3]` uint8, possibly of different sizes."""
        return networks.detect_points(frames, self._faces(frames), _LANDMARKS, self._locate)

    def _locate(self, frame: np.ndarray, objects: Boxes) -> tuple[float, np.ndarray, float]:
        region = face_region(objects)
        raw, presence = self._model.run_on(frame, region)
        score = networks.sigmoid(presence.item())
        return score, networks.to_frame(raw.reshape(_LANDMARKS, 3)[:, :2] / self._model.side, region), score


class BodyBoxes:
    """Detects people whose face and hips are in the frame.

    A box is the square around the hips that contains the whole body with arms and legs stretched. Its points are the
    center of the hips, a point on the circle around it in the direction of the head, and the same two for the upper
    body.

    Args:
      threads: number of threads that the network may use.

    Raises:
      errors.UserError: if the network cannot be downloaded.
    """

    def __init__(self, threads: int = 1) -> None:
        self._network = boxes.BoxNetwork(_BODY_ANCHORS, threads)

    def __call__(self, frames: Sequence[np.ndarray]) -> list[Boxes]:
        """The bodies of each frame; `frames` are `[H, W, 3]` uint8, possibly of different sizes."""
        return [body_boxes(self._network(frame)) for frame in frames]


class BodyPoints:
    """Detects 33 points of the best body, in the order of MediaPipe's pose.

    Args:
      threads: number of threads that the networks may use.

    Raises:
      errors.UserError: if a network cannot be downloaded.
    """

    def __init__(self, threads: int = 1) -> None:
        self._bodies = BodyBoxes(threads)
        self._model = networks.TFLiteModel("pose_landmark_full.tflite", threads)

    def __call__(self, frames: Sequence[np.ndarray]) -> Points:
        """The points of N frames, P = 33; `frames` are `[H, W, 3]` uint8, possibly of different sizes."""
        return networks.detect_points(frames, self._bodies(frames), _BODY_POINTS, self._locate)

    def _locate(self, frame: np.ndarray, objects: Boxes) -> tuple[float, np.ndarray, np.ndarray]:
        hips, rim = objects.points[0, [_HIPS, _RIM]]
        for _ in range(_PASSES):
            region = body_region(hips, rim)
            raw, presence, *_ = self._model.run_on(frame, region)
            raw = raw.reshape(-1, _VALUES)
            points = networks.to_frame(raw[:, :2] / self._model.side, region)
            hips, rim = points[[_REFINED_HIPS, _REFINED_RIM]]
        return presence.item(), points[:_BODY_POINTS], networks.sigmoid(raw[:_BODY_POINTS, _VISIBILITY])


def face_region(objects: Boxes) -> networks.Region:
    """The region for the landmarks of the best face: around its box, rotated so that the eyes are level."""
    left, top, right, bottom = objects.box[0].tolist()
    across = objects.points[0, _LEFT_EYE] - objects.points[0, _RIGHT_EYE]
    side = _FACE_MARGIN * max(right - left, bottom - top)
    return networks.Region(((left + right) / 2, (top + bottom) / 2), side, math.atan2(across[1], across[0]))


def body_boxes(objects: Boxes) -> Boxes:
    """Replaces the network's own boxes, which contain the faces, by the squares around the hips."""
    hips = objects.points[:, _HIPS]
    radius = np.linalg.norm(objects.points[:, _RIM] - hips, axis=1, keepdims=True)
    return objects._replace(box=np.concatenate([hips - radius, hips + radius], axis=1))


def body_region(hips: np.ndarray, rim: np.ndarray) -> networks.Region:
    """The region for the points of a body: around its `hips` `[2]`, rotated so that `rim` `[2]` is above them."""
    up = rim - hips
    return networks.Region(tuple(hips.tolist()), 2 * _BODY_MARGIN * math.hypot(*up), math.atan2(up[0], -up[1]))

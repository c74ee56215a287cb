"""Splits a video into segments in which one object stays near one place, and places a square crop around it.

Convention: boxes are (left, top, right, bottom) in pixels.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from fomm_tf import video
from fomm_tf.data.prepare.settings import Settings
from fomm_tf.detectors import boxes

# A box with a lower IoU with the box one frame before shows another object.
MIN_STEP_IOU = 0.3
# At this size a frame shows the scene, but little of its motion.
_THUMBNAIL = (18, 32)
# At a cut the thumbnail changes by more than _MIN_CHANGE gray levels, more than _MEDIAN_FACTOR times the median change
# of the last _WINDOW frames, and more than _LAST_FACTOR times the last change. The videos of `fomm fetch faces` change
# by up to 12 gray levels within a scene and by 57 and more at a cut.
_MIN_CHANGE, _MEDIAN_FACTOR, _LAST_FACTOR, _WINDOW = 15.0, 4.0, 2.0, 25


class FrameDetections(NamedTuple):
    """Detections in a frame.

    Attributes:
      boxes: `[M, 4]`; M may be 0.
      is_cut: whether the frame starts another scene.
    """

    boxes: np.ndarray
    is_cut: bool


class Segment(NamedTuple):
    """Consecutive frames that show one object, or none.

    Attributes:
      first: index of the first frame.
      frames: number of frames.
      box: `[4]`, union of the object's boxes; None if no object is tracked.
      end: why the segment ends; if no object is tracked, why not.
    """

    first: int
    frames: int
    box: np.ndarray | None
    end: str


class CutDetector:
    """Detects scene cuts frame by frame, even where the tracked box does not move.

    Fades, and cuts between nearly identical views, are not detected.
    """

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._changes: collections.deque[float] = collections.deque(maxlen=_WINDOW)

    def __call__(self, frame: np.ndarray) -> bool:
        """Whether the next frame, `[H, W, 3]` uint8, starts another scene."""
        from fomm_tf.opencv import cv2

        # Large frames are subsampled first, to four pixels per thumbnail pixel and side.
        step = max(1, min(frame.shape[0] // (4 * _THUMBNAIL[0]), frame.shape[1] // (4 * _THUMBNAIL[1])))
        pixels = np.ascontiguousarray(frame[::step, ::step])
        thumbnail = cv2.resize(pixels, _THUMBNAIL[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
        last, self._last = self._last, thumbnail
        if last is None:
            return False
        change = float(np.abs(thumbnail - last).mean())
        changes = self._changes or [0.0]
        threshold = max(_MIN_CHANGE, _MEDIAN_FACTOR * float(np.median(changes)), _LAST_FACTOR * changes[-1])
        self._changes.append(change)
        return change > threshold


class _Track:
    """A tracked object."""

    def __init__(self, first: int, box: np.ndarray) -> None:
        self.first, self.frames = first, 1
        self.initial = self.last = self.union = box

    def extend(self, detections: FrameDetections, frame_size: tuple[int, int], settings: Settings) -> str:
        """Adds the object's box in the next frame; or returns why the segment ends before it."""
        if detections.is_cut:
            return "cut"
        if self.frames == settings.max_frames:
            return "max_frames reached"
        overlaps = boxes.iou(self.last, detections.boxes)
        if not len(overlaps) or overlaps.max() < MIN_STEP_IOU:
            return "lost"
        box = detections.boxes[overlaps.argmax()]
        if boxes.iou(self.initial, box[np.newaxis])[0] < settings.min_iou:
            return "moved too far"
        union = np.concatenate([np.minimum(self.union[:2], box[:2]), np.maximum(self.union[2:], box[2:])])
        if not _fits(union, frame_size, settings):
            return "too near the frame's edge"
        self.last, self.union, self.frames = box, union, self.frames + 1
        return ""

    def segment(self, end: str) -> Segment:
        return Segment(self.first, self.frames, self.union, end)


def split(detections: Iterable[FrameDetections], frame_size: tuple[int, int], settings: Settings) -> Iterator[Segment]:
    """Splits the frames of a video into consecutive segments that cover all frames.

    The largest of several objects is tracked until its segment ends.

    Args:
      detections: one for each frame.
      frame_size: `(H, W)`.
      settings: `min_iou`, `max_frames`, and the settings of the crop.
    """
    track, gap, number = None, None, -1
    for number, frame in enumerate(detections):
        end = track.extend(frame, frame_size, settings) if track else ""
        if end:
            yield track.segment(end)
        if track and not end:
            continue
        fitting = [box for box in frame.boxes if _fits(box, frame_size, settings)]
        track = _Track(number, max(fitting, key=_area)) if fitting else None
        reason = "too near the frame's edge" if len(frame.boxes) else "no detection"
        if gap and (track or gap.end != reason):
            yield gap
            gap = None
        if not track:
            gap = gap._replace(frames=gap.frames + 1) if gap else Segment(number, 1, None, reason)
    if track:
        yield track.segment("end of video")
    elif gap:
        yield gap


def _fits(box: np.ndarray, frame_size: tuple[int, int], settings: Settings) -> bool:
    return edge_distance(box, place_crop(box, frame_size, settings)) >= settings.edge_margin


def _area(box: np.ndarray) -> float:
    return float(np.prod(box[2:] - box[:2]))


class Square(NamedTuple):
    """A square of pixels; it may extend beyond the frame, which `crop` then pads."""

    left: int
    top: int
    side: int


def place_crop(box: np.ndarray, frame_size: tuple[int, int], settings: Settings) -> Square:
    """Returns the square around a box, with a margin, moved into the frame.

    Args:
      box: `[4]`.
      frame_size: `(H, W)`.
      settings: `margin` and `border`.
    """
    width, height = box[2:] - box[:2]
    side = max(1, round(float(max(width, height)) * settings.margin))
    if settings.border == "shrink":
        side = min(side, *frame_size)
    corner = (box[:2] + box[2:] - side) / 2
    limit = np.array(frame_size[::-1]) - side
    left, top = np.clip(np.rint(corner), np.minimum(limit, 0), np.maximum(limit, 0))
    return Square(int(left), int(top), side)


def edge_distance(box: np.ndarray, square: Square) -> float:
    """Smallest distance of a box `[4]` from the square's edge, as a fraction of its side; negative outside."""
    corner = np.array(square[:2])
    return float(min((box[:2] - corner).min(), (corner + square.side - box[2:]).min())) / square.side


def crop(frame: np.ndarray, square: Square, size: int, reflect: bool = False) -> np.ndarray:
    """Crops a square and resizes it, with area interpolation where it shrinks.

    Args:
      frame: `[H, W, 3]` uint8.
      square: the crop.
      size: side of the result.
      reflect: pad a square that extends beyond the frame by reflection; otherwise the frame's edge pixels are repeated.

    Returns:
      `[size, size, 3]` uint8.
    """
    starts, lengths = (square.top, square.left), frame.shape[:2]
    rows, columns = (
        _indices(start, square.side, length, reflect) for start, length in zip(starts, lengths, strict=True)
    )
    top, left = rows.min(), columns.min()
    inside = frame[top : rows.max() + 1, left : columns.max() + 1]
    if inside.shape[:2] != (square.side, square.side):
        inside = inside[rows - top][:, columns - left]
    return video.resize(inside, (size, size), "stretch")


def _indices(start: int, count: int, length: int, reflect: bool) -> np.ndarray:
    """Consecutive indices of an axis of some length; those beyond it are reflected, or are those of its ends."""
    indices = np.arange(start, start + count)
    if not reflect:
        return np.clip(indices, 0, length - 1)
    period = max(1, 2 * length - 2)
    indices = np.abs(indices) % period
    return np.minimum(indices, period - indices)

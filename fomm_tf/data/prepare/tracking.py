"""Divides a video into stretches that show one object near one place, and says why the others do not."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from fomm_tf.data.prepare import cropping
from fomm_tf.data.prepare.settings import Settings
from fomm_tf.detectors import boxes

# A box that shares less than this of its union with the one a frame before shows something else.
_SAME = 0.3
# A frame as small as this shows what the scene is, not how it moves.
_THUMBNAIL = (18, 32)
# A cut changes it by more gray levels than _CUT, and stands out from the median of the last second's changes and from
# the one before it. The videos of `fomm fetch faces` change by up to 12 within a scene and by 57 and more between two.
_CUT, _OUT_OF_ALL, _OUT_OF_LAST, _REMEMBERED = 15.0, 4.0, 2.0, 25


class Look(NamedTuple):
    """What is seen in a frame.

    Attributes:
      found: `[M, 4]` boxes; M may be 0.
      cut: the frame begins another scene.
    """

    found: np.ndarray
    cut: bool


class Stretch(NamedTuple):
    """Frames that belong together.

    Attributes:
      first: number of the first frame.
      frames: how many.
      box: `[4]`, holds all boxes; None where no object is followed.
      end: why it ends where it does; where no object is followed, why not.
    """

    first: int
    frames: int
    box: np.ndarray | None
    end: str


class CutFinder:
    """Tells, frame by frame, where the scene changes; a box that stays in its place does not hide that.

    Fades and cuts between two views that are nearly the same are not found.
    """

    def __init__(self) -> None:
        self._before: np.ndarray | None = None
        self._changes: collections.deque[float] = collections.deque(maxlen=_REMEMBERED)

    def __call__(self, frame: np.ndarray) -> bool:
        """Takes the next frame `[H, W, 3]` uint8."""
        from fomm_tf.opencv import cv2

        # Of a large frame every so many pixels are enough, four a side for each of the thumbnail's.
        step = max(1, min(frame.shape[0] // (4 * _THUMBNAIL[0]), frame.shape[1] // (4 * _THUMBNAIL[1])))
        pixels = np.ascontiguousarray(frame[::step, ::step])
        thumbnail = cv2.resize(pixels, _THUMBNAIL[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
        before, self._before = self._before, thumbnail
        if before is None:
            return False
        change = float(np.abs(thumbnail - before).mean())
        usual = self._changes or [0.0]
        least = max(_CUT, _OUT_OF_ALL * float(np.median(usual)), _OUT_OF_LAST * usual[-1])
        self._changes.append(change)
        return change > least


class _Track:
    """An object that is followed."""

    def __init__(self, first: int, box: np.ndarray) -> None:
        self.first, self.frames = first, 1
        self.initial = self.last = self.union = box

    def follow(self, look: Look, frame_size: tuple[int, int], settings: Settings) -> str:
        """Takes the object's box in the next frame; or says why the stretch ends before it."""
        if look.cut:
            return "cut"
        if self.frames == settings.max_frames:
            return "long enough"
        shares = boxes.share(self.last, look.found)
        if not len(shares) or shares.max() < _SAME:
            return "lost"
        box = look.found[shares.argmax()]
        if boxes.share(self.initial, box[np.newaxis])[0] < settings.min_iou:
            return "too far from its first place"
        union = np.concatenate([np.minimum(self.union[:2], box[:2]), np.maximum(self.union[2:], box[2:])])
        if not _fits(union, frame_size, settings):
            return "too near the frame's edge"
        self.last, self.union, self.frames = box, union, self.frames + 1
        return ""

    def stretch(self, end: str) -> Stretch:
        return Stretch(self.first, self.frames, self.union, end)


def divide(looks: Iterable[Look], frame_size: tuple[int, int], settings: Settings) -> Iterator[Stretch]:
    """Divides the frames of a video into stretches, in order and without a gap.

    Of several objects the largest is followed, until its stretch ends.

    Args:
      looks: of each frame.
      frame_size: `(H, W)`.
      settings: `min_iou`, `max_frames`, and what places the crop.
    """
    track, gap, number = None, None, -1
    for number, look in enumerate(looks):
        end = track.follow(look, frame_size, settings) if track else ""
        if end:
            yield track.stretch(end)
        if track and not end:
            continue
        fitting = [box for box in look.found if _fits(box, frame_size, settings)]
        track = _Track(number, max(fitting, key=_area)) if fitting else None
        reason = "too near the frame's edge" if len(look.found) else "nothing found"
        if gap and (track or gap.end != reason):
            yield gap
            gap = None
        if not track:
            gap = gap._replace(frames=gap.frames + 1) if gap else Stretch(number, 1, None, reason)
    if track:
        yield track.stretch("end of the video")
    elif gap:
        yield gap


def _fits(box: np.ndarray, frame_size: tuple[int, int], settings: Settings) -> bool:
    return cropping.edge_distance(box, cropping.place(box, frame_size, settings)) >= settings.edge_margin


def _area(box: np.ndarray) -> float:
    return float(np.prod(box[2:] - box[:2]))

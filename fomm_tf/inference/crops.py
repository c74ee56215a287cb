"""Squares around the object to animate, placed as `fomm prepare` places those of training clips.

A square holds the object's box with the margin of the training clips. It is moved into the frame as far as the object
keeps its distance from the square's edge; what is still beyond the frame is padded by reflection.

Convention: boxes are (left, top, right, bottom) in pixels of the frame, as in `fomm_tf.detectors`; frames are counted
from 0.

Source: Siarohin et al., First Order Motion Model for Image Animation (2019), sec. 4, Datasets: one square per clip.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from fomm_tf import detectors, errors, motion_filters, video
from fomm_tf.data.prepare import segments
from fomm_tf.data.prepare.segments import Square
from fomm_tf.data.prepare.settings import Settings, choose
from fomm_tf.detectors import boxes as box_geometry

AUTO, OFF = "auto", "off"
# Frames without the tracked object after which the largest object is tracked instead.
_MAX_LOST = 12
# Of the filter of a moving square: at rest it does not tremble, and it follows a box that moves by its own side in a
# second with a lag of 0.1 s. In Hz, and in Hz per side/s.
_FOLLOW_CUTOFF, _FOLLOW_COEFFICIENT = 0.3, 1.5
# Frames per call of a detector.
_BATCH = 8


class ClipCrop(NamedTuple):
    """The crop of each frame of a clip.

    Attributes:
      squares: one for each frame.
      found: `[N]` bool: whether the object was detected in the frame.
    """

    squares: list[Square]
    found: np.ndarray


def parse_crop(text: str) -> str | Square:
    """Parses `auto`, `off`, `face`, `body`, `module:function` for a custom detector, or `X,Y,W,H`.

    Returns:
      The word itself; for `X,Y,W,H` in pixels, the smallest square with the same center that contains the rectangle.

    Raises:
      errors.UserError: if it is none of these.
    """
    if text in (AUTO, OFF, *detectors.BOXES) or re.fullmatch(r"[\w.]+:\w+", text):
        return text
    numbers = re.fullmatch(r"(-?\d+),(-?\d+),(\d+),(\d+)", text.replace(" ", ""))
    if numbers is None:
        raise errors.UserError(f"`crop` must be auto, off, face, body or X,Y,W,H in pixels; got {text!r}.")
    left, top, width, height = map(int, numbers.groups())
    side = max(width, height)
    if min(width, height) < 2:
        raise errors.UserError(f"`crop` must be at least 2 pixels wide and high; got {width} x {height}.")
    return Square(left + (width - side) // 2, top + (height - side) // 2, side)


def check_square(square: Square, frame_size: tuple[int, int], name: str) -> None:
    """Checks that the center of a user's square is in the frame.

    Args:
      square: from `parse_crop`.
      frame_size: `(H, W)`.
      name: of the image or video, for the message.

    Raises:
      errors.UserError: if it is not.
    """
    height, width = frame_size
    if not (0 <= square.left + square.side / 2 < width and 0 <= square.top + square.side / 2 < height):
        raise errors.UserError(
            f"`crop` has its center outside {name}, which is {width} x {height}; got {describe(square)}."
        )


def margins(crop: str) -> Settings:
    """The margins of the training clips of `face`, `body` or a custom detector; a crop may extend beyond the frame."""
    return choose(None, {"crop": crop, "border": "repeat"})


def place_square(
    box: np.ndarray, frame_size: tuple[int, int], settings: Settings, keep: np.ndarray | None = None
) -> Square:
    """The square around a box with a margin, moved into the frame as far as `settings.edge_margin` permits.

    Args:
      box: `[4]`.
      frame_size: `(H, W)`.
      settings: from `margins`.
      keep: `[4]`, the box that must keep its distance from the square's edge, if that is not `box`.
    """
    square = segments.place_crop(box, frame_size, settings)
    keep = box if keep is None else keep
    if settings.edge_margin < 0:  # the box may extend beyond the frame, so only what is visible of it must be kept
        keep = np.clip(keep, 0, [*frame_size[::-1], *frame_size[::-1]])
    margin = max(settings.edge_margin, 0.0) * square.side
    limits = keep[:2] - margin, keep[2:] + margin - square.side
    left, top = np.rint(np.clip(square[:2], np.minimum(*limits), np.maximum(*limits)))
    return Square(int(left), int(top), square.side)


def crop(frame: np.ndarray, square: Square, size: tuple[int, int]) -> np.ndarray:
    """Crops a square, padded by reflection, and resizes it to the model's size.

    Args:
      frame: `[H, W, 3]` uint8.
      square: the crop.
      size: `(H, W)` of the result; the center of the square is used if these differ.

    Returns:
      `[*size, 3]` uint8.
    """
    return video.resize(segments.crop(frame, square, max(size), reflect=True), size)


def center_square(frame_size: tuple[int, int]) -> Square:
    """The part of a frame `(H, W)` that `fit` crop shows to a model of square frames."""
    height, width = frame_size
    side = min(height, width)
    return Square((width - side) // 2, (height - side) // 2, side)


def visible(frame: np.ndarray, square: Square) -> np.ndarray:
    """The part of a square that lies in the frame, as it is."""
    rows, columns = (slice(max(0, start), start + square.side) for start in (square.top, square.left))
    return frame[rows, columns]


def describe(square: Square) -> str:
    """`312 x 312 at (104, 36)`, for messages."""
    return f"{square.side} x {square.side} at ({square.left}, {square.top})"


class Tracker:
    """Follows one object through the frames of a clip.

    The largest object of a scene is tracked; the next box is the one that overlaps the last one most.

    Attributes:
      boxes: one for each frame, `[4]`; None where the object was not detected.
    """

    def __init__(self) -> None:
        self.boxes: list[np.ndarray | None] = []
        self._last: np.ndarray | None = None
        self._lost = 0

    def add(self, detected: np.ndarray, is_cut: bool = False) -> None:
        """Adds the boxes `[M, 4]` of the next frame; M may be 0. `is_cut`: the frame starts another scene."""
        detected = np.asarray(detected, np.float64).reshape(-1, 4)
        if is_cut or self._lost >= _MAX_LOST:
            self._last = None
        box = None
        if len(detected):
            sizes = np.prod(detected[:, 2:] - detected[:, :2], axis=1)
            overlaps = sizes if self._last is None else box_geometry.iou(self._last, detected)
            if self._last is None or overlaps.max() >= segments.MIN_STEP_IOU:
                box = detected[overlaps.argmax()]
        self._lost = self._lost + 1 if box is None else 0
        self._last = self._last if box is None else box
        self.boxes.append(box)


def find_squares(
    frames: Iterable[np.ndarray],
    frame_size: tuple[int, int],
    fps: float | Fraction,
    crop: str,
    detect: detectors.Detector[list[detectors.Boxes]],
    follow: bool = False,
    starts: Iterable[int] = (),
) -> ClipCrop | None:
    """Detects the object in each frame of a clip and places its squares; keeps boxes only, no frames.

    Args:
      frames: `[H, W, 3]` uint8 each; read once.
      frame_size: `(H, W)`.
      fps: frames per second.
      crop: `face`, `body` or a custom detector, which decides on the margin.
      detect: from `fomm_tf.detectors.load_boxes`.
      follow: move the square with the object; otherwise each scene has one square.
      starts: indices of the first frames of scenes; a list that grows while `frames` is read is fine.

    Returns:
      The squares, or None if no frame shows an object.
    """
    tracker, stream = Tracker(), iter(frames)
    while batch := list(itertools.islice(stream, _BATCH)):
        for detected in detect(batch):
            tracker.add(detected.box, len(tracker.boxes) in starts)
    found = np.array([box is not None for box in tracker.boxes], bool)
    if not found.any():
        return None
    bounds = sorted({0, len(found), *(start for start in starts if start < len(found))})
    place = moving_squares if follow else fixed_squares
    scenes = [
        place(tracker.boxes[start:stop], frame_size, fps, margins(crop)) for start, stop in itertools.pairwise(bounds)
    ]
    # Scenes without the object keep the square of the scene before; those at the beginning get that of the first one.
    square = next(squares[0] for squares in scenes if squares)
    placed: list[Square] = []
    for squares, (start, stop) in zip(scenes, itertools.pairwise(bounds), strict=True):
        placed += squares or [square] * (stop - start)
        square = placed[-1]
    return ClipCrop(placed, found)


def fixed_squares(
    boxes: Sequence[np.ndarray | None], frame_size: tuple[int, int], fps: float | Fraction, settings: Settings
) -> list[Square]:
    """One square for all frames, that of the union of their boxes; an empty list if there are none.

    Args:
      boxes: one for each frame, `[4]`, or None.
      frame_size: `(H, W)`.
      fps: not used; for the signature of `moving_squares`.
      settings: from `margins`.
    """
    del fps
    known = [box for box in boxes if box is not None]
    if not known:
        return []
    stacked = np.stack(known)
    union = np.concatenate([stacked[:, :2].min(axis=0), stacked[:, 2:].max(axis=0)])
    return [place_square(union, frame_size, settings)] * len(boxes)


def moving_squares(
    boxes: Sequence[np.ndarray | None], frame_size: tuple[int, int], fps: float | Fraction, settings: Settings
) -> list[Square]:
    """A square for each frame that moves smoothly with the object and always contains it.

    Args:
      boxes: one for each frame, `[4]`; None keeps the last square, or at the beginning that of the first box.
      frame_size: `(H, W)`.
      fps: frames per second.
      settings: from `margins`.

    Returns:
      One for each frame; an empty list if there are no boxes.
    """
    box = next((box for box in boxes if box is not None), None)
    if box is None:
        return []
    unit = max(1.0, float((box[2:] - box[:2]).max()))
    smooth_center, smooth_length = (
        motion_filters.OneEuroFilter(fps, _FOLLOW_CUTOFF, _FOLLOW_COEFFICIENT) for _ in range(2)
    )
    # How much longer than the smoothed box the real one may be, and still keep its distance from the edge.
    slack = max(1.0, settings.margin * (1 - 2 * max(settings.edge_margin, 0.0)))
    squares = []
    for current in boxes:
        box = box if current is None else current
        length = float((box[2:] - box[:2]).max())
        center = unit * smooth_center((box[:2] + box[2:]) / (2 * unit))
        half = max(unit * smooth_length([length / unit])[0], length / slack) / 2
        squares.append(place_square(np.concatenate([center - half, center + half]), frame_size, settings, box))
    return squares

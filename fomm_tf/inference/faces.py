"""Which faces an image has: search at several scales, numbers from left to right, and the user's choice.

Detectors find faces from about 15 % of the frame's longer side. `find_all` also searches overlapping tiles of the
image, so that smaller faces are found; `ZoomedDetector` does so in videos. Both serve bodies and custom detectors too.

Convention: boxes are (left, top, right, bottom) in pixels of the image; faces are numbered from 1, by the horizontal
position of their centers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fomm_tf import detectors, errors
from fomm_tf.detectors import boxes as box_geometry

LARGEST, ALL = "largest", "all"
# Side of the tiles, as fractions of the image's longer side; with 1/8, faces from 2 % of that side are found.
_SCALES = (2, 4, 8)
# In pixels: smaller tiles would show the detector enlarged pixels.
_MIN_TILE = 192
# A box that comes as close to an inner border of its tile, as a fraction of the tile's side, is cut off there.
_BORDER = 0.02
# Side of the region in which an object is searched in the next frame, relative to its box.
_ZOOM = 3.0
# In a video without objects, frames between two searches at all scales.
_SEARCH_INTERVAL = 25

Detect = detectors.Detector[list[detectors.Boxes]]


class Face(NamedTuple):
    """A face in an image.

    Attributes:
      number: from 1, from left to right.
      box: `[4]`.
      score: in [0, 1].
    """

    number: int
    box: np.ndarray
    score: float

    @property
    def area(self) -> float:
        """In square pixels."""
        return float(np.prod(self.box[2:] - self.box[:2]))


def find_faces(image: np.ndarray, detector: str = "face") -> list[Face]:
    """Finds and numbers the faces of an image.

    Args:
      image: `[H, W, 3]` uint8.
      detector: `face`, `body` or `module:function`; see `fomm_tf.detectors.load_boxes`.

    Raises:
      errors.UserError: if the detector is unknown or cannot be downloaded.
    """
    return number_faces(find_all(detectors.load_boxes(detector), image))


def number_faces(objects: detectors.Boxes) -> list[Face]:
    """The faces of one image, from left to right; those above each other from top to bottom."""
    centers = (objects.box[:, :2] + objects.box[:, 2:]) / 2
    order = np.lexsort((centers[:, 1], centers[:, 0]))
    return [Face(number, objects.box[index], float(objects.score[index])) for number, index in enumerate(order, 1)]


def check_choice(text: str) -> str:
    """Checks a choice of faces before any image is read.

    Raises:
      errors.UserError: if it is not `largest`, `all` or a number from 1.
    """
    if text not in (LARGEST, ALL) and not (text.isdecimal() and int(text) >= 1):
        raise errors.UserError(f"`face` must be largest, all or the number of a face, from 1; got {text!r}.")
    return text


def choose_faces(faces: Sequence[Face], choice: str, name: str) -> list[Face]:
    """The faces that the user wants to animate.

    Args:
      faces: from `number_faces`.
      choice: `largest`, `all`, or a number.
      name: of the image, for messages.

    Raises:
      errors.UserError: if there are no faces, no face of that number, or the choice is none of these.
    """
    check_choice(choice)
    if not faces:
        raise errors.UserError(
            f"{name} shows no face that is found; give a sharp image with the face upright, or the region as `crop` "
            "X,Y,W,H."
        )
    if choice == ALL:
        return list(faces)
    if choice == LARGEST:
        return [max(faces, key=lambda face: face.area)]
    if int(choice) > len(faces):
        raise errors.UserError(
            f"`face` is {choice}, but {name} shows {len(faces)}; give a number from 1 to {len(faces)}, counted from "
            "the left."
        )
    return [faces[int(choice) - 1]]


def list_faces(faces: Sequence[Face]) -> Iterator[str]:
    """The table of an image's faces, line by line; the boxes have the form that `--crop` takes."""
    rows = [("FACE", "X,Y,W,H", "SCORE", "")]
    largest = max(faces, key=lambda face: face.area, default=None)
    for face in faces:
        left, top, right, bottom = np.rint(face.box).astype(int)
        place = f"{left},{top},{right - left},{bottom - top}"
        rows.append((str(face.number), place, f"{face.score:.2f}", LARGEST if face is largest else ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def find_all(detect: Detect, image: np.ndarray) -> detectors.Boxes:
    """Detects objects of all sizes, in the whole image and in overlapping tiles.

    Args:
      detect: from `fomm_tf.detectors.load_boxes`.
      image: `[H, W, 3]` uint8.
    """
    found = [detect([image])[0]]
    for left, top, side in _tiles(image.shape[:2]):
        tile = image[top : top + side, left : left + side]
        found.append(_drop_cut(_shift(detect([tile])[0], left, top), (left, top, side), image.shape[:2]))
    return box_geometry.suppress(detectors.Boxes(*map(np.concatenate, zip(*found, strict=True))))


class ZoomedDetector:
    """Detects an object of any size in the consecutive frames of a video: near its last box, else everywhere.

    In a frame without an object near that box, the whole frame is searched; at all scales, like `find_all`, in the
    first frame and then at most every 26th. Results depend on the frames before: use a new one for each pass.

    Args:
      detect: from `fomm_tf.detectors.load_boxes`.
    """

    def __init__(self, detect: Detect) -> None:
        self._detect = detect
        self._last: np.ndarray | None = None
        self._since_search = _SEARCH_INTERVAL

    def __call__(self, frames: Sequence[np.ndarray]) -> list[detectors.Boxes]:
        """The objects of the next N frames, `[H, W, 3]` uint8."""
        return [self._search(frame) for frame in frames]

    def _search(self, frame: np.ndarray) -> detectors.Boxes:
        self._since_search += 1
        found = None if self._last is None else self._search_near(frame, self._last)
        if found is None or not len(found.score):
            if self._since_search > _SEARCH_INTERVAL:
                self._since_search, found = 0, find_all(self._detect, frame)
            else:
                found = self._detect([frame])[0]
        if len(found.score):
            sizes = np.prod(found.box[:, 2:] - found.box[:, :2], axis=1)
            overlaps = sizes if self._last is None else box_geometry.iou(self._last, found.box)
            self._last = found.box[overlaps.argmax() if overlaps.max() > 0 else sizes.argmax()]
        return found

    def _search_near(self, frame: np.ndarray, box: np.ndarray) -> detectors.Boxes:
        side = max(2, round(_ZOOM * float((box[2:] - box[:2]).max())))
        left, top = (
            int(np.clip(round(float(center) - side / 2), 0, max(0, length - side)))
            for center, length in zip((box[:2] + box[2:]) / 2, frame.shape[1::-1], strict=True)
        )
        return _shift(self._detect([frame[top : top + side, left : left + side]])[0], left, top)


def _tiles(size: tuple[int, int]) -> Iterator[tuple[int, int, int]]:
    """Left, top and side of the tiles; neighbors overlap by half a side at least."""
    for scale in _SCALES:
        side = -(-max(size) // scale)
        if side < _MIN_TILE:
            return
        starts = []
        for length in size:
            last = max(0, length - side)
            starts.append(np.linspace(0, last, -(-2 * last // side) + 1).round().astype(int).tolist())
        for top, left in itertools.product(*starts):
            yield left, top, side


def _shift(objects: detectors.Boxes, left: int, top: int) -> detectors.Boxes:
    """Maps objects from a part of an image, with its corner at (left, top), to the image."""
    return objects._replace(
        box=objects.box + np.float32([left, top, left, top]), points=objects.points + np.float32([left, top])
    )


def _drop_cut(objects: detectors.Boxes, tile: tuple[int, int, int], size: tuple[int, int]) -> detectors.Boxes:
    """Without the objects that a tile's border cuts off, unless it is also the image's: another tile has them whole."""
    left, top, side = tile
    low = np.where(np.array([left, top]) > 0, np.array([left, top]) + _BORDER * side, -np.inf)
    ends = np.array([left + side, top + side])
    high = np.where(ends < np.array(size[::-1]), ends - _BORDER * side, np.inf)
    whole = (objects.box[:, :2] >= low).all(axis=1) & (objects.box[:, 2:] <= high).all(axis=1)
    return detectors.Boxes(*(part[whole] for part in objects))

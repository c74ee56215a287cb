"""Squares: where to cut, and cutting."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fomm_tf import video
from fomm_tf.data.prepare.settings import Settings


class Square(NamedTuple):
    """A square of pixels; reaches beyond the frame where its edge is to be repeated."""

    left: int
    top: int
    side: int


def place(box: np.ndarray, frame_size: tuple[int, int], settings: Settings) -> Square:
    """The square around a box, with the margin, moved into the frame.

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
    room = np.array(frame_size[::-1]) - side
    left, top = np.clip(np.rint(corner), np.minimum(room, 0), np.maximum(room, 0))
    return Square(int(left), int(top), side)


def edge_distance(box: np.ndarray, square: Square) -> float:
    """Least distance between a box `[4]` and the edge of the square, as a share of its side; negative outside."""
    corner = np.array(square[:2])
    return float(min((box[:2] - corner).min(), (corner + square.side - box[2:]).min())) / square.side


def cut(frame: np.ndarray, square: Square, size: int) -> np.ndarray:
    """Cuts a square out and resizes it, by area where it shrinks.

    Args:
      frame: `[H, W, 3]` uint8.
      square: where.
      size: side wanted.

    Returns:
      `[size, size, 3]` uint8.
    """
    rows = np.clip(np.arange(square.top, square.top + square.side), 0, frame.shape[0] - 1)
    columns = np.clip(np.arange(square.left, square.left + square.side), 0, frame.shape[1] - 1)
    inside = frame[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if inside.shape[:2] != (square.side, square.side):
        inside = inside[rows - rows[0]][:, columns - columns[0]]
    return video.resize(inside, (size, size), "stretch")

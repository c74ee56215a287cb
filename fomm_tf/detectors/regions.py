"""Squares of a frame, perhaps turned: what the networks look at, and the way back from there to the frame.

Convention: places in a region are (x, y) in [0, 1], from its upper left to its lower right corner; those in a frame are
the package's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fomm_tf.opencv import cv2


class Region(NamedTuple):
    """A square of a frame; it may reach beyond it.

    Attributes:
      center: (x, y).
      side: in pixels.
      angle: in radians, how far the square is turned clockwise.
    """

    center: tuple[float, float]
    side: float
    angle: float = 0.0


def whole(frame: np.ndarray) -> Region:
    """The smallest upright square with all of a frame; its margins are equal."""
    height, width = frame.shape[:2]
    return Region((width / 2, height / 2), max(height, width))


def to_frame(points: np.ndarray, region: Region) -> np.ndarray:
    """Places in the frame, `[..., 2]`, of those in a region, `[..., 2]`."""
    cosine, sine = math.cos(region.angle) * region.side, math.sin(region.angle) * region.side
    return (points - 0.5) @ np.array([[cosine, sine], [-sine, cosine]]) + region.center


def fit(points: np.ndarray, places: np.ndarray) -> Region:
    """The region that has `points` as near as can be, by least squares, to `places` in the frame.

    Args:
      points: `[P, 2]` in the region, not all the same.
      places: `[P, 2]` in the frame.
    """
    # A similarity of the plane is z -> factor z + offset in complex numbers.
    inside, outside = points @ (1, 1j), places @ (1, 1j)
    spread = inside - inside.mean()
    factor = np.vdot(spread, outside - outside.mean()) / np.vdot(spread, spread).real
    center = factor * (0.5 + 0.5j - inside.mean()) + outside.mean()
    return Region((center.real, center.imag), abs(factor), float(np.angle(factor)))


def cut(frame: np.ndarray, region: Region, side: int) -> np.ndarray:
    """The image in a region; what lies beyond the frame is black.

    Args:
      frame: `[H, W, 3]` uint8.
      region: of the frame.
      side: of the image, in pixels; details that it cannot show are averaged out, not skipped.

    Returns:
      `[side, side, 3]` uint8.

    Raises:
      ValueError: if the frame is not such.
    """
    if frame.ndim != 3 or frame.shape[-1] != 3 or frame.dtype != np.uint8:
        raise ValueError(f"A frame is [H, W, 3] uint8; got {list(frame.shape)} {frame.dtype}.")
    shrink = min(1.0, side / region.side)
    size = np.array([max(1, round(length * shrink)) for length in frame.shape[1::-1]])
    scale = size / frame.shape[1::-1]
    if shrink < 1:
        frame = cv2.resize(frame, size.tolist(), interpolation=cv2.INTER_AREA)
    # Where the centers of the image's pixels (0, 0), (1, 0) and (0, 1) lie; OpenCV counts from the first center.
    corners = (np.array([[0, 0], [1, 0], [0, 1]]) + 0.5) / side
    origin, right, down = to_frame(corners, region) * scale - 0.5
    matrix = np.stack([right - origin, down - origin, origin], axis=1)
    return cv2.warpAffine(frame, matrix, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)

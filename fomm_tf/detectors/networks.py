"""The outputs of detectors, and downloaded TensorFlow Lite networks, run on square regions of frames.

Convention: points in a region are (x, y) in [0, 1], from its upper left to its lower right corner; points in a frame
are in pixels (see the package).
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fomm_tf import fetch
from fomm_tf.opencv import cv2

# Minimum score of a detected object, and minimum visibility of a detected point.
MIN_SCORE = 0.5


class Boxes(NamedTuple):
    """The objects in one frame, the best one first.

    Attributes:
      score: `[M]` float32 in [0, 1]; M may be 0.
      box: `[M, 4]` float32: left, top, right, bottom; may extend beyond the frame.
      points: `[M, Q, 2]` float32, points that belong to the box; Q may be 0.
    """

    score: np.ndarray
    box: np.ndarray
    points: np.ndarray


class Points(NamedTuple):
    """The points of the best object in each of N frames.

    Attributes:
      value: `[N, P, 2]` float32; NaN where no object is found.
      visibility: `[N, P]` float32 in [0, 1]; 0 where no object is found.
    """

    value: np.ndarray
    visibility: np.ndarray

    @property
    def found(self) -> np.ndarray:
        """`[N, P]` bool: the point is visible."""
        return self.visibility >= MIN_SCORE


class Embeddings(NamedTuple):
    """The embeddings of N frames; similar objects have a small Euclidean distance.

    Attributes:
      value: `[N, E]` float32; NaN where no object is found.
      found: `[N]` bool.
    """

    value: np.ndarray
    found: np.ndarray


class Region(NamedTuple):
    """A square that may extend beyond the frame.

    Attributes:
      center: (x, y) in the frame.
      side: in pixels.
      angle: clockwise rotation in radians.
    """

    center: tuple[float, float]
    side: float
    angle: float = 0.0


def whole_frame(frame: np.ndarray) -> Region:
    """The smallest upright square that contains a frame, centered on it."""
    height, width = frame.shape[:2]
    return Region((width / 2, height / 2), max(height, width))


def to_frame(points: np.ndarray, region: Region) -> np.ndarray:
    """Maps points `[..., 2]` from a region to the frame."""
    cosine, sine = math.cos(region.angle) * region.side, math.sin(region.angle) * region.side
    return (points - 0.5) @ np.array([[cosine, sine], [-sine, cosine]]) + region.center


def fit_region(points: np.ndarray, targets: np.ndarray) -> Region:
    """The region that maps `points` closest to `targets`, by least squares.

    Args:
      points: `[P, 2]` in the region, not all equal.
      targets: `[P, 2]` in the frame.
    """
    # A similarity of the plane is z -> factor z + offset in complex numbers.
    inside, outside = points @ (1, 1j), targets @ (1, 1j)
    spread = inside - inside.mean()
    factor = np.vdot(spread, outside - outside.mean()) / np.vdot(spread, spread).real
    center = factor * (0.5 + 0.5j - inside.mean()) + outside.mean()
    return Region((center.real, center.imag), abs(factor), float(np.angle(factor)))


def crop(frame: np.ndarray, region: Region, side: int) -> np.ndarray:
    """Crops a region and resizes it, with antialiasing; pixels outside the frame are black.

    Args:
      frame: `[H, W, 3]` uint8.
      region: of the frame.
      side: of the output, in pixels.

    Returns:
      `[side, side, 3]` uint8.

    Raises:
      ValueError: if the frame has another shape or dtype.
    """
    if frame.ndim != 3 or frame.shape[-1] != 3 or frame.dtype != np.uint8:
        raise ValueError(f"A frame is [H, W, 3] uint8; got {list(frame.shape)} {frame.dtype}.")
    shrink = min(1.0, side / region.side)
    size = np.array([max(1, round(length * shrink)) for length in frame.shape[1::-1]])
    scale = size / frame.shape[1::-1]
    if shrink < 1:
        frame = cv2.resize(frame, size.tolist(), interpolation=cv2.INTER_AREA)
    # The centers of the output pixels (0, 0), (1, 0) and (0, 1); OpenCV's origin is the center of the first pixel.
    corners = (np.array([[0, 0], [1, 0], [0, 1]]) + 0.5) / side
    origin, right, down = to_frame(corners, region) * scale - 0.5
    matrix = np.stack([right - origin, down - origin, origin], axis=1)
    return cv2.warpAffine(frame, matrix, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def are_installed() -> bool:
    """Whether the files of `fomm fetch detectors` are in the cache, so that nothing has to be downloaded."""
    folder = fetch.cache_folder() / "detectors"
    members = [member for package in fetch.SETS["detectors"].packages for member in package.members]
    return all((folder / pathlib.PurePosixPath(member).name).exists() for member in members)


def read_file(name: str) -> bytes:
    """Reads a file of `fomm fetch detectors`, and downloads it if it is not in the cache.

    Its sha256 is verified, since TensorFlow Lite crashes on damaged models.

    Raises:
      errors.UserError: if it cannot be downloaded.
    """
    return fetch.fetch("detectors", report=functools.partial(print, file=sys.stderr))[name].read_bytes()


class TFLiteModel:
    """A TensorFlow Lite model with one image as its input; serves one thread at a time.

    Args:
      name: the file.
      threads: number of threads that it may use.

    Attributes:
      side: of the square input, in pixels.

    Raises:
      errors.UserError: see `read_file`.
    """

    def __init__(self, name: str, threads: int) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter  # loads in milliseconds
        except ImportError:
            import tensorflow as tf

            Interpreter = tf.lite.Interpreter

        content = read_file(name)
        with suppress_stderr():
            self._interpreter = Interpreter(model_content=content, num_threads=threads)
            self._interpreter.allocate_tensors()
        (entry,) = self._interpreter.get_input_details()
        self._input, self.side = entry["index"], int(entry["shape"][1])
        self._outputs = [output["index"] for output in self._interpreter.get_output_details()]

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        """Runs the model.

        Args:
          image: `[side, side, 3]` float32, in the model's range.

        Returns:
          The outputs without their batch axis, float32.
        """
        self._interpreter.set_tensor(self._input, image[np.newaxis])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index)[0] for index in self._outputs]

    def run_on(self, frame: np.ndarray, region: Region) -> list[np.ndarray]:
        """Runs a model whose input range is [0, 1] on a region of a frame."""
        return self(crop(frame, region, self.side).astype(np.float32) / 255)


def detect_points(
    frames: Sequence[np.ndarray],
    boxes: Sequence[Boxes],
    count: int,
    locate: Callable[[np.ndarray, Boxes], tuple[float, np.ndarray, np.ndarray | float]],
) -> Points:
    """Detects the points of the best object in each of N frames.

    Args:
      frames: `[H, W, 3]` uint8 each.
      boxes: the objects of each frame.
      count: P, the number of points.
      locate: from a frame and its objects, the score of the best object, its points `[P, 2]`, and their visibility:
        `[P]`, or one value for all.
    """
    value = np.full([len(frames), count, 2], np.nan, np.float32)
    visibility = np.zeros([len(frames), count], np.float32)
    for index, (frame, objects) in enumerate(zip(frames, boxes, strict=True)):
        if not len(objects.score):
            continue
        score, points, visible = locate(frame, objects)
        if score >= MIN_SCORE:
            value[index], visibility[index] = points, visible
    return Points(value, visibility)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x), without overflow."""
    return 1 / (1 + np.exp(-np.clip(logits, -80, 80)))


@contextlib.contextmanager
def suppress_stderr() -> Iterator[None]:
    """Discards the process's stderr: TensorFlow Lite logs its delegates there, at any log level."""
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)

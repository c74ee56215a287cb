"""Third-party detectors of faces, bodies and identities, and an interface for custom ones.

Convention:
  * a detector is a function of N frames: a sequence of `[H, W, 3]` uint8 RGB, or one array of them. Frames are
    processed independently: the same frame gives the same bytes in any batch;
  * points are (x, y) in pixels; the frame spans (0, 0) to (W, H), the center of its first pixel is (0.5, 0.5);
  * what is not found is NaN, with visibility 0 or `found` false; a point is found if its visibility is at least 0.5;
  * an object owns its networks and serves one thread at a time; the first one loads TensorFlow.

The networks are those of `fomm fetch detectors`, and are downloaded if they are not in the cache. They differ from the
detectors of the paper's tables: use their numbers to compare models with each other, not with the paper.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from fomm_tf import errors
from fomm_tf.detectors.built_in import SAME_PERSON, BodyBoxes, BodyPoints, FaceBoxes, FaceIdentity, FacePoints
from fomm_tf.detectors.networks import Boxes, Embeddings, Points, are_installed

__all__ = [
    "BOXES",
    "EMBEDDINGS",
    "POINTS",
    "SAME_PERSON",
    "BodyBoxes",
    "BodyPoints",
    "Boxes",
    "Detector",
    "Embeddings",
    "FaceBoxes",
    "FaceIdentity",
    "FacePoints",
    "Points",
    "are_installed",
    "load_boxes",
    "load_embedding",
    "load_points",
]

Result = TypeVar("Result")
Detector = Callable[[Sequence[np.ndarray]], Result]

BOXES = {"face": FaceBoxes, "body": BodyBoxes}
POINTS = {"face-points": FacePoints, "body-points": BodyPoints}
EMBEDDINGS = {"face-identity": FaceIdentity}


def load_boxes(name: str, threads: int = 1) -> Detector[list[Boxes]]:
    """Loads a box detector: `face`, `body` or `module:function`.

    Args:
      name: a custom function takes N frames and returns for each a `Boxes`, or a tuple of its fields; the points are
        optional.
      threads: number of threads that the networks of built-in detectors may use.

    Raises:
      errors.UserError: if the name is unknown, or its networks cannot be downloaded; on use, if a custom function
        returns something else.
    """

    def check(result: object, count: int) -> list[Boxes]:
        boxes = [_check_boxes(of_frame) for of_frame in result]
        _require(len(boxes) == count)
        return boxes

    expected = "a list with (score [M], box [M, 4], points [M, Q, 2]) for each of N frames"
    return _load(name, BOXES, threads, check, expected)


def load_points(name: str, threads: int = 1) -> Detector[Points]:
    """Loads a point detector: `face-points`, `body-points` or `module:function`; see `load_boxes`.

    A custom function takes N frames and returns a `Points`, or a tuple of its fields.
    """

    def check(result: object, count: int) -> Points:
        value, visibility = (np.asarray(part, np.float32) for part in result)
        _require(value.shape == (count, *visibility.shape[1:], 2) and visibility.shape == value.shape[:2])
        return Points(value, visibility)

    return _load(name, POINTS, threads, check, "(value [N, P, 2], visibility [N, P]) for N frames")


def load_embedding(name: str, threads: int = 1) -> Detector[Embeddings]:
    """Loads an embedding network: `face-identity` or `module:function`; see `load_boxes`.

    A custom function takes N frames and returns an `Embeddings`, or a tuple of its fields.
    """

    def check(result: object, count: int) -> Embeddings:
        value, found = result
        value, found = np.asarray(value, np.float32), np.asarray(found, bool)
        _require(value.ndim == 2 and len(value) == count and found.shape == (count,))
        return Embeddings(value, found)

    return _load(name, EMBEDDINGS, threads, check, "(value [N, E], found [N]) for N frames")


def _load(name: str, known: dict[str, type], threads: int, check: Callable, expected: str) -> Detector:
    if name in known:
        return known[name](threads)
    if ":" not in name:
        raise errors.UserError(
            f"There is no detector {name!r} of this kind; give {', '.join(known)}, or a custom one as module:function."
        )
    function = _import(name)

    def detect(frames: Sequence[np.ndarray]) -> object:
        result = function(frames)
        try:
            return check(result, len(frames))
        except (TypeError, ValueError):
            raise errors.UserError(
                f"The detector {name} must return {expected}; got, for {len(frames)}, {_describe(result)}."
            ) from None

    return detect


def _import(name: str) -> Callable:
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute, None)
    except (ImportError, ValueError, TypeError) as error:  # the last two: an empty or relative name
        raise errors.UserError(
            f"The detector {name} cannot be imported ({error}); install its module, or add its directory to PYTHONPATH."
        ) from error
    if not callable(function):
        raise errors.UserError(
            f"The detector {name} is not a function: {module} has no callable {attribute!r}; give module:function."
        )
    return function


def _check_boxes(fields: Sequence) -> Boxes:
    score, box, *rest = (np.asarray(part, np.float32) for part in fields)
    points = rest[0] if rest else np.zeros([len(score), 0, 2], np.float32)
    _require(len(rest) <= 1 and score.ndim == 1 and box.shape == (len(score), 4))
    _require(points.shape == (len(score), *points.shape[1:2], 2))
    return Boxes(score, box, points)


def _require(fits: bool) -> None:
    if not fits:
        raise ValueError


def _describe(result: object) -> str:
    shapes = [str(list(getattr(part, "shape", ()))) for part in result] if isinstance(result, tuple) else []
    return f"{type(result).__name__} {' '.join(shapes)}".rstrip()

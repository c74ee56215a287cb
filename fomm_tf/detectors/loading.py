"""Detectors by name: our own, and the user's as `module:function` (see the package)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from fomm_tf import errors
from fomm_tf.detectors import bodies, faces, identity
from fomm_tf.detectors.results import Boxes, Embeddings, Points

Result = TypeVar("Result")
Detector = Callable[[Sequence[np.ndarray]], Result]

BOXES = {"face": faces.FaceBoxes, "body": bodies.BodyBoxes}
POINTS = {"face-points": faces.FacePoints, "body-points": bodies.BodyPoints}
EMBEDDINGS = {"face-identity": identity.FaceIdentity}


def load_boxes(name: str, threads: int = 1) -> Detector[list[Boxes]]:
    """The detector of boxes called `face`, `body` or `module:function`.

    Args:
      name: a function of the user's takes N frames and gives for each a `Boxes`, or a tuple of its fields; the points
        may be left out.
      threads: that the networks of our own detectors may use.

    Raises:
      UserError: if there is none of this name, or its networks cannot be fetched; on use, if a function of the user's
        gives something else.
    """

    def check(result: object, count: int) -> list[Boxes]:
        found = [_boxes(one) for one in result]
        _require(len(found) == count)
        return found

    wanted = "a list with (score [M], box [M, 4], points [M, Q, 2]) for each of N frames"
    return _load(name, BOXES, threads, check, wanted)


def load_points(name: str, threads: int = 1) -> Detector[Points]:
    """The detector of points called `face-points`, `body-points` or `module:function`; see `load_boxes`.

    A function of the user's takes N frames and gives a `Points`, or a tuple of its fields.
    """

    def check(result: object, count: int) -> Points:
        value, visibility = (np.asarray(part, np.float32) for part in result)
        _require(value.shape == (count, *visibility.shape[1:], 2) and visibility.shape == value.shape[:2])
        return Points(value, visibility)

    return _load(name, POINTS, threads, check, "(value [N, P, 2], visibility [N, P]) for N frames")


def load_embedding(name: str, threads: int = 1) -> Detector[Embeddings]:
    """The detector with embeddings called `face-identity` or `module:function`; see `load_boxes`.

    A function of the user's takes N frames and gives an `Embeddings`, or a tuple of its fields.
    """

    def check(result: object, count: int) -> Embeddings:
        value, found = result
        value, found = np.asarray(value, np.float32), np.asarray(found, bool)
        _require(value.ndim == 2 and len(value) == count and found.shape == (count,))
        return Embeddings(value, found)

    return _load(name, EMBEDDINGS, threads, check, "(value [N, E], found [N]) for N frames")


def _load(name: str, known: dict[str, type], threads: int, check: Callable, wanted: str) -> Detector:
    if name in known:
        return known[name](threads)
    if ":" not in name:
        raise errors.UserError(
            f"There is no detector {name!r} of this kind; give {', '.join(known)}, or a function of your own as "
            "module:function."
        )
    function = _import(name)

    def detect(frames: Sequence[np.ndarray]) -> object:
        result = function(frames)
        try:
            return check(result, len(frames))
        except (TypeError, ValueError):
            raise errors.UserError(
                f"The detector {name} must give {wanted}; got, for {len(frames)}, {_describe(result)}."
            ) from None

    return detect


def _import(name: str) -> Callable:
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute, None)
    except (ImportError, ValueError, TypeError) as error:  # the last two: an empty or relative name
        raise errors.UserError(
            f"The detector {name} cannot be imported ({error}); its module must be installed or its folder on "
            "PYTHONPATH."
        ) from error
    if not callable(function):
        raise errors.UserError(
            f"The detector {name} is no function: {module} has no {attribute!r} to call; give module:function."
        )
    return function


def _boxes(one: Sequence) -> Boxes:
    score, box, *rest = (np.asarray(part, np.float32) for part in one)
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

"""The outputs of detectors (see the package)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

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

"""What detectors find (see the package)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# From here on an object that was looked at counts as found, and a point as visible.
CERTAIN = 0.5


class Boxes(NamedTuple):
    """What a detector of boxes finds in one frame, the best first; M may be 0.

    Attributes:
      score: `[M]` float32 in [0, 1].
      box: `[M, 4]` float32: left, top, right, bottom; may reach beyond the frame.
      points: `[M, Q, 2]` float32, a few points that come with the box; Q may be 0.
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
        """`[N, P]` bool: the point is there to be seen."""
        return self.visibility >= CERTAIN


class Embeddings(NamedTuple):
    """Who or what N frames show, as places in a space: what is alike lies near, by Euclidean distance.

    Attributes:
      value: `[N, E]` float32; NaN where nothing is found.
      found: `[N]` bool.
    """

    value: np.ndarray
    found: np.ndarray

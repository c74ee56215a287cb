"""Pictures of a video: copying, driving, result and, where it is another clip, truth, at a few moments."""

from __future__ import annotations

import numpy as np

MOMENTS = 6


class Strip:
    """Keeps frames spread evenly over a video of any length.

    Args:
      source: `[H, W, 3]` uint8.
    """

    def __init__(self, source: np.ndarray) -> None:
        self._source = source
        self._columns: list[np.ndarray] = []
        self._count, self._step = 0, 1

    def add(self, driving: np.ndarray, made: np.ndarray, truth: np.ndarray | None = None) -> None:
        """Takes the next moment, uint8 frames of the source's size."""
        if self._count % self._step == 0 and len(self._columns) == 2 * MOMENTS:
            self._columns, self._step = self._columns[::2], 2 * self._step
        if self._count % self._step == 0:
            rows = [self._source, driving, made] + [truth] * (truth is not None)
            self._columns.append(np.concatenate(rows))
        self._count += 1

    def draw(self) -> np.ndarray:
        """Rows source, driving, result and perhaps truth; `MOMENTS` columns, black where there are fewer frames."""
        chosen = np.unique(np.linspace(0, len(self._columns) - 1, MOMENTS).round().astype(int))
        columns = [self._columns[number] for number in chosen]
        columns += [np.zeros_like(columns[0])] * (MOMENTS - len(columns))
        return np.concatenate(columns, axis=1)


def join(strips: list[np.ndarray]) -> np.ndarray:
    """Strips below each other, a white line between them; narrower ones get a white margin."""
    width = max(strip.shape[1] for strip in strips)
    parts = []
    for strip in strips:
        parts += [np.pad(strip, [(0, 0), (0, width - strip.shape[1]), (0, 0)], constant_values=255)]
        parts += [np.full([4, width, 3], 255, np.uint8)]
    return np.concatenate(parts[:-1])

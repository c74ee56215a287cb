"""Image strips of a video: source, driving frames, results and, where it is another video, ground truth."""

from __future__ import annotations

import numpy as np

MOMENTS = 6


class Strip:
    """Samples frames spread evenly over a video of unknown length: rows source, driving, result, maybe ground truth.

    Args:
      source: `[H, W, 3]` uint8.
    """

    def __init__(self, source: np.ndarray) -> None:
        self._source = source
        self._columns: list[np.ndarray] = []
        self._count, self._step = 0, 1

    def add(self, driving: np.ndarray, generated: np.ndarray, truth: np.ndarray | None = None) -> None:
        """Adds the next frames, uint8, of the source's size."""
        if self._count % self._step == 0 and len(self._columns) == 2 * MOMENTS:
            self._columns, self._step = self._columns[::2], 2 * self._step
        if self._count % self._step == 0:
            rows = [self._source, driving, generated] + [truth] * (truth is not None)
            self._columns.append(np.concatenate(rows))
        self._count += 1

    def image(self) -> np.ndarray:
        """`MOMENTS` columns, black where there are fewer frames."""
        chosen = np.unique(np.linspace(0, len(self._columns) - 1, MOMENTS).round().astype(int))
        columns = [self._columns[index] for index in chosen]
        columns += [np.zeros_like(columns[0])] * (MOMENTS - len(columns))
        return np.concatenate(columns, axis=1)


def stack(strips: list[np.ndarray]) -> np.ndarray:
    """Strips below each other, separated by white lines; narrower ones are padded with white."""
    width = max(strip.shape[1] for strip in strips)
    parts = []
    for strip in strips:
        parts += [np.pad(strip, [(0, 0), (0, width - strip.shape[1]), (0, 0)], constant_values=255)]
        parts += [np.full([4, width, 3], 255, np.uint8)]
    return np.concatenate(parts[:-1])

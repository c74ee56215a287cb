"""Grids of images `[H, W, 3]` uint8: with labels above the columns and beside the rows, and strips of a video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fomm_tf import video

# Columns of a strip.
MOMENTS = 6


class Row(NamedTuple):
    """A row of a grid.

    Attributes:
      label: text to its left, rotated upright.
      cells: images `[H, W, 3]` uint8; None is an empty cell.
      starts_group: add space above, since a new group of rows starts here.
    """

    label: str
    cells: Sequence[np.ndarray | None]
    starts_group: bool = False


def draw_grid(rows: Sequence[Row], columns: Sequence[str], size: tuple[int, int]) -> np.ndarray:
    """Draws the rows on white.

    Args:
      rows: each with one cell per column.
      columns: labels above the columns.
      size: (height, width) of a cell.

    Returns:
      `[H, W, 3]` uint8.
    """
    height, width = size
    gap, line = max(2, height // 48), max(14, height // 8)
    parts = [_concatenate([_blank(line, line), *(_centered_text(column, line, width) for column in columns)], gap)]
    for row in rows:
        label = np.rot90(_centered_text(row.label, line, height))
        cells = [_blank(*size) if cell is None else video.resize(cell, size, "stretch") for cell in row.cells]
        strip = _concatenate([label, *cells], gap)
        parts += [_blank((4 if row.starts_group else 1) * gap, strip.shape[1]), strip]
    return np.pad(np.concatenate(parts), [(gap, 2 * gap), (gap, 2 * gap), (0, 0)], constant_values=255)


class VideoStrip:
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


def stack_strips(strips: list[np.ndarray]) -> np.ndarray:
    """Stacks strips vertically, separated by white lines; narrower ones are padded with white."""
    width = max(strip.shape[1] for strip in strips)
    parts = []
    for strip in strips:
        parts += [np.pad(strip, [(0, 0), (0, width - strip.shape[1]), (0, 0)], constant_values=255)]
        parts += [np.full([4, width, 3], 255, np.uint8)]
    return np.concatenate(parts[:-1])


def _concatenate(cells: Sequence[np.ndarray], gap: int) -> np.ndarray:
    spaced = [cells[0]]
    for cell in cells[1:]:
        spaced += [_blank(len(cell), gap), cell]
    return np.concatenate(spaced, axis=1)


def _centered_text(text: str, height: int, width: int) -> np.ndarray:
    image = video.draw_text(text, height, width)
    left = (width - image.shape[1]) // 2
    return np.pad(image, [(0, 0), (left, width - image.shape[1] - left), (0, 0)], constant_values=255)


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 255, np.uint8)

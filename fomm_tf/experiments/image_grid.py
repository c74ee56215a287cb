"""A grid of images with labels above the columns and beside the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fomm_tf import video


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

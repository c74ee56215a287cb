"""Pictures in rows, words above and beside them. Knows nothing of models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fomm_tf import video


class Row(NamedTuple):
    """A row of a figure.

    Attributes:
      label: what stands to its left, upright.
      cells: pictures; None leaves a place free.
      apart: whether another group of rows begins with it.
    """

    label: str
    cells: Sequence[np.ndarray | None]
    apart: bool = False


def assemble(rows: Sequence[Row], columns: Sequence[str], size: tuple[int, int]) -> np.ndarray:
    """One picture of all rows, on white.

    Args:
      rows: of as many cells each as there are columns.
      columns: what stands above the columns.
      size: (height, width) that each cell gets.

    Returns:
      `[H, W, 3]` uint8.
    """
    height, width = size
    gap, line = max(2, height // 48), max(14, height // 8)
    parts = [_beside([_blank(line, line), *(_centred(column, line, width) for column in columns)], gap)]
    for row in rows:
        label = np.rot90(_centred(row.label, line, height))
        cells = [_blank(*size) if cell is None else video.resize(cell, size, "stretch") for cell in row.cells]
        line_of_cells = _beside([label, *cells], gap)
        parts += [_blank((4 if row.apart else 1) * gap, line_of_cells.shape[1]), line_of_cells]
    return np.pad(np.concatenate(parts), [(gap, 2 * gap), (gap, 2 * gap), (0, 0)], constant_values=255)


def _beside(cells: Sequence[np.ndarray], gap: int) -> np.ndarray:
    spaced = [cells[0]]
    for cell in cells[1:]:
        spaced += [_blank(len(cell), gap), cell]
    return np.concatenate(spaced, axis=1)


def _centred(text: str, height: int, width: int) -> np.ndarray:
    words = video.draw_text(text, height, width)
    left = (width - words.shape[1]) // 2
    return np.pad(words, [(0, 0), (left, width - words.shape[1] - left), (0, 0)], constant_values=255)


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 255, np.uint8)

"""CSV files that list pairs to animate, with the columns `source` and `driving`."""

from __future__ import annotations

import csv
import pathlib
from typing import NamedTuple

from fomm_tf import errors


class Pair(NamedTuple):
    """A pair to animate.

    Attributes:
      source: path of the image.
      driving: path of the video.
      truth: path of the ground-truth animation; empty if unknown.
    """

    source: str
    driving: str
    truth: str = ""

    @property
    def name(self) -> str:
        """File stem of the result, unique in the list."""
        return f"{pathlib.Path(self.source).stem}--{pathlib.Path(self.driving).stem}"


def read(path: str | pathlib.Path) -> list[Pair]:
    """Reads a list of pairs.

    Args:
      path: CSV with a header row that has `source`, `driving` and optionally `truth`; other columns are ignored.

    Raises:
      errors.UserError: if it cannot be read, lacks a column, or two pairs have the same result file.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns, rows = reader.fieldnames or (), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise errors.UserError(f"cannot read the pairs {path}: {error}.") from error
    missing = {"source", "driving"} - set(columns)
    if missing or not rows:
        raise errors.UserError(
            f"{path} must have the columns source and driving and at least one row; got "
            f"{', '.join(columns) or 'nothing'}."
        )
    pairs = [Pair(*(row.get(name) or "" for name in Pair._fields)) for row in rows]
    names = [pair.name for pair in pairs]
    if duplicate := next((name for name in names if names.count(name) > 1), None):
        raise errors.UserError(f"{path} has two pairs with the result {duplicate}.mp4; rename their files.")
    return pairs

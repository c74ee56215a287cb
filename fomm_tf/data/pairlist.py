"""Lists of pairs to animate: CSV files with the columns `source` and `driving`."""

from __future__ import annotations

import csv
import pathlib
from typing import NamedTuple

from fomm_tf import errors


class Pair(NamedTuple):
    """What is to be animated.

    Attributes:
      source: path of the image.
      driving: path of the video.
      truth: path of the true animation, where it is known; else empty.
    """

    source: str
    driving: str
    truth: str = ""

    @property
    def name(self) -> str:
        """What the result is called; no other pair of the list is."""
        return f"{pathlib.Path(self.source).stem}--{pathlib.Path(self.driving).stem}"


def read(path: str | pathlib.Path) -> list[Pair]:
    """The rows of a list of pairs.

    Args:
      path: CSV with a head line that names `source` and `driving`, and perhaps `truth`; other columns are ignored.

    Raises:
      errors.UserError: if it cannot be read, lacks a column, or two pairs would be written to one file.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns, rows = reader.fieldnames or (), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise errors.UserError(f"Cannot read the pairs {path}: {error}.") from error
    missing = {"source", "driving"} - set(columns)
    if missing or not rows:
        found = ", ".join(columns) or "nothing"
        raise errors.UserError(f"{path} must have the columns source and driving and a row below; it has {found}.")
    pairs = [Pair(*(row.get(name) or "" for name in Pair._fields)) for row in rows]
    names = [pair.name for pair in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise errors.UserError(f"{path} has two pairs for {twice}.mp4; give their files other names.")
    return pairs

"""Directory layout of a data set, and CSV files that list pairs to animate.

Convention:
  * `ROOT/train` and `ROOT/test` hold the clips of each split;
  * a clip is anything that `fomm_tf.video.open_video` reads;
  * `identity#clip` is a clip of `identity`; a name without `#` is an identity of its own;
  * a list of pairs has the columns `source` and `driving`, and optionally `truth`.
"""

from __future__ import annotations

import csv
import os
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

from fomm_tf import errors, files
from fomm_tf.video import formats

SPLITS = ("train", "test")
# For messages.
VIDEOS = f"videos ({', '.join(formats.COMMON_SUFFIXES)} and others that FFmpeg reads)"


def may_be_clip(path: pathlib.Path) -> bool:
    """Whether a path is a directory, or named like a video or an image, which may be animated or stacked."""
    return path.is_dir() or formats.is_video_name(path) or formats.is_image_name(path)


def inputs_of(paths: Iterable[pathlib.Path]) -> files.Inputs:
    """The clips among `paths`, which no output may replace: files, and directories that hold images."""
    return files.Inputs(
        path for path in paths if not os.path.isdir(path) or any(formats.is_image_name(file) for file in path.iterdir())
    )


def describe_passed_over(folder: pathlib.Path, paths: list[pathlib.Path]) -> str:
    """One line for files of `folder` that are no clips and belong to none."""
    return f"{folder}: passed over {formats.list_names(paths)}, neither videos nor frames of one."


def identity_of(path: pathlib.Path) -> str:
    """The part of the file name before `#`, or the whole name."""
    return path.name.split("#")[0]


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
        """File stem of the result, unique in the list; shortened if it is too long for a file name."""
        return files.safe_name(f"{pathlib.Path(self.source).stem}--{pathlib.Path(self.driving).stem}")


def read_pairs(path: str | pathlib.Path) -> list[Pair]:
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

"""Directory layout of a data set, for writers and readers.

Convention:
  * `ROOT/train` and `ROOT/test` hold the clips of each split;
  * a clip is whatever `fomm_tf.video.open_video` reads;
  * `identity#clip` is a clip of `identity`; a name without `#` is an identity of its own.
"""

from __future__ import annotations

from pathlib import Path

SPLITS = ("train", "test")
IMAGE_SUFFIXES = (".apng", ".jpeg", ".jpg", ".png")
SUFFIXES = (
    *(".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"),
    *IMAGE_SUFFIXES,
)


def identity_of(path: Path) -> str:
    """The part of the file name before `#`, or the whole name."""
    return path.name.split("#")[0]

"""How clips lie on disk, for who writes a data set and who reads it.

Convention:
  * `ROOT/train` and `ROOT/test` hold the clips of each part;
  * a clip is what `fomm_tf.video.open_video` reads;
  * `identity#clip` is a clip of `identity`; a name without `#` is an identity of its own.
"""

from __future__ import annotations

from pathlib import Path

SPLITS = ("train", "test")
PICTURES = (".apng", ".jpeg", ".jpg", ".png")
SUFFIXES = (
    *(".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"),
    *PICTURES,
)


def identity_of(path: Path) -> str:
    """The part of the name before `#`, or the name."""
    return path.name.split("#")[0]

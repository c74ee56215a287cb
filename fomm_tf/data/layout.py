"""Directory layout of a data set, for writers and readers.

Convention:
  * `ROOT/train` and `ROOT/test` hold the clips of each split;
  * a clip is whatever `fomm_tf.video.open_video` reads;
  * `identity#clip` is a clip of `identity`; a name without `#` is an identity of its own.
"""

from __future__ import annotations

import hashlib
import os
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


def digest(*parts: object) -> bytes:
    """SHA-256 of `parts`."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).digest()


def stamp(path: Path, *others: object) -> bytes:
    """SHA-256 of names, sizes and times of a clip's files, and of `others`; empty if the files cannot be listed."""
    facts = []
    try:
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name) if path.is_dir() else [path]:
            status = entry.stat()
            facts.append((entry.name, status.st_size, status.st_mtime_ns))
    except OSError:  # a broken link; reading it raises an error later
        return b""
    return digest(*facts, *others)

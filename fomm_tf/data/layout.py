"""How clips lie on disk, for who writes a data set and who reads it.

Convention:
  * `ROOT/train` and `ROOT/test` hold the clips of each part;
  * a clip is what `fomm_tf.video.open_video` reads;
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
    """The part of the name before `#`, or the name."""
    return path.name.split("#")[0]


def digest(*parts: object) -> bytes:
    """32 bytes that change with any of `parts`."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).digest()


def stamp(path: Path, *others: object) -> bytes:
    """Changes with `others` and with names, sizes and times of the clip's files; empty if they cannot be looked at."""
    facts = []
    try:
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name) if path.is_dir() else [path]:
            about = entry.stat()
            facts.append((entry.name, about.st_size, about.st_mtime_ns))
    except OSError:  # a link that leads nowhere; reading it says so
        return b""
    return digest(*facts, *others)

"""Finds the videos to prepare, their identities and their splits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fomm_tf import errors, files
from fomm_tf.data import layout
from fomm_tf.data.prepare.settings import Settings


class Source(NamedTuple):
    """A video.

    Attributes:
      path: of the file or directory.
      name: `identity#rest`, or the identity alone; unique in its split.
      split: `train` or `test` if the video is in a directory of that name.
    """

    path: Path
    name: str
    split: str | None = None

    @property
    def identity(self) -> str:
        """The person or object in the video."""
        return self.name.split("#")[0]


def find(paths: Iterable[Path], settings: Settings, out: Path) -> list[Source]:
    """Finds videos, sorted by name.

    Args:
      paths: videos, directories of frames, and directories that contain them at any depth; hidden ones are ignored.
      settings: `identity`.
      out: directory to ignore.

    Raises:
      UserError: if a path does not exist or has no videos, or if two videos would get the same name.
    """
    named: dict[str, list[Source]] = {}
    for path in paths:
        if not path.exists():
            raise errors.UserError(f"{path} does not exist; give videos, or directories with videos.")
        is_clip = not path.is_dir() or _is_clip(path)
        videos = (
            [(path, Path(path.resolve().name))]
            if is_clip
            else [(file, file.relative_to(path)) for file in _walk(path, out.resolve())]
        )
        if not videos:
            raise errors.UserError(f"{path} has no videos ({', '.join(layout.SUFFIXES)}) and no directories of frames.")
        for file, below in videos:
            source = _describe(file, below, settings.identity)
            others = named.setdefault(source.name, [])
            if any(other.path.resolve() == file.resolve() for other in others):
                continue
            for other in others:
                if other.split == source.split or None in (other.split, source.split):
                    raise errors.UserError(f"{other.path} and {file} would both be named {source.name!r}; rename one.")
            others.append(source)
    return [source for name in sorted(named) for source in named[name]]


def _walk(folder: Path, out: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.resolve() == out:
            continue
        if not entry.is_dir():
            if entry.suffix.lower() in layout.SUFFIXES:
                yield entry
        elif _is_clip(entry):
            yield entry
        else:
            yield from _walk(entry, out)


def _is_clip(folder: Path) -> bool:
    """Whether a directory holds the frames of a clip; images in `train` and `test` are stacked, one clip each."""
    return folder.name not in layout.SPLITS and any(
        file.suffix.lower() in layout.IMAGE_SUFFIXES and not file.name.startswith(".") for file in folder.iterdir()
    )


def _describe(path: Path, below: Path, pattern: str | None) -> Source:
    parts = list(below.parts if path.is_dir() else below.with_suffix("").parts)
    split = parts.pop(0) if len(parts) > 1 and parts[0] in layout.SPLITS else None
    name = "#".join(parts)
    match = re.search(pattern, below.as_posix()) if pattern else None
    if match:
        identity = match[1] or ""
        if not identity or re.search(r"[/#]", identity):
            raise errors.UserError(
                f"`identity` {pattern!r} yields {identity!r} for {below}; it must match a name without / and #."
            )
        if name.split("#")[0] != identity:
            name = f"{identity}#{name}"
    return Source(path, name, split)


def choose_test(sources: Sequence[Source], settings: Settings) -> list[str]:
    """Chooses the identities of the test split among videos that are in neither `train` nor `test`.

    Raises:
      UserError: if a requested identity has no video, or if there is only one identity to split.
    """
    identities = {source.identity for source in sources}
    if missing := set(settings.test_identities) - identities:
        raise errors.UserError(
            f"`test_identities` must be some of {', '.join(sorted(identities))}; got {', '.join(sorted(missing))}."
        )
    free = {source.identity for source in sources if source.split is None}
    if settings.test_identities or settings.split == "time" or not settings.test_share or not free:
        return sorted(settings.test_identities)
    if len(free) == 1:
        raise errors.UserError(
            f"all videos have one identity, {min(free)!r}, which cannot be split into train and test; give `split` "
            "time, or `test_share` 0."
        )
    # Sorted by hash, so that adding or removing an identity moves few others to the other split.
    ranked = sorted(free, key=files.digest)
    return sorted(ranked[: min(len(ranked) - 1, max(1, round(settings.test_share * len(ranked))))])

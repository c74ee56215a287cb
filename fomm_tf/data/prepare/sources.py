"""The videos to prepare: where they are, whom they show, and which part of the set that is."""

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
      path: as it was found.
      name: `identity#rest`, or the identity alone; no other video of its part has it.
      split: `train` or `test`, if a folder of that name says so.
    """

    path: Path
    name: str
    split: str | None = None

    @property
    def identity(self) -> str:
        """Whom it shows."""
        return self.name.split("#")[0]


def find(paths: Iterable[Path], settings: Settings, out: Path) -> list[Source]:
    """Finds videos, in the order of their names.

    Args:
      paths: videos, folders of frames, and folders that hold some at any depth; hidden ones are passed over.
      settings: `identity`.
      out: is not looked into.

    Raises:
      UserError: if there is no such path, nothing in one, or if two videos would get one name.
    """
    named: dict[str, list[Source]] = {}
    for path in paths:
        if not path.exists():
            raise errors.UserError(f"{path} does not exist; give videos, or folders that hold some.")
        whole = not path.is_dir() or _is_clip(path)
        found = (
            [(path, Path(path.resolve().name))]
            if whole
            else [(file, file.relative_to(path)) for file in _walk(path, out.resolve())]
        )
        if not found:
            raise errors.UserError(f"{path} holds no videos ({', '.join(layout.SUFFIXES)}) and no folders of frames.")
        for file, below in found:
            source = _describe(file, below, settings.identity)
            others = named.setdefault(source.name, [])
            if any(other.path.resolve() == file.resolve() for other in others):
                continue
            for other in others:
                if other.split == source.split or None in (other.split, source.split):
                    raise errors.UserError(f"{other.path} and {file} would both be called {source.name!r}; rename one.")
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
    """Whether a folder is frames; images in `train` and `test` are stacked ones, each a clip of its own."""
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
                f"--identity {pattern!r} makes {identity!r} of {below}; it must find a name without / and #."
            )
        if name.split("#")[0] != identity:
            name = f"{identity}#{name}"
    return Source(path, name, split)


def choose_test(sources: Sequence[Source], settings: Settings) -> list[str]:
    """The identities that are for testing, where no folder says so.

    Raises:
      UserError: if one that was asked for is not there, or if one alone would have to be divided.
    """
    identities = {source.identity for source in sources}
    if missing := set(settings.test_identities) - identities:
        raise errors.UserError(
            f"--test-identities: no video shows {', '.join(sorted(missing))}, but {', '.join(sorted(identities))}."
        )
    free = {source.identity for source in sources if source.split is None}
    if settings.test_identities or settings.split == "time" or not settings.test_share or not free:
        return sorted(settings.test_identities)
    if len(free) == 1:
        raise errors.UserError(
            f"All videos show one identity, {min(free)!r}, which cannot be divided into train and test; give --split "
            "time, or --test-share 0."
        )
    # Ranked by hash, so that a name that comes or goes moves few others to the other part.
    ranked = sorted(free, key=files.digest)
    return sorted(ranked[: min(len(ranked) - 1, max(1, round(settings.test_share * len(ranked))))])

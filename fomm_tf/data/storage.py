"""Reads whole files and ranges of bytes: of local files, and of objects in storage through fsspec.

Convention: a name with `://` is a URL (`gs://`, `s3://`, `https://`, ...) and everything else a local path.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from fomm_tf import errors

if TYPE_CHECKING:
    import fsspec

_CURE = "copy it again, or correct the name"


class Range(NamedTuple):
    """A range of bytes.

    Attributes:
      file: path or URL.
      start: position of the first byte.
      size: number of bytes.
    """

    file: str
    start: int
    size: int


def is_url(name: object) -> bool:
    """Whether a name is a URL."""
    return "://" in str(name)


def read(file: str) -> bytes:
    """Reads a whole file.

    Raises:
      UserError: if it does not exist or cannot be read.
    """
    with _convert_errors(file):
        if is_url(file):
            system, path = _open_system(file)
            return system.cat_file(path)
        with open(file, "rb") as opened:
            return opened.read()


def size_of(file: str) -> int:
    """The size of a file in bytes; raises as `read`."""
    with _convert_errors(file):
        if is_url(file):
            system, path = _open_system(file)
            return system.size(path)
        with open(file, "rb") as opened:
            return opened.seek(0, 2)


def read_ranges(ranges: Sequence[Range]) -> list[bytes]:
    """Reads ranges of bytes; those of objects in storage with requests at the same time.

    Args:
      ranges: either all of local files, or all of URLs of one kind.

    Raises:
      UserError: if a file does not exist, cannot be read or ends too early.
    """
    if ranges and is_url(ranges[0].file):
        contents = _read_remote(ranges)
    else:
        contents = [_read_local(part) for part in ranges]
    for part, content in zip(ranges, contents, strict=True):
        if len(content) != part.size:
            raise errors.UserError(f"{part.file} is truncated or was replaced; {_CURE}.")
    return contents


def _read_local(part: Range) -> bytes:
    with _convert_errors(part.file), open(part.file, "rb") as opened:
        opened.seek(part.start)
        return opened.read(part.size)


def _read_remote(ranges: Sequence[Range]) -> list[bytes]:
    system, _ = _open_system(ranges[0].file)
    paths = [system._strip_protocol(part.file) for part in ranges]
    starts = [part.start for part in ranges]
    ends = [part.start + part.size for part in ranges]
    contents = system.cat_ranges(paths, starts, ends, on_error="return")
    for part, content in zip(ranges, contents, strict=True):
        if isinstance(content, Exception):
            with _convert_errors(part.file):
                raise content
    return contents


def _open_system(file: str) -> tuple[fsspec.AbstractFileSystem, str]:
    try:
        from fsspec import core
    except ModuleNotFoundError:
        raise errors.UserError(
            f'fsspec is not installed, which reads {file}; install it with: pip install "fomm-tf[storage]"'
        ) from None
    try:
        return core.url_to_fs(file)
    except (ImportError, ValueError) as error:
        # fsspec names the package that the kind of URL needs.
        raise errors.UserError(f"{file} cannot be opened: {str(error).rstrip('.')}.") from None


@contextlib.contextmanager
def _convert_errors(file: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise errors.UserError(f"{file} does not exist; {_CURE}.") from None
    except OSError as error:
        reason = " ".join(str(error.strerror or error).split()) or type(error).__name__
        raise errors.UserError(f"{file} cannot be read ({reason}).") from error

"""Files by Beam's `FileSystems`: local paths, and URLs such as gs://, s3:// and hdfs://.

The local functions see URLs as local paths: where only names, sizes and times matter, as stand-ins, files without the
contents; where contents matter, as copies that keep the time. `Names` leads from such a path back to the URL.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from apache_beam.io import filesystem
from apache_beam.io.filesystems import FileSystems

from fomm_tf import errors, files

_PLAIN = filesystem.CompressionTypes.UNCOMPRESSED


def is_url(path: str | Path) -> bool:
    """Whether a path has a scheme.

    Raises:
      errors.UserError: if nothing that is installed reads URLs of that scheme.
    """
    if FileSystems.get_scheme(str(path)) is None:
        return False
    try:
        FileSystems.get_filesystem(str(path))
    except ValueError as error:
        raise errors.UserError(f"{path}: {error}") from None
    return True


def join(folder: str, name: str) -> str:
    """The path of a file in a directory."""
    return FileSystems.join(folder, name) if is_url(folder) else str(Path(folder) / name)


def list_files(pattern: str) -> list[filesystem.FileMetadata]:
    """The files that match a pattern, sorted by path; `*` stands for a part of a name, `**` for directories too."""
    (match,) = FileSystems.match([pattern])
    return sorted(match.metadata_list, key=lambda file: file.path)


def delete(path: str) -> None:
    """Deletes a file, or a directory with its contents; nothing happens if there is none."""
    paths = [path]
    if is_url(path):  # an object store has no directories
        paths = [*(file.path for file in list_files(FileSystems.join(path, "**"))), path]
    for each in paths:
        if FileSystems.exists(each):
            FileSystems.delete([each])


def write_text(path: str, text: str) -> None:
    """Writes a text file: it appears under its name complete or not at all."""
    _replace(path, lambda file: file.write(text.encode("utf-8", "backslashreplace")))


def upload(source: Path, path: str) -> None:
    """Copies a local file: it appears under its name complete or not at all."""
    with source.open("rb") as opened:
        _replace(path, lambda file: shutil.copyfileobj(opened, file))


def _replace(path: str, write: Callable[[BinaryIO], object]) -> None:
    folder, name = FileSystems.split(path)
    temporary = FileSystems.join(folder, f"{files.TEMPORARY_PREFIX}{uuid.uuid4().hex}", name)
    with FileSystems.create(temporary, compression_type=_PLAIN) as file:
        write(file)
    delete(path)  # HDFS does not rename to a name that is taken
    FileSystems.rename([temporary], [path])
    delete(FileSystems.split(temporary)[0])


class Names:
    """Local paths that stand for URLs.

    Args:
      place: a directory for files.
    """

    def __init__(self, place: str | Path) -> None:
        self._place, self._urls = Path(place), dict[str, str]()

    def show(self, text: str | Path) -> str:
        """Replaces the local paths in a text by the URLs that they stand for."""
        text = str(text)
        for local, url in self._urls.items():
            text = text.replace(local, url)
        return text

    def add(self, url: str) -> Path:
        """A local path for a URL, in a directory of its own; nothing exists there yet."""
        local = self._place / str(len(self._urls)) / url.rstrip("/").rpartition("/")[2]
        local.parent.mkdir(parents=True)
        self._urls[str(local)] = url.rstrip("/")
        return local

    def stand_in(self, path: str, with_contents: tuple[str, ...] = ()) -> Path:
        """Stand-ins for the file or directory at a URL; another path is returned as it is.

        Args:
          path: the path.
          with_contents: suffixes of files that are copied.
        """
        if not is_url(path):
            return Path(path)
        local = self.add(path)
        for url, file in _below(path, local):
            if url.path.endswith(with_contents):
                _download(url, file)
            else:
                # Files of one size would be reported as copies of each other if they had the same contents.
                file.write_text(url.path)
                os.truncate(file, url.size_in_bytes)
            _set_time(url, file)
        return local

    def fetch(self, path: str) -> Path:
        """A copy of the file or directory at a URL; another path is returned as it is.

        Raises:
          errors.UnreadableError: if nothing is there.
        """
        if not is_url(path):
            return Path(path)
        local = self.add(path)
        found = list(_below(path, local))
        if not found:
            raise errors.UnreadableError(f"{path} does not exist; check the name.")
        for url, file in found:
            _download(url, file)
            _set_time(url, file)
        return local


def _below(url: str, local: Path) -> Iterator[tuple[filesystem.FileMetadata, Path]]:
    """The file at a URL, or those below it, each with its local path, whose directory is created."""
    url = url.rstrip("/")
    for file in list_files(url) or list_files(FileSystems.join(url, "**")):
        below = file.path[len(url) :].strip("/")
        path = local / below if below else local
        path.parent.mkdir(parents=True, exist_ok=True)
        yield file, path


def _download(url: filesystem.FileMetadata, path: Path) -> None:
    with FileSystems.open(url.path, compression_type=_PLAIN) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)


def _set_time(url: filesystem.FileMetadata, path: Path) -> None:
    nanoseconds = round(url.last_updated_in_seconds * 1e9)
    os.utime(path, ns=(nanoseconds, nanoseconds))

"""File system helpers: atomic writes, JSON and CSV, locks, fingerprints. Imports nothing of the package but `errors`.

Convention:
  * an output file or directory appears under its name complete or not at all;
  * temporary files lie beside the output, in a directory whose name starts with `TEMPORARY_PREFIX`;
  * text is UTF-8.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fomm_tf import errors

TEMPORARY_PREFIX = ".fomm-"


def check_readable(path: Path) -> None:
    """Checks that `path` is a non-empty file that can be opened.

    Raises:
      UnreadableError: if it does not exist, is a directory, is empty, or cannot be opened.
    """
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        raise errors.UnreadableError(f"{path} does not exist; check the name.") from None
    except IsADirectoryError:
        raise errors.UnreadableError(f"{path} is a directory; name a file.") from None
    except OSError as error:
        raise errors.UnreadableError(f"{path} cannot be read ({error.strerror}).") from None
    if empty:
        raise errors.UnreadableError(f"{path} is empty (0 bytes); copy or download it again.")


@contextlib.contextmanager
def convert_read_errors(path: Path) -> Iterator[None]:
    """Converts every `OSError` of the block to an `UnreadableError` that names `path`."""
    try:
        yield
    except OSError as error:
        raise errors.UnreadableError(f"{path} cannot be read ({error.strerror or error}).") from error


@contextlib.contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Yields a temporary path for a file or directory, and moves it to `path` if the block succeeds.

    If the block raises, `KeyboardInterrupt` included, `path` is unchanged and the temporary files are deleted.

    Args:
      path: the final name; missing parents are created. An existing directory is replaced as a whole.

    Yields:
      A path on the same file system, with the same file name; nothing exists there yet.

    Raises:
      UserError: if the parent is not a directory or is not writable, or if the disk is full.
    """
    path = path.absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        holder = tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=path.parent, ignore_cleanup_errors=True)
    except (FileExistsError, NotADirectoryError):
        raise errors.UserError(
            f"cannot write {path}: {path.parent} is not a directory; choose another place."
        ) from None
    except OSError as error:
        _raise_if_disk_full(path, error)
        raise errors.UserError(f"cannot write {path} ({error.strerror}); choose another place.") from None
    with holder as folder:
        temporary = Path(folder) / path.name
        try:
            yield temporary
            if path.is_dir():
                path.rename(Path(folder) / "replaced")
            os.replace(temporary, path)
        except OSError as error:
            _raise_if_disk_full(path, error)
            raise


def remove_temporary_files(folders: Iterable[Path]) -> None:
    """Deletes what `replace_atomically` left in `folders` when its process was killed."""
    for folder in folders:
        for leftover in folder.glob(f"{TEMPORARY_PREFIX}*"):
            shutil.rmtree(leftover, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically; raises as `replace_atomically`."""
    with replace_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object, indent: int | None = 1) -> None:
    """Writes a JSON file atomically; raises as `replace_atomically`."""
    write_text(path, json.dumps(value, indent=indent) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a CSV file with a header row atomically; raises as `replace_atomically`."""
    with replace_atomically(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_json(path: Path) -> object:
    """Reads a JSON file.

    Raises:
      UserError: if it cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise errors.UserError(f"{path} cannot be read ({error.strerror}); check the name.") from None
    except (ValueError, RecursionError) as error:
        raise errors.UserError(f"{path} is not valid JSON ({error}); save or download it again.") from None


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on `path`, an empty file that is created if missing; its parent must exist.

    Raises:
      BlockingIOError: if another process holds it.
      OSError: if the file cannot be opened.
    """
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def digest(*values: object) -> bytes:
    """SHA-256 of the values' `str`, 32 bytes; as hex it is a safe cache name."""
    return hashlib.sha256("\n".join(map(str, values)).encode()).digest()


def fingerprint(path: Path, *values: object) -> bytes:
    """Identifies a file's or directory's contents by names, sizes and modification times, together with `values`.

    Returns:
      32 bytes; empty if the files cannot be listed, such as for a broken link.
    """
    facts = []
    try:
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name) if path.is_dir() else [path]:
            status = entry.stat()
            facts.append((entry.name, status.st_size, status.st_mtime_ns))
    except OSError:
        return b""
    return digest(*facts, *values)


def _raise_if_disk_full(path: Path, error: OSError) -> None:
    if error.errno in errors.DISK_FULL:
        message = f"cannot write {path} ({os.strerror(error.errno)}); make room or choose another place."
        raise errors.UserError(message) from error

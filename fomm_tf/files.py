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
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fomm_tf import errors

TEMPORARY_PREFIX = ".fomm-"
# Limits of all common file systems, in bytes.
_MAX_NAME, _MAX_PATH = 255, 4095
# Of a generated name, so that a frame range and a suffix can be added.
_SAFE_NAME = 225


def check_output(output: str | Path, *inputs: str | Path | None) -> None:
    """Checks that writing `output` destroys none of `inputs`; call it before anything is read or written.

    Args:
      output: a file or directory to write.
      inputs: files, and directories whose contents are read; None is ignored.

    Raises:
      UserError: if the name cannot be used, or if `output` is an input, lies in an input directory, or contains an
        input; by whatever spelling or link.
    """
    Inputs(inputs).check(output)


def check_other_directory(output: Path, *inputs: Path) -> None:
    """Checks that `output`, a directory that files are added to, is none of `inputs`; it may contain them or lie there.

    Raises:
      UserError: if its name cannot be used, or if it is an input, by whatever spelling or link.
    """
    check_name(output)
    for path in inputs:
        if output.exists() and path.exists() and output.samefile(path):
            raise errors.UserError(f"the output {output} is the same directory as the input {path}; choose another.")


class Inputs:
    """Files and directories that no output may replace; see `check_output`, which is for a single output.

    Args:
      paths: the files, and directories whose contents are read; None is ignored.
    """

    def __init__(self, paths: Iterable[str | Path | None]) -> None:
        self._inputs: dict[tuple[int, int], Path] = {}
        self._parents: dict[tuple[int, int], Path] = {}
        for path in (Path(path) for path in paths if path is not None):
            for place in _places(path):
                self._parents.update((identity, path) for identity in map(_identity, place.parents) if identity)
            if (identity := _identity(path)) is not None:
                self._inputs[identity] = path
                # An output may be the file that a link in the directory leads to.
                with contextlib.suppress(OSError), os.scandir(path) as entries:
                    for entry in entries:
                        known = _identity(Path(entry)) if entry.is_symlink() else (identity[0], entry.inode())
                        self._inputs.setdefault(known or identity, Path(entry))

    def check(self, output: str | Path) -> None:
        """Checks an output; raises as `check_output`."""
        check_name(output)
        conflicts = []
        for place in _places(Path(output)):
            conflicts.append((self._inputs, place, "is the same file or directory as"))
            conflicts += [(self._inputs, parent, "lies in") for parent in place.parents]
        conflicts.append((self._parents, Path(output), "is a directory that contains"))
        advice = "choose another output, so that the input is kept"
        for known, place, relation in conflicts:
            if (path := known.get(_identity(place))) is not None:
                raise errors.UserError(f"the output {output} {relation} the input {path}; {advice}.")


def _places(path: Path) -> set[Path]:
    """Where a path is, and where it leads to if it is a link."""
    if "\0" in str(path):
        return set()
    places = {Path(os.path.realpath(path))}
    if path.name not in ("", ".."):
        places.add(Path(os.path.realpath(path.parent)) / path.name)
    return places


def _identity(path: Path) -> tuple[int, int] | None:
    """Equal for all names of a file or directory; None if it does not exist."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def check_name(path: str | Path) -> None:
    """Checks that a file system can hold a path.

    Raises:
      UserError: if it, or a name in it, is too long, cannot be encoded or has a NUL byte.
    """
    shown = _abbreviate(path)
    try:
        parts = [os.fsencode(part) for part in Path(path).parts]
    except UnicodeEncodeError:
        raise errors.UserError(f"the name {shown} cannot be encoded; choose another.") from None
    if any(b"\0" in part for part in parts):
        raise errors.UserError(f"the name {shown} has a NUL byte; remove it.")
    longest, length = max(map(len, parts), default=0), len(os.fsencode(path))
    for what, size, limit in (("name", longest, _MAX_NAME), ("path name", length, _MAX_PATH)):
        if size > limit:
            raise errors.UserError(f"the {what} {shown} is too long: {size} bytes; give one of at most {limit}.")


def _abbreviate(path: str | Path) -> str:
    text = os.fspath(path)
    text = text if len(text) <= 80 else f"{text[:38]}...{text[-38:]}"
    return text.encode("utf-8", "backslashreplace").decode()


def safe_name(name: str, limit: int = _SAFE_NAME) -> str:
    """The name itself if it is valid and short, otherwise one that is, and that a hash keeps unique.

    Args:
      name: a file name, or a part of one.
      limit: maximum length, in bytes.
    """
    with contextlib.suppress(UnicodeEncodeError):
        if len(os.fsencode(name)) <= limit and "\0" not in name:
            return name
    mark = f"~{digest(name).hex()[:8]}"
    valid = name.encode("utf-8", "replace").replace(b"\0", b"?")
    return valid[: limit - len(mark)].decode("utf-8", "ignore") + mark


def file_digest(path: str | Path, algorithm: str = "sha256") -> str:
    """The checksum of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def check_readable(path: Path) -> None:
    """Checks that `path` is a non-empty file that can be opened.

    Raises:
      UnreadableError: if it does not exist, is a directory, is empty, or cannot be opened.
    """
    try:
        with path.open("rb") as file:
            problem = "is empty (0 bytes); copy or download it again" if not file.read(1) else None
    except FileNotFoundError:
        problem = "does not exist; check the name"
    except IsADirectoryError:
        problem = "is a directory; name a file"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except ValueError as error:
        problem = f"cannot be read ({error}); correct the name"
    if problem:
        raise errors.UnreadableError(f"{path} {problem}.")


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
      UserError: if the name cannot be used, the parent is not a directory or is not writable, or the disk is full.
    """
    check_name(path)
    path = path.absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        holder = tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=path.parent, ignore_cleanup_errors=True)
    except OSError as error:
        _raise_if_disk_full(path, error)
        is_file = isinstance(error, (FileExistsError, NotADirectoryError))
        reason = f": {path.parent} is not a directory" if is_file else f" ({error.strerror})"
        raise errors.UserError(f"cannot write {path}{reason}; choose another place.") from None
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
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: object, indent: int | None = 1) -> None:
    """Writes a JSON file atomically; raises as `replace_atomically`."""
    write_text(path, json.dumps(value, indent=indent) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a CSV file with a header row atomically; raises as `replace_atomically`."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([header, *rows])
    write_text(path, file.getvalue())


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
    return hashlib.sha256("\n".join(map(str, values)).encode("utf-8", "backslashreplace")).digest()


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
    except (OSError, ValueError):
        return b""
    return digest(*facts, *values)


def _raise_if_disk_full(path: Path, error: OSError) -> None:
    if error.errno in errors.DISK_FULL:
        message = f"cannot write {path} ({os.strerror(error.errno)}); free some space or choose another place."
        raise errors.UserError(message) from error

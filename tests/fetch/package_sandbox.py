"""A cache, an npm and an index of wheels of one test."""

import hashlib
import io
import os
import sys
import tarfile
import zipfile

import pytest

from fomm_tf import errors, fetch

UNREACHABLE = "http://127.0.0.1:9/"
CONTENTS = {"package/media/left.mp4": b"left" * 20000, "package/media/right.mp4": b"right", "data/wheel.mp4": b"wheel"}

# Links $FAKE_NPM_PACKAGE into the working directory, prints $FAKE_NPM_STDERR, sleeps, and exits with $FAKE_NPM_EXIT.
FAKE_NPM = f"""#!{sys.executable} -S
import os, sys, time
open(os.environ["FAKE_NPM_LOG"], "a").write(" ".join(sys.argv[1:]) + "\\n")
for package in filter(None, os.environ.get("FAKE_NPM_PACKAGE", "").split(os.pathsep)):
    os.symlink(package, os.path.basename(package))
sys.stderr.write(os.environ.get("FAKE_NPM_STDERR", ""))
time.sleep(float(os.environ.get("FAKE_NPM_SLEEPS", "0")))
sys.exit(int(os.environ.get("FAKE_NPM_EXIT", "0")))
"""


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def tarball(path, contents, others=()):
    """Writes regular files, and entries of other types: `(name, type, link target)`."""
    with tarfile.open(path, "w:gz") as archive:
        for name, data in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for name, kind, target in others:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            archive.addfile(entry)


def wheel(folder, name, version, contents):
    stem = f"{name}-{version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        for member, data in contents.items():
            archive.writestr(member, data)
        archive.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{stem}.dist-info/RECORD", "")


def package(client, name, members):
    return fetch.Package(client, name, "1.0", 0.1, {member: sha256(CONTENTS[member]) for member in members})


class Sandbox:
    """A cache, an npm and an index of wheels in a temporary directory, and sets that use them."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.monkeypatch, self.path = folder, monkeypatch, os.environ["PATH"]
        self.cache, self.bin, self.wheels = folder / "cache", folder / "bin", folder / "wheels"
        self.tarball, self.log = folder / "halves-1.0.tgz", folder / "npm.log"
        self.bin.mkdir()
        self.wheels.mkdir()
        (self.bin / "npm").write_text(FAKE_NPM)
        (self.bin / "npm").chmod(0o755)
        halves = ["package/media/left.mp4", "package/media/right.mp4"]
        tarball(self.tarball, {name: CONTENTS[name] for name in halves} | {"package/other.txt": b"not listed"})
        wheel(self.wheels, "wheely", "1.0", {"data/wheel.mp4": CONTENTS["data/wheel.mp4"]})
        self.sets(
            both=[package("npm", "halves", halves), package("pip", "wheely", ["data/wheel.mp4"])],
            halves=[package("npm", "halves", halves)],
            wheel=[package("pip", "wheely", ["data/wheel.mp4"])],
        )
        self.environment(
            FOMM_TF_CACHE=self.cache,
            PATH=self.bin,
            FAKE_NPM_LOG=self.log,
            FAKE_NPM_PACKAGE=self.tarball,
            PIP_CONFIG_FILE=os.devnull,
            PIP_NO_INDEX="1",
            PIP_FIND_LINKS=self.wheels,
        )

    def environment(self, **values):
        for name, value in values.items():
            self.monkeypatch.setenv(name, str(value))

    def sets(self, **packages):
        sets = {name: fetch.Assets(tuple(chosen), "The terms.") for name, chosen in packages.items()}
        self.monkeypatch.setattr(fetch.cache, "SETS", sets)

    def npm_calls(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def left(self):
        """The names of all files and directories in the sets' directories."""
        return sorted(path.name for path in self.cache.glob("*/*"))

    def fails(self, name, *parts, kind=errors.UserError, left=()):
        """Fetches, and checks the error's type, message and number of lines, and the files that are left."""
        with pytest.raises(errors.UserError) as caught:
            fetch.fetch(name, report=lambda line: None)
        message = str(caught.value)
        assert type(caught.value) is kind, message
        for part in parts:
            assert str(part) in message
        assert "\n" not in message
        assert self.left() == sorted(left)
        return message

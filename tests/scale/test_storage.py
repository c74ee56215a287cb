"""`fomm prepare --runner` with videos and data set in an object store."""

import csv
import io
import os

import object_store  # noqa: F401  Beam finds its subclasses of `FileSystem`
import pytest
from square_videos import draw_frames, prepare, read_contents, write_parts


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("STORE", str(tmp_path / "store"))
    return tmp_path / "store"


def _read(out):
    """The clips by their bytes, and the table."""
    clips = {path.name: path.read_bytes() for path in out.glob("t*/*.mp4")}
    rows = list(csv.DictReader(io.StringIO((out / "prepare.csv").read_text())))
    return clips, rows


def test_prepare_from_and_to_an_object_store(store, tmp_path, direct, dead_letters, capsys):
    videos = store / "bucket" / "videos"
    for number, name in enumerate(["ann", "bob"]):
        write_parts(videos / f"{name}.mp4", draw_frames(12, scene=number))
    (videos / "eve.mp4").write_bytes((videos / "ann.mp4").read_bytes()[:700])
    assert prepare(tmp_path / "local", videos, "--format", "mp4", "--jobs", "1") == 0
    clips, rows = _read(tmp_path / "local")
    capsys.readouterr()

    def run():
        return prepare("store://bucket/set", "store://bucket/videos", "--format", "mp4", *direct)

    assert run() == 0
    printed = capsys.readouterr()
    out = store / "bucket" / "set"
    shown, expected = (
        _read(out)[1],
        [{name: value.replace(str(videos), "store://bucket/videos") for name, value in row.items()} for row in rows],
    )
    assert _read(out)[0] == clips
    assert shown == expected
    assert list(dead_letters(out)) == ["store://bucket/videos/eve.mp4"]
    assert "store://bucket/set: 1 clips in train, 1 in test" in printed.out
    assert "store://bucket/videos/eve.mp4 " in printed.err
    assert not [path for path in store.rglob("*") if path.is_file() and ".fomm-" in str(path)]
    # A second run changes nothing; a changed video replaces its clips.
    before = read_contents(out)
    assert run() == 0
    assert "counters" not in capsys.readouterr().out
    assert read_contents(out) == before
    write_parts(videos / "ann.mp4", draw_frames(9, scene=4))
    os.utime(videos / "ann.mp4", (2e9, 2e9))
    assert run() == 0
    assert capsys.readouterr().out.count("read 1\n") == 1
    assert {name for name in _read(out)[0] if name.startswith("ann")} == {"ann#000000-000008.mp4"}


def test_prepare_refuses_directories_of_frames_in_an_object_store(store, direct, capsys):
    assert prepare("store://bucket/set", "store://bucket/videos", *direct) == 2
    assert "--format png" in capsys.readouterr().err

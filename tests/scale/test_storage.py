"""Videos and data set in an object store: `fomm prepare --runner`, and copies for functions of local paths."""

import csv
import io
import os
import pathlib
import warnings

import object_store  # noqa: F401  Beam finds its subclasses of `FileSystem`
import pytest
from square_videos import draw_frames, prepare, read_contents, write_parts

from fomm_tf import errors
from fomm_tf.data.prepare.settings import choose
from fomm_tf.scale import animation, preparation


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


def execute_here(function, tasks, *, on_result):
    for task in tasks:
        on_result(task, function(task))


def test_prepare_from_an_object_store_into_a_local_directory(store, tmp_path):
    videos = store / "bucket" / "videos"
    for number, name in enumerate(["ann", "bob"]):
        write_parts(videos / f"{name}.mp4", draw_frames(12, scene=number))
    (videos / "eve.mp4").write_bytes((videos / "ann.mp4").read_bytes()[:700])
    settings = choose(None, {"crop": "finders:find_white", "size": 32, "margin": 1.5, "min_frames": 8, "format": "mp4"})

    def run(path, out):
        with pytest.warns(UserWarning) as caught:
            prepared = preparation.prepare([path], str(out), settings, execute_here)
        return prepared, [str(warning.message) for warning in caught]

    _, warned = run(str(videos), tmp_path / "local")
    prepared, from_store = run("store://bucket/videos", tmp_path / "set")
    shown = [message.replace(str(videos), "store://bucket/videos") for message in warned]
    assert len(warned) == 1 and "eve.mp4" in warned[0] and from_store == shown
    assert [path for path, _ in prepared.dead_letters] == ["store://bucket/videos/eve.mp4"]
    clips, _ = _read(tmp_path / "local")
    assert len(clips) == 2 and _read(tmp_path / "set")[0] == clips
    assert sorted(path.name for path in store.rglob("*.*")) == ["ann.mp4", "bob.mp4", "eve.mp4"]


@pytest.mark.parametrize("out", ["store://bucket/out.mp4", "out.mp4"])
def test_animate_urls_copies_what_is_at_urls_only(out, store, tmp_path):
    (store / "bucket").mkdir(parents=True)
    (store / "bucket" / "driving.mp4").write_bytes(b"driving")
    source = tmp_path / "source.png"
    source.write_bytes(b"source")
    out = out if out.startswith("store") else str(tmp_path / out)

    def animate(task):
        assert task.source == str(source)
        contents = [pathlib.Path(path).read_bytes() for path in (task.source, task.driving)]
        pathlib.Path(task.out).write_bytes(b" by ".join(contents))
        return animation.Animated(3, (f"read {task.driving}",), (f"wrote {task.out}",))

    animated = animation.animate_urls(animate, animation.Task(str(source), "store://bucket/driving.mp4", out))
    assert animated == (3, ("read store://bucket/driving.mp4",), (f"wrote {out}",))
    written = store / "bucket" / "out.mp4" if out.startswith("store") else tmp_path / "out.mp4"
    assert written.read_bytes() == b"source by driving"


def test_errors_and_warnings_name_urls(tmp_path):
    names = preparation.storage.Names(tmp_path)
    local = names.add("store://bucket/a.mp4")
    with pytest.warns() as caught, preparation._show_urls(names):
        warnings.warn(f"{local} is short", UserWarning, stacklevel=1)
        warnings.warn(f"{local} has no sum", RuntimeWarning, stacklevel=1)
    assert [(str(warning.message), warning.category) for warning in caught] == [
        ("store://bucket/a.mp4 is short", UserWarning),
        ("store://bucket/a.mp4 has no sum", RuntimeWarning),
    ]
    with pytest.raises(errors.UserError, match=r"^store://bucket/a\.mp4 is bad$"), preparation._show_urls(names):
        raise errors.UserError(f"{local} is bad")

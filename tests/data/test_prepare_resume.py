"""`fomm prepare` that is killed, interrupted or repeated, and on a full disk."""

import fcntl
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from square_videos import ARGUMENTS, draw_frames, list_clips, prepare, read_contents, write_parts

from fomm_tf import detectors
from fomm_tf.data.prepare import clips, settings

pytestmark = pytest.mark.slow


def test_prepare_bytes_do_not_depend_on_processes(people, tmp_path, monkeypatch):
    for name, jobs in (("one", 1), ("three", 3)):
        assert prepare(tmp_path / name, people, "--jobs", jobs, "--format", "mp4") == 0
    assert read_contents(tmp_path / "one") == read_contents(tmp_path / "three")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "one").glob("t*/[!.]*")}
    monkeypatch.setenv("FINDER_LOG", str(tmp_path / "log"))
    assert prepare(tmp_path / "one", people, "--format", "mp4") == 0
    assert not (tmp_path / "log").exists()
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "one").glob("t*/[!.]*")}
    assert read_contents(tmp_path / "one") == read_contents(tmp_path / "three")


def test_prepare_updates_lost_changed_and_new_videos(people, tmp_path, monkeypatch):
    out = tmp_path / "set"
    assert prepare(out, people) == 0
    before = read_contents(out)
    (lost, *_) = out.glob("train/*")
    for file in lost.iterdir():
        file.unlink()
    lost.rmdir()
    monkeypatch.setenv("FINDER_LOG", str(tmp_path / "log"))
    assert prepare(out, people) == 0
    assert read_contents(out) == before
    assert not (tmp_path / "log").exists()
    for file in (people / "ann").iterdir():
        file.unlink()
    write_parts(people / "ann", draw_frames(12, scene=9))
    write_parts(people / "eve", draw_frames(10))
    assert prepare(out, people) == 0
    assert sum(int(line.split()[1]) for line in (tmp_path / "log").read_text().splitlines()) == 22
    names = [clip.split("/")[1] for clip in list_clips(out)]
    assert sorted(names) == [
        "ann#000000-000011",
        "bob#000000-000019",
        "cid#000000-000019",
        "dan#000000-000019",
        "eve#000000-000009",
    ]
    assert "train/eve#000000-000009" in list_clips(out)


def _start(out, *arguments, **environment):
    command = [sys.executable, "-m", "fomm_tf", "prepare", "--out", str(out), *ARGUMENTS, *map(str, arguments)]
    path = os.pathsep.join(sys.path)
    return subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def _wait(process, line):
    """Until the command or a worker of it says so."""
    assert process.stdout.readline() == line, process.communicate()


@pytest.mark.slow
def test_prepare_killed_and_resumed_gives_same_bytes(tmp_path):
    root = tmp_path / "in"
    for number, name in enumerate(["ann", "bob", "cid"]):
        write_parts(root / f"{name}.mp4", *(draw_frames(60, scene=10 * number + part, step=0.1) for part in range(3)))
    assert prepare(tmp_path / "whole", root, "--jobs", "1") == 0
    out, log = tmp_path / "set", tmp_path / "log"
    # Within bob's second clip: cid is not started.
    first = _start(out, root, "--jobs", "1", FINDER_LOG=str(log), FINDER_HANGS=str(180 + 60 + 10))
    _wait(first, b"cutting\n")
    first.kill()
    first.communicate(timeout=60)  # the workers have ended too: no process writes to its pipes any more
    seen = sum(int(line.split()[1]) for line in log.read_text().splitlines())
    assert not (out / "prepare.csv").exists()
    times = {path: path.stat().st_mtime_ns for path in out.glob("t*/[!.]*")}
    assert len(times) == 4 and seen == 360
    assert list(out.rglob(".fomm-*/bob#000060-000119"))
    leftover = out / "train" / ".fomm-left"
    leftover.mkdir()
    assert _start(out, root, "--jobs", "2", FINDER_LOG=str(log)).wait() == 0
    assert read_contents(out) == read_contents(tmp_path / "whole")
    assert all(path.stat().st_mtime_ns == moment for path, moment in times.items())
    # Each frame was looked at once.
    assert sum(int(line.split()[1]) for line in log.read_text().splitlines()) == 540
    assert not leftover.exists()


@pytest.mark.slow
def test_prepare_sigterm_exits_130_and_leaves_no_partial_file(people, tmp_path):
    out = tmp_path / "set"
    process = _start(out, people, "--jobs", "2", FINDER_LOG=str(tmp_path / "log"), FINDER_WAITS="stop")
    _wait(process, b"looking\n")
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert len((tmp_path / "log").read_text().splitlines()) <= 2, "a worker has gone on after its first look"
    assert error.decode().strip().splitlines()[-1] == "fomm: interrupted; nothing is left half-written."
    assert not list(out.rglob(".fomm-*"))
    assert list_clips(out) == []
    assert prepare(out, people) == 0
    assert len(list_clips(out)) == 4


@pytest.mark.parametrize("kind", ["png", "mp4"])
def test_prepare_full_disk_is_one_line_and_keeps_finished_clips(tmp_path, capsys, kind):
    noise = np.random.default_rng(0)
    grainy = (frame // 2 + noise.integers(0, 99, frame.shape, np.uint8) for frame in draw_frames(20))
    grainy = [np.where(plain == 255, plain, frame) for frame, plain in zip(grainy, draw_frames(20), strict=True)]
    write_parts(tmp_path / "in" / "ann", draw_frames(20))
    write_parts(tmp_path / "in" / "bob", grainy)
    arguments = ["--crop", "finders:find_white_on_a_full_disk", "--format", kind, "--size", "48", "--test-share", "0"]
    assert prepare(tmp_path / "set", tmp_path / "in", *arguments, "--jobs", "1") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fomm: ") and "cannot" in line and "free some space" in line
    assert not list(tmp_path.rglob(".fomm-*"))
    assert len(list_clips(tmp_path / "set")) == 1


@pytest.mark.slow
def test_prepare_rejects_second_process_in_same_directory(people, tmp_path, capsys):
    out = tmp_path / "set"
    with open(tmp_path / "gate", "w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        process = _start(out, people, FINDER_WAITS=gate.name)
        _wait(process, b"looking\n")
        assert prepare(out, people) == 2
    assert "is in use by another fomm prepare" in capsys.readouterr().err
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert len(list_clips(out)) == 4


def test_prepare_resumes_after_kill_at_start(people, tmp_path):
    (tmp_path / "set" / ".prepare").mkdir(parents=True)
    (tmp_path / "set" / ".fomm-half").mkdir()
    assert prepare(tmp_path / "set", people) == 0
    assert not (tmp_path / "set" / ".fomm-half").exists()


def test_prepare_names_a_video_that_became_shorter(tmp_path, monkeypatch):
    """Between its planning and its writing; the clip that was cut off is no file of the data set."""
    video = write_parts(tmp_path / "ann.mp4", draw_frames(20))
    source, out = clips.Source(video, "ann"), tmp_path / "set"
    crop = {"crop": "finders:find_white", "size": 32, "margin": 1.5}
    chosen = settings.choose(None, {**crop, "format": "mp4", "min_frames": 8})
    detect = detectors.load_boxes(chosen.crop)
    honest = clips._write_clips

    def write_clips(*arguments):
        write_parts(video, draw_frames(12))
        honest(*arguments)

    monkeypatch.setattr(clips, "_write_clips", write_clips)
    plan = clips.prepare(source, out, chosen, False, detect)
    assert plan.rows[-1].is_fault
    assert plan.rows[-1].reason == f"{video} became shorter while it was prepared; run the command again."
    assert plan.clips and not list(out.rglob("*.mp4"))

"""`fomm prepare` on small videos of a white square, which a detector as a user would write it finds."""

import csv
import fcntl
import hashlib
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from fomm_tf import cli, video
from fomm_tf.data import frames

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 96, 160
ARGUMENTS = ["--crop", "finders:find_white", "--size", "32", "--margin", "1.5", "--min-frames", "8", "--format", "png"]


def _scene(number):
    rng = np.random.default_rng(number)
    return np.kron(rng.integers(0, 200, (6, 10, 3)), np.ones((16, 16, 1))).astype(np.uint8)


def _frames(count, scene=0, left=40, top=32, step=0.0, side=32):
    for number in range(count):
        frame = _scene(scene)
        column = round((left + step * number) / 4) * 4
        frame[top : top + side, column : column + side] = 255
        yield frame


def _write(path, *parts):
    """A video from iterables of frames; as png if the name has no suffix, so that its pixels are known."""
    with video.write_video(path, 25) as writer:
        for part in parts:
            for frame in part:
                writer.write(frame)
    return path


def _run(out, *arguments):
    return cli.main(["prepare", "--out", str(out), *ARGUMENTS, *map(str, arguments)])


def _rows(out):
    with (out / "prepare.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _contents(folder):
    """Every file that is not a lock, by its bytes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def _clips(out):
    return sorted(path.relative_to(out).as_posix() for path in out.glob("t*/[!.]*"))


@pytest.fixture
def people(tmp_path):
    """Four people with a video each."""
    root = tmp_path / "people"
    for number, name in enumerate(["ann", "bob", "cid", "dan"]):
        _write(root / name, _frames(20, scene=number, left=24 + 16 * number))
    return root


def test_prepare_crops_smallest_square_around_all_boxes(tmp_path, capsys):
    moving = list(_frames(30, left=40, step=0.5))
    nothing = [_scene(0)] * 5
    _write(tmp_path / "ann", moving, nothing, _frames(10, left=80, top=48), _frames(3, scene=7, left=80, top=48))
    out = tmp_path / "set"
    assert _run(out, "--split", "time", "--max-frames", "20", "--test-share", "0.4", tmp_path / "ann") == 0
    printed = capsys.readouterr()
    assert printed.out == (
        f"{out}: 2 clips in train, 1 in test, 2 segments dropped, 0 faulty videos; "
        f"{out / 'prepare.csv'} lists all segments\n"
        "dropped 1 segment, 5 frames, of ann: no detection; --crop none keeps whole frames\n"
        "dropped 1 segment, 3 frames, of ann: 3 frames, fewer than 8; a lower --min-frames keeps it\n"
    )
    assert _clips(out) == ["test/ann#000035-000044", "train/ann#000000-000019", "train/ann#000020-000029"]
    segments = [(row["clip"], row["first"], row["frames"], row["end"], row["reason"]) for row in _rows(out)]
    assert segments == [
        ("ann#000000-000019", "0", "20", "max_frames reached", ""),
        ("ann#000020-000029", "20", "10", "lost", ""),
        ("", "30", "5", "no detection", "no detection"),
        ("ann#000035-000044", "35", "10", "cut", ""),
        ("", "45", "3", "end of video", "3 frames, fewer than 8"),
    ]
    # 40 to 72 in the first frame, 48 or 52 to 84 in the 20th: the union is 40 or 44 wide, times 1.5.
    row = _rows(out)[0]
    side, left, top = (int(row[name]) for name in ("side", "left", "top"))
    lefts = [round((40 + 0.5 * number) / 4) * 4 for number in range(20)]
    union = max(lefts) + 32 - min(lefts)
    assert side == round(1.5 * union)
    assert left == round((min(lefts) + max(lefts) + 32 - side) / 2)
    assert top == round(32 + 16 - side / 2)
    clip = list(video.open_video(out / "train" / "ann#000000-000019"))
    assert len(clip) == 20
    for frame, source in zip(clip, moving, strict=False):
        expected = video.resize(source[top : top + side, left : left + side], (32, 32))
        np.testing.assert_array_equal(frame, expected)


@pytest.mark.parametrize("kind", ["mp4", "png"])
def test_prepare_output_is_readable_for_training(people, tmp_path, kind):
    out = tmp_path / "set"
    assert _run(out, people, "--format", kind) == 0
    train, test = (frames.load(out, split, (32, 32)) for split in ("train", "test"))
    assert len(train) == 3
    assert len(test) == 1
    names = {clip.identity for clip in (*train.clips, *test.clips)}
    assert names == {"ann", "bob", "cid", "dan"}
    assert all(len(clip) == 20 for clip in (*train.clips, *test.clips))
    # The object, half as large as the crop and a bit, stands in the middle.
    assert train.clips[0].frame(0)[14:18, 14:18].min() > 235


def test_prepare_splits_at_scene_cut_of_a_static_object(tmp_path):
    _write(tmp_path / "in" / "cuts.mp4", *(_frames(count, scene) for scene, count in enumerate([12, 9, 15])))
    assert _run(tmp_path / "set", tmp_path / "in", "--test-share", "0") == 0
    assert [(row["first"], row["frames"], row["end"]) for row in _rows(tmp_path / "set")] == [
        ("0", "12", "cut"),
        ("12", "9", "cut"),
        ("21", "15", "end of video"),
    ]
    assert _run(tmp_path / "whole", tmp_path / "in", "--test-share", "0", "--no-cuts") == 0
    assert _clips(tmp_path / "whole") == ["train/cuts#000000-000035"]


def test_prepare_reports_faulty_video_and_continues(people, tmp_path, capsys):
    whole = _write(tmp_path / "whole.mp4", _frames(50))
    (people / "eve.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (people / "fay.mp4").write_bytes(os.urandom(4096))
    out = tmp_path / "set"
    assert _run(out, people) == 0
    printed = capsys.readouterr()
    assert "3 clips in train, 1 in test, 0 segments dropped, 2 faulty videos" in printed.out
    assert f"fomm: warning: {people / 'eve.mp4'} has a video track, but no frame can be decoded" in printed.err
    assert f"fomm: warning: {people / 'fay.mp4'} is not a video that ffmpeg can read" in printed.err
    faults = {row["video"]: row["reason"] for row in _rows(out) if row["reason"]}
    assert set(faults) == {str(people / "eve.mp4"), str(people / "fay.mp4")}


def test_prepare_uses_truncated_video_and_warns(tmp_path, capsys):
    noise = np.random.default_rng(0)
    grainy = (
        np.where(frame == 255, frame, frame + noise.integers(0, 30, frame.shape, np.uint8)) for frame in _frames(60)
    )
    whole = _write(tmp_path / "whole.mp4", grainy)
    subprocess.run([sys.executable, "-c", REMUX, whole, tmp_path / "cut.mkv"], check=True)
    data = (tmp_path / "cut.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) * 2 // 3])
    out = tmp_path / "set"
    assert _run(out, tmp_path / "cut.mkv", "--test-share", "0") == 0
    assert "is damaged or truncated" in capsys.readouterr().err
    (kept, fault) = _rows(out)
    assert 8 <= int(kept["frames"]) < 60
    assert "is damaged or truncated" in fault["reason"]


REMUX = """
import sys, av
with av.open(sys.argv[1]) as source, av.open(sys.argv[2], "w") as target:
    stream = target.add_stream_from_template(source.streams.video[0])
    for packet in source.demux(source.streams.video[0]):
        if packet.dts is not None:
            packet.stream = stream
            target.mux(packet)
"""


def test_prepare_drops_small_short_and_leaving_objects_with_reason(tmp_path, capsys):
    root = tmp_path / "in"
    _write(root / "small", _frames(10, side=16))
    _write(root / "short", _frames(7))
    _write(root / "edge", _frames(10, left=0, top=0))
    _write(root / "none", [_scene(0)] * 10)
    assert _run(tmp_path / "set", root, "--test-share", "0", "--edge-margin", "0.1") == 2
    assert "no clip of 4 videos was kept; the most frequent reason: " in capsys.readouterr().err
    assert {os.path.basename(row["video"]): row["reason"] for row in _rows(tmp_path / "set")} == {
        "small": "the crop's side is 24 pixels, less than 32",
        "short": "7 frames, fewer than 8",
        "edge": "too near the frame's edge",
        "none": "no detection",
    }


def test_prepare_whole_frames_repeats_edge_without_detector(tmp_path):
    frame = np.zeros([64, 32, 3], np.uint8) + 255
    frame[8:56, 8:24] = 90
    _write(tmp_path / "in" / "dress", [frame] * 3)
    arguments = ["--preset", "fashion", "--size", "64", "--format", "png", "--test-share", "0", "--min-frames", "2"]
    assert cli.main(["prepare", str(tmp_path / "in"), "--out", str(tmp_path / "set"), *arguments]) == 0
    clip = list(video.open_video(tmp_path / "set" / "train" / "dress#000000-000002"))
    expected = np.pad(frame, [(0, 0), (16, 16), (0, 0)], constant_values=255)
    np.testing.assert_array_equal(clip[0], expected)


@pytest.mark.parametrize(
    ("preset", "suffix", "size"), [("bair", "", (64, 64)), ("mgif", ".gif", (48, 80)), ("fashion", ".mp4", (80, 48))]
)
def test_prepare_presets_of_published_clips_keep_them_whole(tmp_path, preset, suffix, size):
    shown = np.full([*size, 3], 200, np.uint8)
    shown[8:40, 8:40] = 20
    for split, count in (("train", 30), ("test", 4)):
        _write(
            tmp_path / "in" / split / f"0{suffix}", [shown[:, ::-1] if number % 2 else shown for number in range(count)]
        )
    out = tmp_path / "set"
    assert cli.main(["prepare", str(tmp_path / "in"), "--out", str(out), "--preset", preset, "--size", "80"]) == 0
    ending = ".mp4" if preset == "fashion" else ""
    assert _clips(out) == [f"test/0#000000-000003{ending}", f"train/0#000000-000029{ending}"]
    frame = next(iter(video.open_video(out / _clips(out)[0]))).astype(int)
    assert frame.shape == (80, 80, 3)
    dark = (frame.max(axis=-1) < 110).sum() / 80**2
    # All of it is shown, and what is filled up is of the edge's color.
    assert dark == pytest.approx(32**2 / max(size) ** 2, rel=0.1)


def test_prepare_fps_resamples_and_keeps_splits(tmp_path):
    _write(tmp_path / "in" / "train" / "ann.mp4", _frames(40, step=0.2))
    _write(tmp_path / "in" / "test" / "ann#2.mp4", _frames(20))
    assert _run(tmp_path / "set", tmp_path / "in", "--fps", "12.5", "--format", "mp4") == 0
    assert _clips(tmp_path / "set") == ["test/ann#2#000000-000009.mp4", "train/ann#000000-000019.mp4"]
    assert video.open_video(tmp_path / "set" / "train" / "ann#000000-000019.mp4").fps == 12.5


def test_prepare_bytes_do_not_depend_on_processes(people, tmp_path, monkeypatch):
    for name, jobs in (("one", 1), ("three", 3)):
        assert _run(tmp_path / name, people, "--jobs", jobs, "--format", "mp4") == 0
    assert _contents(tmp_path / "one") == _contents(tmp_path / "three")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "one").glob("t*/[!.]*")}
    monkeypatch.setenv("FINDER_LOG", str(tmp_path / "log"))
    assert _run(tmp_path / "one", people, "--format", "mp4") == 0
    assert not (tmp_path / "log").exists()
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "one").glob("t*/[!.]*")}
    assert _contents(tmp_path / "one") == _contents(tmp_path / "three")


def test_prepare_updates_lost_changed_and_new_videos(people, tmp_path, monkeypatch):
    out = tmp_path / "set"
    assert _run(out, people) == 0
    before = _contents(out)
    (lost, *_) = out.glob("train/*")
    for file in lost.iterdir():
        file.unlink()
    lost.rmdir()
    monkeypatch.setenv("FINDER_LOG", str(tmp_path / "log"))
    assert _run(out, people) == 0
    assert _contents(out) == before
    assert not (tmp_path / "log").exists()
    for file in (people / "ann").iterdir():
        file.unlink()
    _write(people / "ann", _frames(12, scene=9))
    _write(people / "eve", _frames(10))
    assert _run(out, people) == 0
    assert sum(int(line.split()[1]) for line in (tmp_path / "log").read_text().splitlines()) == 22
    names = [clip.split("/")[1] for clip in _clips(out)]
    assert sorted(names) == [
        "ann#000000-000011",
        "bob#000000-000019",
        "cid#000000-000019",
        "dan#000000-000019",
        "eve#000000-000009",
    ]
    assert "train/eve#000000-000009" in _clips(out)


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
        _write(root / f"{name}.mp4", *(_frames(60, scene=10 * number + part, step=0.1) for part in range(3)))
    assert _run(tmp_path / "whole", root, "--jobs", "1") == 0
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
    assert _contents(out) == _contents(tmp_path / "whole")
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
    assert _clips(out) == []
    assert _run(out, people) == 0
    assert len(_clips(out)) == 4


@pytest.mark.parametrize("kind", ["png", "mp4"])
def test_prepare_full_disk_is_one_line_and_keeps_finished_clips(tmp_path, capsys, kind):
    noise = np.random.default_rng(0)
    grainy = (frame // 2 + noise.integers(0, 99, frame.shape, np.uint8) for frame in _frames(20))
    grainy = [np.where(plain == 255, plain, frame) for frame, plain in zip(grainy, _frames(20), strict=True)]
    _write(tmp_path / "in" / "ann", _frames(20))
    _write(tmp_path / "in" / "bob", grainy)
    arguments = ["--crop", "finders:find_white_on_a_full_disk", "--format", kind, "--size", "48", "--test-share", "0"]
    assert _run(tmp_path / "set", tmp_path / "in", *arguments, "--jobs", "1") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fomm: ") and "cannot" in line and "free some space" in line
    assert not list(tmp_path.rglob(".fomm-*"))
    assert len(_clips(tmp_path / "set")) == 1


@pytest.mark.slow
def test_prepare_rejects_second_process_in_same_directory(people, tmp_path, capsys):
    out = tmp_path / "set"
    with open(tmp_path / "gate", "w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        process = _start(out, people, FINDER_WAITS=gate.name)
        _wait(process, b"looking\n")
        assert _run(out, people) == 2
    assert "is in use by another fomm prepare" in capsys.readouterr().err
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert len(_clips(out)) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--preset", "portrait"],
            "--preset must be one of vox, nemo, taichi, bair, mgif, fashion, faces, bodies; got 'portrait'",
        ),
        (["--size", "8"], "--size must be at least 16; got 8"),
        (["--size", "33", "--format", "mp4"], "--size must be even for mp4; got 33"),
        (["--size", "x"], "argument --size: invalid int value: 'x'"),
        (["--margin", "0.5"], "--margin must be at least 1; got 0.5"),
        (["--margin", "nan"], "--margin must be at least 1; got nan"),
        (["--edge-margin", "0.5"], "--edge-margin must be at least -1 and below 0.5; got 0.5"),
        (["--min-side", "0"], "--min-side must be at least 1; got 0"),
        (["--min-frames", "1"], "--min-frames must be at least 2, for a training pair; got 1"),
        (["--max-frames", "7"], "--max-frames must be at least --min-frames, 8; got 7"),
        (["--min-iou", "1"], "--min-iou must be at least 0 and below 1; got 1.0"),
        (["--fps", "0"], "--fps must be above 0 and at most 1000; got 0.0"),
        (["--test-share", "1"], "--test-share must be at least 0 and below 1; got 1.0"),
        (["--test-identities", "zoe"], "--test-identities must be some of ann, bob, cid, dan; got zoe"),
        (["--identity", "("], "--identity must be a regular expression; got '('"),
        (["--identity", "a"], "a regular expression with a group, (...), for the identity; got"),
        (["--jobs", "0"], "--jobs must be at least 1; got 0"),
        (["--crop", "hand"], "There is no detector 'hand' of this kind"),
        (["--crop", "finders:nothing"], "finders has no callable 'nothing'"),
        (["--crop", "finders:find_invalid"], "The detector finders:find_invalid must return"),
        (["--crop", "finders:die", "--jobs", "1"], "ann: out of memory, killed, or a file that crashes the decoder"),
        (["--format", "gif"], "argument --format: invalid choice: 'gif'"),
    ],
)
def test_prepare_rejects_invalid_arguments_in_one_line(people, tmp_path, capsys, arguments, message):
    assert _run(tmp_path / "set", people, *arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("fomm: ")
    assert message in error[-1]
    assert _clips(tmp_path / "set") == []
    # Where nothing was done, other settings are welcome.
    assert not (tmp_path / "set" / "prepare.json").exists() or _run(tmp_path / "set", people) == 0


def test_prepare_rejects_missing_videos_and_used_directories(people, tmp_path, capsys):
    def error_of(*arguments):
        assert _run(*arguments) == 2
        return capsys.readouterr().err

    assert "no videos; give files or directories, or one of --preset faces and bodies" in error_of(tmp_path / "set")
    assert "nowhere does not exist" in error_of(tmp_path / "set", tmp_path / "nowhere")
    (tmp_path / "file").write_text("text")
    assert "is a file; give a directory" in error_of(tmp_path / "file", people)
    assert "cannot write to" in error_of(tmp_path / "file" / "below", people)
    assert "is a directory that contains the input" in error_of(tmp_path, people)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.txt").write_text("mine")
    assert "is not empty and was not made by fomm prepare" in error_of(tmp_path / "used", people)
    assert not (tmp_path / "set").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "people", "used"]
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["thesis.txt"]


def test_prepare_resumes_after_kill_at_start(people, tmp_path):
    (tmp_path / "set" / ".prepare").mkdir(parents=True)
    (tmp_path / "set" / ".fomm-half").mkdir()
    assert _run(tmp_path / "set", people) == 0
    assert not (tmp_path / "set" / ".fomm-half").exists()


def test_prepare_rejects_other_settings_in_same_directory(people, tmp_path, capsys):
    assert _run(tmp_path / "set", people) == 0
    before = _contents(tmp_path / "set")
    assert _run(tmp_path / "set", people, "--margin", "2", "--fps", "10") == 2
    error = capsys.readouterr().err
    assert "(margin was 1.5 and is 2.0; fps was None and is 10.0); give the same, or another --out" in error
    assert _contents(tmp_path / "set") == before


def test_prepare_warns_about_empty_split(people, tmp_path, capsys):
    assert _run(tmp_path / "set", people, "--split", "time") == 0
    assert "has no test clip; training needs both splits: see --split and --test-share" in capsys.readouterr().err

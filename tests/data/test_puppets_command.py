"""`python -m fomm_tf.data.puppets`: its output, its errors, and its exit codes."""

import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from fomm_tf import video
from fomm_tf.data import puppets
from fomm_tf.data.puppets import __main__ as command
from fomm_tf.data.puppets import dataset

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _contents(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _run(out, *extra):
    arguments = ["--identities", "3", "--clips", "2", "--frames", "4", "--size", "32x40", "--seed", "1"]
    return command.main(["--out", str(out), *arguments, *extra])


def test_command_writes_the_frames_of_its_plan(tmp_path, capsys):
    out = tmp_path / "deep" / "puppets"
    assert _run(out) == 0
    printed = capsys.readouterr().out
    assert "6 clips of 3 identities in train, 2 of 1 others in test, 4 frames of 32x40" in printed
    assert sorted(path.name for path in out.iterdir()) == ["puppets.json", "sheet.png", "test", "train"]
    names = {split: sorted(path.name for path in (out / split).iterdir()) for split in ("train", "test")}
    assert names["train"] == [f"{who:05d}#{clip:03d}" for who in range(3) for clip in range(2)]
    assert names["test"] == ["00003#000", "00003#001"]
    clips = list(dataset.plan(1, {"train": 3, "test": 1}, 2))
    assert [clip.name for clip in clips] == [*names["train"], *names["test"]]
    for clip in clips:
        identity, poses = puppets.sample_identity(clip.identity_seed), puppets.sample_motion(clip.motion_seed, 4)
        for number, pose in enumerate(poses):
            frame = video.read_image(out / clip.split / clip.name / f"{number:05d}.png")
            np.testing.assert_array_equal(frame, puppets.draw(identity, pose, (32, 40)))
    record = json.loads((out / "puppets.json").read_text())
    counts = {"identities": 3, "test_identities": 1, "clips": 2, "frames": 4}
    assert record == counts | {"size": [32, 40], "seed": 1, "portraits": False}
    assert video.read_image(out / "sheet.png").shape == (4 * 68, 8 * 68, 3)


def test_draw_sheet_matches_the_image_of_the_docs():
    shown = video.read_image(_ROOT / "docs" / "images" / "puppets.png")
    clips = dataset.plan(1, {"train": 6}, 1)
    drawn = dataset.draw_sheet(
        (puppets.sample_identity(clip.identity_seed), puppets.sample_motion(clip.motion_seed, 64)) for clip in clips
    )
    assert shown.shape == drawn.shape
    assert np.abs(shown.astype(int) - drawn).mean() < 1


def test_command_portraits_have_large_faces_and_a_static_plain_wall(tmp_path):
    assert _run(tmp_path / "puppets", "--portraits", "--identities", "12", "--clips", "1") == 0
    assert json.loads((tmp_path / "puppets" / "puppets.json").read_text())["portraits"] is True
    for clip in dataset.plan(1, {"train": 12}, 1):
        identity, poses = clip.sample(4, portraits=True)
        frame = video.read_image(tmp_path / "puppets" / "train" / clip.name / "00003.png")
        np.testing.assert_array_equal(frame, puppets.draw(identity, poses[3], (32, 40)))
        assert identity.background_kind == "gradient"
        assert min(pose.scale for pose in poses) > 1.39
        assert {(pose.pan_x, pose.pan_y, pose.zoom) for pose in poses} == {(0.0, 0.0, 1.0)}


def test_command_output_is_a_function_of_the_seed(tmp_path):
    for name in ("first", "second"):
        assert _run(tmp_path / name) == 0
    assert _run(tmp_path / "other", "--seed", "2") == 0
    first, second, other = (_contents(tmp_path / name) for name in ("first", "second", "other"))
    assert first == second
    assert not set(first.values()) & set(other.values())


def test_plan_never_shares_seeds_between_train_and_test():
    seeds = {split: set() for split in ("train", "test")}
    for seed in range(50):
        clips = list(dataset.plan(seed, {"train": 20, "test": 5}, 3))
        assert len({clip.name for clip in clips}) == len(clips) == 75
        for clip in clips:
            seeds[clip.split] |= {clip.identity_seed, clip.motion_seed}
    assert not seeds["train"] & seeds["test"]
    assert len(seeds["train"]) == 50 * 20 * 4
    assert len(seeds["test"]) == 50 * 5 * 4


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--size", "16"], "--size must be at least 32x32 for a puppet; got 16x16"),
        (["--size", "64x"], "'64x' is not a size; give HxW"),
        (["--identities", "0"], "--identities must be at least 1; got 0"),
        (["--test-identities", "0"], "--test-identities must be at least 1; got 0"),
        (["--clips", "-1"], "--clips must be at least 1; got -1"),
        (["--frames", "1"], "--frames must be at least 2; got 1"),
        (["--seed", "-5"], "--seed must be at least 0; got -5"),
        (["--seed", "x"], "invalid int value"),
        (["--wrong"], "unrecognized arguments: --wrong"),
    ],
)
def test_command_reports_invalid_arguments_in_one_line(tmp_path, capsys, extra, message):
    assert _run(tmp_path / "out", *extra) == 2
    error = capsys.readouterr().err
    assert error.startswith("puppets: ")
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_command_rejects_non_empty_directory(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("text")
    assert _run(tmp_path) == 2
    assert "is not empty; give a new directory" in capsys.readouterr().err
    assert _run(tmp_path / "notes.txt") == 2
    assert "is a file; give a directory" in capsys.readouterr().err
    assert _run(tmp_path / "notes.txt" / "below") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_command_accepts_empty_directory(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    assert _run(out) == 0
    assert (out / "puppets.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_command_interrupted_exits_130_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    draw, count = puppets.draw, 0

    def interrupt(*arguments):
        nonlocal count
        count += 1
        if count > 10:
            raise KeyboardInterrupt
        return draw(*arguments)

    monkeypatch.setattr(puppets, "draw", interrupt)
    assert _run(tmp_path / "out") == 130
    assert "interrupted; nothing is left" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_command_terminated_exits_130_and_leaves_nothing(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "fomm_tf.data.puppets", "--out", str(tmp_path / "out"), "--identities", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".fomm-*/out/train/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
        assert process.poll() is None, process.stdout.read()
    assert list(tmp_path.glob(".fomm-*/out/train/*")), "nothing was drawn in a minute"
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert not list(tmp_path.iterdir())


def test_command_help_describes_the_output_without_loading_tensorflow():
    code = (
        "import sys; from fomm_tf.data.puppets import __main__ as command\n"
        "try: command.main(['--help'])\n"
        "finally: assert 'tensorflow' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for word in ("--identities", "OUT/sheet.png", "exit code"):
        assert word in result.stdout

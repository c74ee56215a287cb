"""`python -m fomm_tf.data.puppets`: what it writes, what it refuses, and how it ends."""

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
from fomm_tf.data.puppets import command, dataset, drawing

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


def test_the_command_writes_frames_and_labels_from_which_they_can_be_drawn_again(tmp_path, capsys):
    out = tmp_path / "deep" / "puppets"
    assert _run(out) == 0
    printed = capsys.readouterr().out
    assert "6 clips of 3 identities in train, 2 of 1 others in test, 4 frames of 32x40" in printed
    assert sorted(path.name for path in out.iterdir()) == ["labels", "puppets.json", "sheet.png", "test", "train"]
    names = {split: sorted(path.name for path in (out / split).iterdir()) for split in ("train", "test")}
    assert names["train"] == [f"{who:05d}#{clip:03d}" for who in range(3) for clip in range(2)]
    assert names["test"] == ["00003#000", "00003#001"]
    for split, clips in names.items():
        assert [path.stem for path in sorted((out / "labels" / split).iterdir())] == clips
        for clip in clips:
            labels = np.load(out / "labels" / split / f"{clip}.npz")
            assert tuple(labels["joint_names"]) == puppets.JOINTS
            assert tuple(labels["pose_names"]) == puppets.Pose._fields
            identity = puppets.sample_identity(int(labels["identity_seed"]))
            assert puppets.sample_motion(int(labels["motion_seed"]), 4) == [
                puppets.Pose(*row) for row in labels["poses"]
            ]
            for number, row in enumerate(labels["poses"]):
                frame = video.read_image(out / split / clip / f"{number:05d}.png")
                np.testing.assert_array_equal(frame, puppets.draw(identity, puppets.Pose(*row), (32, 40)))
                again = puppets.label(identity, puppets.Pose(*row), (32, 40))
                np.testing.assert_array_equal(labels["joints"][number], again.value)
                np.testing.assert_array_equal(labels["visible"][number], again.visible)
    record = json.loads((out / "puppets.json").read_text())
    assert 0.06 < record["mean_motion"]["train"] < 0.3
    assert 0.02 < record["disoccluded"]["train"] < 0.4
    assert record["nearest_identities"] > 4
    assert video.read_image(out / "sheet.png").shape == (4 * 68, 8 * 68, 3)


def test_draw_sheet_matches_the_image_of_the_docs():
    shown = video.read_image(_ROOT / "docs" / "images" / "puppets.png")
    clips = dataset.plan(1, {"train": 6}, 1)
    drawn = drawing.draw_sheet(
        (puppets.sample_identity(clip.identity_seed), puppets.sample_motion(clip.motion_seed, 64)) for clip in clips
    )
    assert shown.shape == drawn.shape
    assert np.abs(shown.astype(int) - drawn).mean() < 1


def test_portraits_are_faces_that_fill_the_frame_before_a_wall_that_keeps_still(tmp_path):
    assert _run(tmp_path / "puppets", "--portraits", "--identities", "12", "--clips", "1") == 0
    assert json.loads((tmp_path / "puppets" / "puppets.json").read_text())["portraits"] is True
    for path in sorted((tmp_path / "puppets" / "labels" / "train").iterdir()):
        labels = np.load(path)
        identity = puppets.sample_identity(int(labels["identity_seed"]), portrait=True)
        assert identity.background_kind == "gradient"
        poses = [puppets.Pose(*row) for row in labels["poses"]]
        assert poses == puppets.sample_motion(int(labels["motion_seed"]), 4, portrait=True)
        assert min(pose.scale for pose in poses) > 1.39
        assert {(pose.pan_x, pose.pan_y, pose.zoom) for pose in poses} == {(0.0, 0.0, 1.0)}


def test_the_command_gives_the_same_bytes_again_and_others_for_another_seed(tmp_path):
    for name in ("first", "second"):
        assert _run(tmp_path / name) == 0
    assert _run(tmp_path / "other", "--seed", "2") == 0
    first, second, other = (_contents(tmp_path / name) for name in ("first", "second", "other"))
    assert first == second
    assert not set(first.values()) & set(other.values())


def test_no_identity_and_no_motion_of_any_test_set_is_in_any_training_set():
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
        (["--amount", "0"], "--amount must be above 0 and at most 1; got 0"),
        (["--amount", "nan"], "--amount must be above 0 and at most 1; got nan"),
        (["--wrong"], "unrecognized arguments: --wrong"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_2(tmp_path, capsys, extra, message):
    assert _run(tmp_path / "out", *extra) == 2
    error = capsys.readouterr().err
    assert error.startswith("puppets: ")
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_refused_and_kept(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert _run(tmp_path) == 2
    assert "is not empty; give a new directory" in capsys.readouterr().err
    assert _run(tmp_path / "mine.txt") == 2
    assert "is a file; give a directory" in capsys.readouterr().err
    assert _run(tmp_path / "mine.txt" / "below") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    assert _run(out) == 0
    assert (out / "puppets.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_interruption_ends_with_130_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    draw, count = drawing.draw, 0

    def interrupt(*arguments):
        nonlocal count
        count += 1
        if count > 10:
            raise KeyboardInterrupt
        return draw(*arguments)

    monkeypatch.setattr(drawing, "draw", interrupt)
    assert _run(tmp_path / "out") == 130
    assert "interrupted; nothing is left" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_terminated_process_ends_with_130_and_leaves_nothing(tmp_path):
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


def test_help_says_what_is_written_and_no_tensorflow_is_loaded():
    code = (
        "import sys; from fomm_tf.data.puppets import command\n"
        "try: command.main(['--help'])\n"
        "finally: assert 'tensorflow' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for word in ("--identities", "joints [F,J,2]", "exit code"):
        assert word in result.stdout

"""`fomm demo` and the bundled model."""

import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import fomm_tf
from fomm_tf import cli, demo, video

pytestmark = pytest.mark.slow
COUNT = 50
README = pathlib.Path(__file__).resolve().parents[1] / "README.md"


def error(frames, truth):
    return np.abs(np.float32(frames) - np.float32(truth)).mean() / 255


def test_the_demo_needs_no_argument(tmp_path):
    command = [sys.executable, "-m", "fomm_tf", "demo"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "outputs" / "demo"
    shown = re.search(r"^```text\ndevice: .*\n((?s:.*?))```", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert done.stdout.partition("\n")[2] == shown.group(1), "the README shows another output"
    frames = list(video.open_video(out / "animated.mp4"))
    assert len(frames) == COUNT and frames[0].shape == (128, 3 * 128, 3)
    names = {"source.png", "driving.mp4", "animated.mp4", "keypoints.png", "keypoints.json", "visualize"}
    assert {path.name for path in out.iterdir()} == names


def test_the_bundled_model_moves_a_character_as_it_would_move_itself():
    image, driving, truth = demo.draw_image(128), demo.draw_clip(128), list(demo.draw_clip(128, who=demo.SHOWN))
    moved = list(fomm_tf.Animator.bundled().animate(image, driving))
    assert error(moved, truth) < 0.7 * error([image] * COUNT, truth)


def test_it_is_what_animates_where_no_run_is_given(tmp_path):
    video.write_image(tmp_path / "source.png", demo.draw_image(128))
    with video.write_video(tmp_path / "driving", 25) as writer:
        for frame in demo.draw_clip(128, 3):
            writer.write(frame)
    files = ["--source", tmp_path / "source.png", "--driving", tmp_path / "driving", "--out", tmp_path / "out"]
    assert cli.main(["animate", *map(str, files), "--quiet"]) == 0
    made = list(video.open_video(tmp_path / "out"))
    stream = fomm_tf.Animator.bundled().animate(demo.draw_image(128), demo.draw_clip(128, 3))
    np.testing.assert_allclose(np.int32(made), np.int32(list(stream)), atol=1)

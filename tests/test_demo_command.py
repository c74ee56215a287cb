"""`fomm demo` and the bundled model."""

import pathlib
import re
import subprocess
import sys

import drawn_heads
import numpy as np
import pytest

import fomm_tf
from fomm_tf import cli, demo, video

pytestmark = pytest.mark.slow
COUNT = 50
README = pathlib.Path(__file__).resolve().parents[1] / "README.md"


def error(frames, truth):
    return np.abs(np.float32(frames) - np.float32(truth)).mean() / 255


def test_demo_needs_no_argument(tmp_path):
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


def test_bundled_model_is_better_than_source_copy():
    image, driving, truth = demo.draw_image(128), demo.draw_clip(128), list(demo.draw_clip(128, character=demo.SOURCE))
    animated = list(fomm_tf.Animator.bundled().animate(image, driving))
    assert error(animated, truth) < 0.7 * error([image] * COUNT, truth)


def test_animate_uses_bundled_model_by_default(tmp_path):
    drawn_heads.write_inputs(tmp_path, 128, 3)
    files = ["--source", tmp_path / "source.png", "--driving", tmp_path / "driving", "--out", tmp_path / "out"]
    assert cli.main(["animate", *map(str, files), "--quiet"]) == 0
    written = list(video.open_video(tmp_path / "out"))
    stream = fomm_tf.Animator.bundled().animate(demo.draw_image(128), demo.draw_clip(128, 3), on_cut="restart")
    np.testing.assert_allclose(np.int32(written), np.int32(list(stream)), atol=1)

"""`fomm demo` and the bundled model."""

import pathlib
import re
import subprocess
import sys

import disc_engine
import drawn_heads
import numpy as np
import pytest

import fomm_tf
from fomm_tf import cli, demo, video
from fomm_tf.inference import animator, quality

pytestmark = pytest.mark.slow
COUNT = 75
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
    assert len(frames) == COUNT and frames[0].shape == (2 * 256, 4 * 256, 3)
    names = {f"source-{number}.png" for number in (1, 2, 3)} | {"animated.mp4", "animated.gif", "animated-1.mp4"}
    names |= {"keypoints.png", "keypoints.json", "visualize"}
    assert {path.name for path in out.iterdir()} == names


def test_demo_takes_inputs_of_the_users(tmp_path):
    drawn_heads.write_inputs(tmp_path, 96, 4)
    files = ["--source", tmp_path / "source.png", "--driving", tmp_path / "driving", "--run", drawn_heads.MODEL]
    assert cli.main(["demo", *map(str, files), "--out", str(tmp_path / "out")]) == 0
    frames = list(video.open_video(tmp_path / "out" / "animated.mp4"))
    assert len(frames) == 4 and frames[0].shape == (2 * 128, 2 * 128, 3)


def test_demo_of_an_engine_without_details_shows_none(tmp_path, monkeypatch):
    engine = disc_engine.DiscEngine()
    engine.has_details = False
    monkeypatch.setattr(animator.Animator, "load", lambda folder: disc_engine.load(engine))
    source, driving = disc_engine.write_files(tmp_path, 2)
    lines = list(demo.run(None, tmp_path / "out", [str(source)], str(driving)))
    assert len(lines) == 4 and not [line for line in lines if "visualize" in line]
    assert not (tmp_path / "out" / "visualize").exists() and (tmp_path / "out" / "animated.gif").exists()


def test_bundled_model_is_better_than_source_copy_on_people_it_has_not_seen():
    frames = list(video.open_video(demo.DRIVING))
    animated = list(fomm_tf.Animator.bundled().animate(frames[0], frames, mode="absolute"))
    assert error(animated, frames) < 0.6 * error([frames[0]] * COUNT, frames)


def test_bundled_photo_and_people_are_not_refused():
    """No warning about a photo, or an image without a face."""
    model = fomm_tf.Animator.bundled()
    for source in demo.SOURCES:
        image = video.read_image(source)
        assert quality.warn_about_input(model, source, image, image)


def test_animate_uses_bundled_model_by_default(tmp_path):
    drawn_heads.write_inputs(tmp_path, 128, 3)
    files = ["--source", tmp_path / "source.png", "--driving", tmp_path / "driving", "--out", tmp_path / "out"]
    assert cli.main(["animate", *map(str, files), "--quiet"]) == 0
    written = list(video.open_video(tmp_path / "out"))
    inputs = drawn_heads.draw_image(128), drawn_heads.draw_clip(128, 3)
    stream = fomm_tf.Animator.bundled().animate(*inputs, on_cut="restart")
    np.testing.assert_allclose(np.int32(written), np.int32(list(stream)), atol=1)

"""Warnings about inputs whose animation cannot be good, by a model of drawn heads."""

import warnings

import drawn_heads
import numpy as np
import pytest

from fomm_tf import video
from fomm_tf.data import puppets
from fomm_tf.inference import animate, animator, quality
from fomm_tf.structures import Keypoints

SIZE = 128

ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]


@pytest.fixture(scope="module")
def model():
    return animator.Animator.load(drawn_heads.MODEL)


def draw_heads(count):
    for seed in range(1, 2 * count, 2):
        pose = next(iter(puppets.sample_motion(seed, 2, portrait=True)))
        yield puppets.draw(puppets.sample_identity(seed, portrait=True), pose, SIZE)


def draw_photo():
    """Soft shades with grain, as in a portrait with a blurred background."""
    grain = np.random.default_rng(0).normal(0, 9, [SIZE, SIZE])
    shades = 120 + 60 * np.sin(COLUMNS / 9) * np.cos(ROWS / 13) + grain
    return np.stack([shades, 0.8 * shades, 0.6 * shades], axis=-1).clip(0, 255).astype(np.uint8)


def test_shift_error_separates_heads_from_images_without_object(model):
    heads = [quality.shift_error(model, head) for head in [*draw_heads(6), drawn_heads.draw_image(SIZE)]]
    noise = np.random.default_rng(0).integers(0, 256, [SIZE, SIZE, 3], dtype=np.uint8)
    others = [np.full_like(noise, 128), noise, np.stack([ROWS, COLUMNS, ROWS], axis=-1).astype(np.uint8)]
    assert max(heads) < 0.3
    assert min(quality.shift_error(model, other) for other in others) > 0.75


def test_is_photo_separates_soft_images_from_drawings():
    assert not any(map(quality.is_photo, draw_heads(12)))
    assert not any(map(quality.is_photo, drawn_heads.draw_clip(64, 4)))
    assert quality.is_photo(draw_photo())
    data = pytest.importorskip("skimage.data")
    assert quality.is_photo(data.astronaut())
    assert not quality.is_photo(np.full([SIZE, SIZE, 3], 128, np.uint8))


def test_pose_distance_ignores_position_and_size():
    value = np.random.default_rng(0).uniform(-1, 1, [2, 10, 2])
    moved = 0.5 * value + [0.2, -0.1]
    assert quality.pose_distance(value[:1], moved)[0] == pytest.approx(0, abs=1e-9)
    assert quality.pose_distance(value[:1], moved)[1] > 0.5


@pytest.mark.parametrize(
    ("far", "frame", "message"),
    [(1.0, 0, "frame 0.*; frame 2 is closer .*set `best_frame` to 2"), (1.0, 2, None), (0.05, 0, None)],
)
def test_pose_comparison_names_closer_frame(far, frame, message):
    generator = np.random.default_rng(0)
    value = generator.uniform(-1, 1, [1, 10, 2])
    turned = value + far * generator.normal(0, 0.5, [2, 10, 2])
    poses = quality.PoseComparison(Keypoints(value, None), frame)
    poses.add(Keypoints(turned, None))
    poses.add(Keypoints(value, None))
    if message:
        with pytest.warns(video.VideoNote, match=message):
            poses.warn("a.mp4")
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            poses.warn("a.mp4")


def test_animate_file_warns_once_about_each_bad_input(model, tmp_path):
    gray = np.full([SIZE, SIZE, 3], 128, np.uint8)
    inputs = {"head": drawn_heads.draw_image(SIZE), "photo": draw_photo(), "gray": gray}
    for name, image in inputs.items():
        video.write_image(tmp_path / f"{name}.png", image)
        video.write_image(tmp_path / name / "0.png", image)
    lines = {}
    for source, driving in (("head", "head"), ("photo", "gray")):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", video.VideoNote)
            animate.animate_file(
                model,
                str(tmp_path / f"{source}.png"),
                video.open_video(tmp_path / driving),
                animate.Output(str(tmp_path / "out")),
                model.config.animate,
                progress=False,
            )
        lines[source] = [str(warning.message) for warning in caught if issubclass(warning.category, video.VideoNote)]
    assert lines["head"] == []
    assert len(lines["photo"]) == 2
    assert "photo.png looks like a photo" in lines["photo"][0]
    assert "gray, frame 0 shows no object" in lines["photo"][1]

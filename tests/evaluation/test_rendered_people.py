"""Measures on rendered people: exact on known cases, and a reader that recovers the expressions of drawn faces."""

import functools
import json

import numpy as np
import pytest

from fomm_tf import errors, video
from fomm_tf.data import people
from fomm_tf.evaluation import metrics, rendered_people

SIDE = 64
NAMES = people.landmark_names()
PLACES = {
    "right_mouth": (-0.25, 0.4),
    "left_mouth": (0.25, 0.4),
    "right_outer_eye": (-0.4, -0.3),
    "right_inner_eye": (-0.15, -0.3),
    "left_inner_eye": (0.15, -0.3),
    "left_outer_eye": (0.4, -0.3),
}
correlate = functools.partial(metrics.correlate, rendered_people.SIGNALS)


def draw_clip(seed, count=12):
    """Frames of a face that is moved, opens its mouth, closes its eyes and looks around; landmarks; true signals."""
    rng = np.random.default_rng(seed)
    values = np.column_stack([rng.random([count, 2]), rng.uniform(-1, 1, [count, 2]), rng.uniform(-30, 30, [count, 2])])
    landmarks = np.zeros([count, len(NAMES), 2])
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    skin = rng.uniform(0.5, 0.9, 3)
    frames = []
    for frame, (mouth, eyes, gaze_x, gaze_y, _, _) in enumerate(values):
        shift = rng.uniform(-0.1, 0.1, 2)
        for name, place in PLACES.items():
            landmarks[frame, NAMES.index(name)] = place + shift

        def ellipse(place, radii, shift=shift):
            return np.hypot((x - place[0] - shift[0]) / radii[0], (y - place[1] - shift[1]) / radii[1])

        dark = ellipse((0, 0.4), (0.2, 0.02 + 0.12 * mouth)) < 1
        for side in (-0.275, 0.275):
            eye = (side + 0.05 * gaze_x, -0.3 + 0.04 * gaze_y)
            dark |= ellipse(eye, (0.06, 0.01 + 0.08 * (1 - eyes))) < 1
        frames.append(np.where(dark[..., None], 0.1, skin) + rng.normal(0, 0.02, [SIDE, SIDE, 3]))
    return video.to_uint8(np.float32(frames).clip(0, 1)), landmarks, values


def detect_from(values):
    """A detector whose first point turns with the head; it finds nothing in the last frame."""

    def detect(frames):
        points = np.tile(np.random.default_rng(5).uniform(10, 50, [9, 2]), [len(frames), 1, 1])
        points[:, 0] += values[: len(frames), 4:] / 10
        visibility = np.ones(points.shape[:2])
        visibility[-1] = 0
        return points, visibility

    return detect


def test_face_psnr_counts_the_masked_pixels_alone():
    truth = np.random.default_rng(0).integers(0, 200, [2, SIDE, SIDE, 3], np.uint8)
    generated = truth.copy()
    masks = np.zeros([2, SIDE, SIDE], bool)
    masks[:, 10:20, 10:20] = True
    generated[0, 10:20, 10:20] += 25
    generated[0, 30:] = 0
    np.testing.assert_allclose(metrics.face_psnr(generated, truth, masks), [20 * np.log10(255 / 25), np.inf])
    assert np.isnan(metrics.face_psnr(generated, truth, np.zeros_like(masks))).all()


def test_face_ssim_is_tensorflow_s_where_the_mask_is_what_its_window_sees():
    import tensorflow as tf

    rng = np.random.default_rng(1)
    truth = rng.integers(0, 256, [2, SIDE, SIDE, 3], np.uint8)
    generated = np.uint8(np.clip(truth + rng.normal(0, 40, truth.shape), 0, 255))
    masks = np.zeros([2, SIDE, SIDE], bool)
    masks[:, 5:-5, 5:-5] = True  # TensorFlow's window of 11 pixels stays inside of the frame
    expected = tf.image.ssim(generated, truth, 255).numpy()
    np.testing.assert_allclose(metrics.face_ssim(generated, truth, masks), expected, atol=2e-4)


def test_expression_reader_reads_other_people_and_nothing_from_a_copied_source():
    train = [draw_clip(seed) for seed in range(30)]
    frames, landmarks, values = (np.concatenate(parts) for parts in zip(*train, strict=True))
    reader = rendered_people.ExpressionReader(None, frames, landmarks, values)
    others = [draw_clip(seed) for seed in range(100, 110)]
    true = [clip[2] for clip in others]
    ceiling = correlate([reader.read(*clip[:2]) for clip in others], true)
    copied = correlate([reader.read(np.repeat(clip[0][:1], 12, 0), clip[1]) for clip in others], true)
    for signal in ("mouth_opening", "eye_closure", "gaze_x"):
        assert ceiling[signal].value > 0.8 and ceiling[signal].low <= ceiling[signal].value <= ceiling[signal].high
        assert abs(copied[signal].value) < 0.4, signal
    assert np.isnan(ceiling["yaw"].value) and ceiling["yaw"].missing == 120


def test_expression_reader_reads_the_head_from_detected_points(few_features):
    frames, landmarks, values = draw_clip(0, 60)
    reader = rendered_people.ExpressionReader(detect_from(values), frames, landmarks, values)
    read = reader.read(frames, landmarks)
    assert np.isnan(read[-1, 4:]).all() and np.isfinite(read[:-1]).all()
    for signal in ("yaw", "pitch"):
        correlation = correlate([read], [values])[signal]
        assert correlation.value > 0.95 and correlation.missing == 1


def test_correlate_is_within_clips():
    rng = np.random.default_rng(0)
    true = [rng.normal(size=[8, 6]) for _ in range(5)]
    moved = [values + 10 * number for number, values in enumerate(true)]
    assert correlate(moved, true)["mouth_opening"].value == pytest.approx(1.0)
    assert correlate([-values for values in moved], true)["pitch"].value == pytest.approx(-1.0)
    still = correlate([np.ones([8, 6])] * 5, true)
    assert all(np.isnan(correlation.value) for correlation in still.values())


@pytest.fixture
def few_features(monkeypatch):
    """A reader that is fitted fast, for tests of what surrounds it."""
    monkeypatch.setattr(rendered_people, "_RANDOM_FEATURES", 100)


@pytest.fixture
def drawn_set(tmp_path):
    """A set on disk in the layout of `python -m fomm_tf.data.people`, and perfect results."""
    for split, seeds in (("train", range(6)), ("test", range(50, 52))):
        for seed in seeds:
            frames, landmarks, values = draw_clip(seed)
            name = f"{seed:05d}#000"
            masks = np.full([*frames.shape[:3], 3], 255, np.uint8)
            targets = {split: frames, f"masks/{split}": masks}
            if split == "test":
                targets["results"] = frames
            for folder, images in targets.items():
                for number, image in enumerate(images):
                    path = tmp_path / folder / name / f"{number:05d}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    video.write_image(path, image)
            record = {
                "landmarks": landmarks.tolist(),
                "mouth_opening": values[:, 0].tolist(),
                "eye_closure": values[:, [1, 1]].tolist(),
                "gaze": values[:, 2:4].tolist(),
                "yaw_pitch_roll": values[:, [4, 5, 5]].tolist(),
            }
            path = tmp_path / "truth" / split / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(record))
    return tmp_path


def test_score_of_the_true_frames_is_the_ceiling(drawn_set, few_features):
    scores = rendered_people.score(drawn_set, drawn_set / "results", rendered_people.fit_reader(drawn_set, 6, None))
    json.dumps(scores, allow_nan=False)
    model, ceiling = scores["model"], scores["truth"]
    assert scores["clips"] == 2 and model["face_ssim"] == pytest.approx(1.0) and model["face_psnr"] is None
    assert model["correlations"]["mouth_opening"] == ceiling["correlations"]["mouth_opening"]
    assert scores["source_copy"]["face_psnr"] < 40
    assert "| correlation of mouth opening | 0." in rendered_people.table(scores)


def test_score_rejects_a_missing_or_misshapen_result(drawn_set, few_features):
    reader = rendered_people.fit_reader(drawn_set, 2, None)
    (drawn_set / "results" / "00050#000" / "00011.png").unlink()
    with pytest.raises(errors.UserError, match=r"got frames \[11, 64, 64, 3\]; expected \[12, 64, 64, 3\]"):
        rendered_people.score(drawn_set, drawn_set / "results", reader)
    with pytest.raises(errors.UserError, match="has no result 00050#000"):
        rendered_people.score(drawn_set, drawn_set / "nowhere", reader)
    with pytest.raises(errors.UserError, match="has no truth about train"):
        rendered_people.fit_reader(drawn_set / "nowhere", 2, None)


def test_expression_reader_rejects_frames_without_detected_points(few_features):
    frames, landmarks, values = draw_clip(0, 12)

    def detect_nothing(frames):
        return np.zeros([len(frames), 9, 2]), np.zeros([len(frames), 9])

    with pytest.raises(ValueError, match="`frames`: the detector found no points in any of them"):
        rendered_people.ExpressionReader(detect_nothing, frames, landmarks, values)

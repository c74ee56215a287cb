"""Training of the detector on landmarks: augmentation agrees with the keypoints, errors fall, runs use it once."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import checkpoint, config, errors, models
from fomm_tf.data import frames
from fomm_tf.data.people import dataset
from fomm_tf.data.people import landmarks as truth
from fomm_tf.structures import Keypoints
from fomm_tf.training import landmarks, loop


@pytest.fixture(scope="module")
def people_set(tmp_path_factory):
    root = tmp_path_factory.mktemp("landmarks") / "set"
    dataset.write(root, identities=3, test_identities=1, clips_per_identity=1, frames=3, frame_step=5, size=32, seed=0)
    return root


@pytest.fixture(scope="module")
def settings(make_config, people_set):
    changes = [
        f"data.root={people_set}",
        f"model.num_keypoints={len(truth.KEYPOINTS)}",
        "train.loss_weights.generator_gan=0",
    ]
    return make_config(*changes)


def blobs(positions, size=65):
    """Gray images with a bright blob at each position."""
    grid = np.linspace(-1, 1, size)
    square = (grid - positions[:, :1, None]) ** 2 + (grid[:, None] - positions[:, 1:, None]) ** 2
    images = 60 + 180 * np.exp(-square / (2 * 0.06**2))
    return np.repeat(images[..., None], 3, axis=-1).astype(np.uint8)


def test_augmented_images_and_keypoints_agree():
    random = np.random.default_rng(0)
    # Two keypoints that change sides; the first, which the blob shows, is the second of a mirrored frame.
    positions = random.uniform(-0.3, 0.3, [40, 2, 2]).astype(np.float32)
    jacobians = np.tile(np.eye(2, dtype=np.float32), [40, 2, 1, 1])
    data = truth.LandmarkFrames(blobs(positions[:, 0]), positions, jacobians, np.array([1, 0]))
    found = {0: 0, 1: 0}
    for images, keypoints in landmarks.make_dataset(data, steps=4, seed=1):
        bright = images.numpy().mean(axis=-1)
        bright = np.maximum(bright - np.quantile(bright, 0.98, axis=(1, 2), keepdims=True), 0)
        grid = np.linspace(-1, 1, bright.shape[1])
        total = bright.sum(axis=(1, 2))
        middles = np.stack([bright.sum(axis=1) @ grid, bright.sum(axis=2) @ grid], -1) / total[:, None]
        mirrored = np.linalg.det(keypoints.jacobian.numpy()[:, 0]) < 0
        assert not mirrored.any()  # the canonical face is mirrored with the frame
        distances = np.linalg.norm(keypoints.value.numpy() - middles[:, None], axis=-1)
        assert np.quantile(distances.min(axis=1), 0.9) < 0.06
        for nearest in distances.argmin(axis=1):
            found[nearest] += 1
    assert min(found.values()) > 40


def test_augmented_jacobians_turn_and_scale_with_the_keypoints():
    data = truth.LandmarkFrames(
        np.zeros([1, 16, 16, 3], np.uint8),
        np.array([[[0.0, 0.0], [0.1, 0.0], [0.0, 0.1]]], np.float32),
        np.tile(np.eye(2, dtype=np.float32), [1, 3, 1, 1]),
        np.arange(3),
    )
    for _, keypoints in landmarks.make_dataset(data, steps=2, seed=0):
        value, jacobian = keypoints.value.numpy(), keypoints.jacobian.numpy()
        axes = np.stack([value[:, 1] - value[:, 0], value[:, 2] - value[:, 0]], axis=-1) / 0.1
        mirror = np.where(np.linalg.det(axes) < 0, -1.0, 1.0)
        expected = axes * np.stack([mirror, np.ones_like(mirror)], -1)[:, None]
        np.testing.assert_allclose(jacobian[:, 0], expected, atol=1e-4)


def test_make_dataset_is_a_function_of_the_seed(people_set):
    data = truth.load(frames.load(people_set, "train", (32, 32)), people_set)

    def first(seed):
        images, keypoints = next(iter(landmarks.make_dataset(data, 1, seed)))
        return images.numpy(), keypoints.value.numpy()

    for one, other in zip(first(3), first(3), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(first(3)[0], first(4)[0])


def test_mean_errors_tell_openings_from_shifts():
    value = np.random.default_rng(0).uniform(-0.5, 0.5, [2, len(truth.KEYPOINTS), 2]).astype(np.float32)
    jacobian = np.tile(np.eye(2, dtype=np.float32), [2, len(truth.KEYPOINTS), 1, 1])
    shifted = landmarks.mean_errors(Keypoints(value + 0.1, jacobian + 0.2), Keypoints(value, jacobian))
    np.testing.assert_allclose(shifted["keypoints"], 0.1, rtol=1e-4)
    np.testing.assert_allclose(shifted["jacobians"], 0.2, rtol=1e-4)
    np.testing.assert_allclose(shifted["openings"], 0.0, atol=1e-6)

    lid = value.copy()
    lid[:, truth.KEYPOINTS.index("left_lower_lid"), 1] += 0.1
    blink = landmarks.mean_errors(Keypoints(lid, jacobian), Keypoints(value, jacobian))
    np.testing.assert_allclose(blink["keypoints"], 0.1 / value[0].size, rtol=1e-4)
    np.testing.assert_allclose(blink["openings"], 0.1 / (2 * len(landmarks.PAIRS)), rtol=1e-4)


def test_train_lowers_the_error(settings, people_set):
    tf.keras.utils.set_random_seed(0)
    detector = models.FirstOrderMotionModel(settings.model).detector
    index, lines = frames.load(people_set, "train", (32, 32)), []
    data = truth.load(index, people_set)

    def error():
        found = detector(data.images / np.float32(255), training=True)
        return np.abs(found.value - data.keypoints).mean()

    before = error()
    landmarks.train(detector, index, None, people_set, 60, 0, lines.append)
    assert error() < 0.6 * before
    assert any("step 60 of 60" in line for line in lines)


def test_train_rejects_a_detector_of_other_keypoints(settings, people_set):
    index = frames.load(people_set, "train", (32, 32))
    for change in ({"num_keypoints": 3}, {"jacobian": False}):
        detector = models.FirstOrderMotionModel(dataclasses.replace(settings.model, **change)).detector
        with pytest.raises(errors.UserError, match="num_keypoints 17"):
            landmarks.train(detector, index, None, people_set, 1, 0, print)


@pytest.mark.slow
def test_run_trains_on_landmarks_once(settings, tmp_path, one_replica):
    lines = []
    changed = config.override(settings, ["train.landmark_steps=2", "train.steps=1"])
    loop.run(changed, tmp_path / "run", strategy=one_replica, report=lines.append)
    assert sum("unseen people" in line for line in lines) == 1
    assert checkpoint.load(tmp_path / "run").step == 1
    lines.clear()
    longer = config.override(changed, ["train.steps=2"])
    loop.run(longer, tmp_path / "run", strategy=one_replica, resume=True, report=lines.append)
    assert not any("unseen people" in line for line in lines)

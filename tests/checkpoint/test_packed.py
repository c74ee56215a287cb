"""Run folders with float16 weights alone."""

import dataclasses

import numpy as np
import pytest

import fomm_tf
from fomm_tf import checkpoint, config, errors

SETTINGS = config.parse(
    {
        "model": {
            "frame_size": [32, 32],
            "num_keypoints": 3,
            "motion_scale": 1.0,
            "keypoint_detector": {"scale": 1.0, "block_expansion": 8, "max_features": 16, "num_blocks": 2},
            "dense_motion": {"block_expansion": 8, "max_features": 16, "num_blocks": 2},
            "generator": {"block_expansion": 8, "max_features": 16, "num_down_blocks": 1, "num_residual_blocks": 1},
            "discriminator": {"block_expansion": 8, "max_features": 16, "num_blocks": 2},
        },
        "train": {"loss_weights": {"feature_matching": [10, 10]}},
    },
    source="test",
)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run():
    built = checkpoint.build(SETTINGS, discriminator=True, optimizers=True)
    built.step = 7
    return built


@pytest.fixture
def packed(run, tmp_path):
    checkpoint.pack(tmp_path / "packed", run, "for a test")
    return tmp_path / "packed"


def edit(folder, change):
    with np.load(folder / "weights.npz") as stored:
        arrays = dict(stored)
    change(arrays)
    np.savez(folder / "weights.npz", **arrays)


def test_the_weights_come_back_rounded_to_float16(run, packed):
    loaded = checkpoint.load(packed, training=True)
    assert (loaded.step, loaded.discriminator, loaded.optimizers) == (7, None, {})
    assert loaded.config == run.config
    for name in checkpoint.NETWORKS:
        for mine, other in zip(loaded.parts()[name].weights, run.parts()[name].weights, strict=True):
            assert mine.dtype == other.dtype
            np.testing.assert_array_equal(mine, np.asarray(other).astype(np.float16).astype(mine.dtype.as_numpy_dtype))
    assert {file.name for file in packed.iterdir()} == {"config.yaml", "README.txt", "weights.npz"}


def test_it_animates_as_the_run_does(run, packed, tmp_path):
    checkpoint.save(tmp_path / "whole", run, "for a test")
    frames = np.random.default_rng(0).random([3, 32, 32, 3], np.float32)
    one, other = (
        np.stack(list(fomm_tf.Animator.load(folder).animate(frames[0], frames)))
        for folder in (tmp_path / "whole", packed)
    )
    np.testing.assert_allclose(one, other, atol=5e-3)


def test_another_run_begins_with_it(run, packed):
    other = checkpoint.build(SETTINGS, optimizers=True)
    assert checkpoint.initialize(other, packed) == []
    kernels = [found.model.generator.final.kernel.numpy() for found in (run, other)]
    np.testing.assert_allclose(*kernels, atol=1e-3)


def test_training_cannot_go_on_in_it(packed):
    with pytest.raises(errors.UserError, match=r"is a packaged model .* without training state; .* --init-from"):
        checkpoint.resume(packed, SETTINGS, False)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda arrays: arrays.pop("generator/final/kernel"), "generator/final/kernel is missing"),
        (
            lambda arrays: arrays.update({"generator/final/bias": np.zeros(4)}),
            r"generator/final/bias is \[4\], not \[3\]",
        ),
        (lambda arrays: arrays.update({"more": np.zeros(4)}), "more is unexpected"),
    ],
)
def test_another_model_s_weights_are_refused(change, complaint, packed):
    edit(packed, change)
    with pytest.raises(errors.UserError, match=f"does not hold the model of .*config.yaml: {complaint}"):
        checkpoint.load(packed)


def test_a_damaged_file_is_refused(packed):
    whole = (packed / "weights.npz").read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"no archive"):
        (packed / "weights.npz").write_bytes(damaged)
        with pytest.raises(errors.UserError, match=r"weights\.npz cannot be read: .*; download or copy it again"):
            checkpoint.load(packed)


def test_what_float16_does_not_hold_is_not_packed(run, tmp_path):
    bias = run.model.generator.final.bias
    before = bias.numpy()
    bias.assign([1e6, 0.0, 0.0])
    try:
        with pytest.raises(
            errors.UserError, match="generator/final/bias holds NaN or values beyond the range of float16"
        ):
            checkpoint.pack(tmp_path / "new", run, "for a test")
    finally:
        bias.assign(before)
    assert not (tmp_path / "new").exists()


def test_it_forgets_where_things_lay_on_the_machine_that_made_it(run, tmp_path):
    places = ["data.root=/home/me/videos", "data.cache=/scratch/me", "train.backbone_file=/home/me/vgg19-dcbb9e9d.pth"]
    trained = dataclasses.replace(run, config=config.override(SETTINGS, places))
    checkpoint.pack(tmp_path / "packed", trained, "for a test")
    text = (tmp_path / "packed" / "config.yaml").read_text()
    assert "/home" not in text and "/scratch" not in text
    assert checkpoint.load(tmp_path / "packed").config == SETTINGS

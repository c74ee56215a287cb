"""Packaged models: run directories with float16 weights only."""

import dataclasses
import zipfile

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


def test_pack_rounds_weights_to_float16(run, packed):
    loaded = checkpoint.load(packed, training=True)
    assert (loaded.step, loaded.discriminator, loaded.optimizers) == (7, None, {})
    assert loaded.config == run.config
    for name in run.model.NETWORKS:
        for mine, other in zip(loaded.parts()[name].weights, run.parts()[name].weights, strict=True):
            assert mine.dtype == other.dtype
            np.testing.assert_array_equal(mine, np.asarray(other).astype(np.float16).astype(mine.dtype.as_numpy_dtype))
    assert {file.name for file in packed.iterdir()} == {"config.yaml", "README.txt", "weights.npz"}


def test_packaged_model_animates_like_the_run(run, packed, tmp_path):
    checkpoint.save(tmp_path / "whole", run, "for a test")
    frames = np.random.default_rng(0).random([3, 32, 32, 3], np.float32)
    one, other = (
        np.stack(list(fomm_tf.Animator.load(folder).animate(frames[0], frames)))
        for folder in (tmp_path / "whole", packed)
    )
    np.testing.assert_allclose(one, other, atol=5e-3)


def test_packaged_model_initializes_another_run(run, packed):
    other = checkpoint.build(SETTINGS, optimizers=True)
    assert checkpoint.initialize(other, packed) == []
    kernels = [each.model.generator.final.kernel.numpy() for each in (run, other)]
    np.testing.assert_allclose(*kernels, atol=1e-3)


def test_packaged_model_cannot_be_resumed(packed):
    with pytest.raises(errors.UserError, match=r"is a packaged model .* without training state; .* `init_from`"):
        checkpoint.resume(packed, SETTINGS, False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("generator/final/kernel"), "generator/final/kernel is missing"),
        (
            lambda arrays: arrays.update({"generator/final/bias": np.zeros(4)}),
            r"generator/final/bias is \[4\], not \[3\]",
        ),
        (lambda arrays: arrays.update({"more": np.zeros(4)}), "more is unexpected"),
        (
            lambda arrays: arrays.update({"generator/final/bias": np.array(["a", "b", "c"])}),
            "generator/final/bias must be of numbers; got <U1",
        ),
        (lambda arrays: arrays.update({"epoch": np.zeros(2)}), r"epoch must be a whole number; got float64\[2\]"),
    ],
)
def test_load_rejects_weights_of_another_model(change, message, packed):
    edit(packed, change)
    with pytest.raises(errors.UserError, match=f"does not hold the model of .*config.yaml: {message}"):
        checkpoint.load(packed)


def test_load_rejects_damaged_weights(packed):
    whole = (packed / "weights.npz").read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"not an archive"):
        (packed / "weights.npz").write_bytes(damaged)
        with pytest.raises(errors.UserError, match=r"weights\.npz cannot be read: .*; download or copy it again"):
            checkpoint.load(packed)


@pytest.mark.parametrize(
    "header", [b"", b"{'descr': ('<f2', (", b"{'descr': '<f2', 'fortran_order': False, 'shape': (", b"5"]
)
def test_load_rejects_damaged_array_headers(packed, header):
    with zipfile.ZipFile(packed / "weights.npz", "w") as archive:
        magic = b"\x93NUMPY" if header else b""
        archive.writestr("epoch.npy", magic + b"\x01\x00" + len(header).to_bytes(2, "little") + header)
    for read in (checkpoint.load, lambda folder: checkpoint.read_count(folder, "epoch"), checkpoint.stored_parts):
        with pytest.raises(errors.UserError, match=r"weights\.npz cannot be read: [^\n]*; download or copy it again"):
            read(packed)


def test_pack_rejects_values_beyond_float16(run, tmp_path):
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


def test_pack_removes_local_paths(run, tmp_path):
    paths = ["data.root=/home/me/videos", "data.cache=/scratch/me", "train.backbone_file=/home/me/vgg19-dcbb9e9d.pth"]
    trained = dataclasses.replace(run, config=config.override(SETTINGS, paths))
    checkpoint.pack(tmp_path / "packed", trained, "for a test")
    text = (tmp_path / "packed" / "config.yaml").read_text()
    assert "/home" not in text and "/scratch" not in text
    assert checkpoint.load(tmp_path / "packed").config == SETTINGS

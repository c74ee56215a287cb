"""Run directories that are missing, damaged or of another model."""

import dataclasses
import functools

import pytest
from saved_runs import assert_same_state

from fomm_tf import checkpoint, config, errors
from fomm_tf.checkpoint import runs

pytestmark = pytest.mark.slow


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def load_error(folder, training=False):
    """Loads a directory that must be rejected and left unchanged, and returns the message."""
    before = contents(folder)
    with pytest.raises(errors.UserError) as caught:
        checkpoint.load(folder, training)
    assert contents(folder) == before
    message = str(caught.value)
    assert str(folder) in message and "\n" not in message
    return message


@pytest.fixture
def built_once(monkeypatch):
    """Builds every network once, for speed: rejected directories do not change it."""
    monkeypatch.setattr(runs, "build", build_once)


build_once = functools.cache(checkpoint.build)


def test_load_rejects_missing_directory(tmp_path):
    with pytest.raises(
        errors.UserError, match=r"absent is not a run directory: it does not exist; create one with `fomm convert`"
    ):
        checkpoint.load(tmp_path / "absent")


def test_load_rejects_directory_without_config(tmp_path):
    assert (
        "is not a run directory: it has no config.yaml; create one with `fomm convert` or `fomm train`."
        in load_error(tmp_path)
    )


@pytest.mark.parametrize("names", [["checkpoint"], ["ckpt-5.index"], ["checkpoint", "ckpt-5.index"]])
def test_load_rejects_directory_without_checkpoint(names, folder):
    for name in names:
        (folder / name).unlink()
    assert load_error(folder).endswith("has no checkpoint (ckpt-*.index and the file `checkpoint`).")
    for reader in (checkpoint.newest, checkpoint.stored_shapes, checkpoint.stored_parts):
        with pytest.raises(errors.UserError, match="has no checkpoint"):
            reader(folder)


def test_load_rejects_garbled_checkpoint_file(folder):
    (folder / "checkpoint").write_text("model_checkpoint_path = ckpt-5")
    assert "has no checkpoint" in load_error(folder)
    (folder / "checkpoint").write_bytes(b"\xad\x86")
    assert f"{folder}/checkpoint is not a readable checkpoint: 'utf-8' codec" in load_error(folder)


@pytest.mark.parametrize(("share", "training"), [(0.0, False), (0.3, True), (0.9, False), (0.999, True)])
@pytest.mark.parametrize("name", ["ckpt-5.index", "ckpt-5.data-00000-of-00001"])
def test_load_rejects_truncated_checkpoint(name, share, training, folder, built_once):
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: int(share * len(whole))])
    message = load_error(folder, training)
    assert message.startswith(str(folder / "ckpt-5")) and (
        "is not a readable checkpoint: " in message or "does not hold the model of" in message
    )


def test_load_and_read_count_reject_missing_data(folder, built_once):
    (folder / "ckpt-5.data-00000-of-00001").unlink()
    assert str(folder / "ckpt-5") in load_error(folder)
    with pytest.raises(errors.UserError, match="is not a readable checkpoint: "):
        checkpoint.read_count(folder, "epoch")


def test_load_detects_flipped_bit(folder, run, built_once):
    path = folder / "ckpt-5.data-00000-of-00001"
    kernel = run.model.generator.first.conv.kernel.numpy().tobytes()
    whole = path.read_bytes()
    assert whole.count(kernel) == 1
    path.write_bytes(whole.replace(kernel, bytes([kernel[0] ^ 1]) + kernel[1:]))
    assert "ckpt-5" in load_error(folder)


def test_load_names_unknown_config_key(folder):
    (folder / "config.yaml").write_text("model: {num_kp: 5}")
    assert "config.yaml: model has no key num_kp; the known ones are" in load_error(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("model.generator.num_residual_blocks=1", "it has 14 more tensors for generator."),
        ("model.generator.num_residual_blocks=3", ""),
        ("model.generator.num_down_blocks=1", ""),
        ("model.num_keypoints=4", ""),
        ("model.num_keypoints=6", ""),
        ("model.jacobian=false", "it has 2 more tensors for detector."),
        ("model.occlusion=false", "it has 2 more tensors for dense_motion."),
        ("model.keypoint_detector.single_jacobian_map=true", ""),
        ("model.keypoint_detector.num_blocks=2", ""),
        ("model.keypoint_detector.scale=0.5", ""),
        ("model.motion_scale=1.0", "it has 1 more tensors for dense_motion."),
        ("model.dense_motion.max_features=32", ""),
    ],
)
def test_load_rejects_config_of_another_model(change, what, folder):
    settings = config.load(folder / "config.yaml")
    (folder / "config.yaml").write_text(config.dump(config.override(settings, [change])))
    message = load_error(folder)
    assert message.startswith(f"{folder}/ckpt-5 does not hold the model of {folder}/config.yaml: ")
    assert message.endswith(what) and len(message) < len(str(folder)) * 2 + 500


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        "model.discriminator.num_blocks=3",
        "model.discriminator.num_blocks=5",
        "model.discriminator.spectral_norm=false",
        "model.discriminator.use_keypoints=false",
        "model.discriminator.scales=[1, 0.5]",
    ],
)
def test_load_for_training_rejects_config_of_another_discriminator(change, folder):
    settings = config.override(config.load(folder / "config.yaml"), ["model.frame_size=[128, 128]"])
    (folder / "config.yaml").write_text(config.dump(config.override(settings, [change])))
    assert "does not hold the model of" in load_error(folder, training=True)


def test_load_for_animation_ignores_config_of_another_discriminator(folder):
    settings = config.override(config.load(folder / "config.yaml"), ["model.discriminator.num_blocks=3"])
    (folder / "config.yaml").write_text(config.dump(settings))
    assert checkpoint.load(folder).epoch == 5


def test_load_accepts_config_changes_that_do_not_affect_tensors(folder, run):
    changes = ["model.align_corners=false", "model.frame_size=[128, 64]", "train.epochs=7"]
    settings = config.override(run.config, changes)
    (folder / "config.yaml").write_text(config.dump(settings))
    loaded = checkpoint.load(folder, training=True)
    assert loaded.config == settings
    assert_same_state(dataclasses.replace(loaded, config=run.config), run)

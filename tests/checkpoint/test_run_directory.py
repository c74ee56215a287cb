"""Run directories: bit-identical round trips, and errors that leave damaged or unsuitable directories unchanged."""

import dataclasses
import functools
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import checkpoint, config, errors, torch_import, weights
from fomm_tf.checkpoint import runs
from fomm_tf.inference import animator

pytestmark = pytest.mark.slow

DATA = pathlib.Path(__file__).parent.parent / "parity" / "data"
PROVENANCE = "Converted from a test."


def make_run(name="tiny-step5", settings="tiny"):
    tree = weights.load(DATA / f"{name}-checkpoint.pth.tar")
    return torch_import.import_checkpoint(tree, str(DATA / f"{settings}.yaml"), True, name)


@pytest.fixture(scope="module")
def run():
    """Five steps of training, with discriminator and moments. Tests must not modify it."""
    return make_run()


@pytest.fixture(scope="module")
def saved(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "run"
    checkpoint.save(folder, run, PROVENANCE)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the run directory, to damage."""
    return pathlib.Path(shutil.copytree(saved, tmp_path / "run"))


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


def render(run):
    data = np.load(DATA / "inference.npz")
    model = animator.Animator(run.model, run.config)
    driving = model.detect(data["driving"])
    return driving, model.render(model.encode_source(data["source"]), driving, details=True)


def leaves(tree, path=""):
    if isinstance(tree, (dict, list)):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from leaves(value, f"{path}/{key}")
    else:
        yield path, tree


def assert_same_state(left, right):
    ones, others = (dict(leaves(torch_import.export_checkpoint(run))) for run in (left, right))
    assert list(ones) == list(others)
    for path, one in ones.items():
        np.testing.assert_array_equal(one, others[path], err_msg=path)


# Round trips ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("model", ["tiny-step5", "single-jacobian", "wide", "zero-order"])
def test_save_and_load_are_bit_identical(model, run, tmp_path):
    run = run if model == "tiny-step5" else make_run(model, model)
    checkpoint.save(tmp_path / "run", run, PROVENANCE)
    loaded = checkpoint.load(tmp_path / "run", training=True)
    assert loaded.config == run.config and loaded.epoch == run.epoch
    assert set(loaded.optimizers) == set(run.optimizers)
    assert_same_state(loaded, run)


def test_loaded_run_renders_the_same_bits(run, saved):
    for left, right in zip(render(run), render(checkpoint.load(saved)), strict=True):
        for name, one, other in zip(left._fields, left, right, strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=name)
    assert left.prediction.shape == (3, 64, 64, 3)


def test_save_writes_the_documented_files(saved, run):
    names = sorted(path.name for path in saved.iterdir())
    assert names == ["README.txt", "checkpoint", "ckpt-5.data-00000-of-00001", "ckpt-5.index", "config.yaml"]
    assert (saved / "README.txt").read_text() == PROVENANCE + "\n"
    assert config.load(saved / "config.yaml") == run.config
    assert "/" not in (saved / "checkpoint").read_text()
    assert checkpoint.read_count(saved, "epoch") == 5 and checkpoint.newest(saved) == str(saved / "ckpt-5")
    assert saved.stat().st_mode & 0o777 == 0o755


def test_stored_shapes_does_not_read_tensors(folder, run):
    (folder / "ckpt-5.data-00000-of-00001").unlink()
    shapes = checkpoint.stored_shapes(folder)
    for part in run.model.NETWORKS:
        network = getattr(run.model, part)
        found = [shape for name, shape in shapes.items() if name.startswith(f"{part}/")]
        assert sorted(found) == sorted(tuple(weight.shape) for weight in network.weights)
    assert shapes["epoch"] == ()


def test_load_for_training_includes_discriminator_and_optimizers(saved):
    plain, training = checkpoint.load(saved), checkpoint.load(saved, training=True)
    assert plain.discriminator is None and plain.optimizers == {} and plain.epoch == 5
    assert training.discriminator is not None and training.epoch == 5
    assert set(training.optimizers) == {"generator", "detector", "discriminator"}
    assert all(stepper.iterations == 5 for stepper in training.optimizers.values())


def test_load_for_training_without_discriminator_and_optimizers(tmp_path):
    checkpoint.save(tmp_path / "run", make_run("tiny-legacy-cuda"), PROVENANCE)
    loaded = checkpoint.load(tmp_path / "run", training=True)
    assert loaded.discriminator is None and loaded.optimizers == {}


def test_load_restores_learning_rates(tmp_path):
    run = make_run()
    run.optimizers["detector"].learning_rate = 2e-5
    checkpoint.save(tmp_path / "run", run, PROVENANCE)
    loaded = checkpoint.load(tmp_path / "run", training=True)
    assert loaded.optimizers["detector"].learning_rate == np.float32(2e-5)
    assert loaded.optimizers["generator"].learning_rate == np.float32(2e-4)


def test_load_uses_the_newest_checkpoint(folder, tmp_path):
    later = make_run()
    later.epoch = 12
    later.model.generator.final.bias.assign([1.0, 2.0, 3.0])
    checkpoint.save(tmp_path / "later", later, PROVENANCE)
    for path in [*(tmp_path / "later").glob("ckpt-12*"), tmp_path / "later" / "checkpoint"]:
        shutil.copy(path, folder)
    loaded = checkpoint.load(folder)
    assert loaded.epoch == checkpoint.read_count(folder, "epoch") == 12
    np.testing.assert_array_equal(loaded.model.generator.final.bias, [1.0, 2.0, 3.0])


# Paths ----------------------------------------------------------------------------------------------------------------


def test_run_directory_can_be_renamed_moved_and_copied(folder, run, tmp_path, monkeypatch):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    moved = folder.rename(tmp_path / "deep" / "er" / "a b.run")
    copy = shutil.copytree(moved, tmp_path / "copy")
    assert_same_state(checkpoint.load(moved, training=True), run)
    shutil.rmtree(moved)
    monkeypatch.chdir(tmp_path)
    assert_same_state(checkpoint.load("copy", training=True), run)
    monkeypatch.chdir(copy)
    assert checkpoint.load(".").epoch == 5


def test_run_saved_at_relative_path_loads_from_elsewhere(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint.save("runs/new", run, PROVENANCE)
    monkeypatch.chdir("/")
    assert checkpoint.load(tmp_path / "runs" / "new").epoch == 5


def test_save_writes_into_empty_directory(run, tmp_path):
    (tmp_path / "run").mkdir()
    checkpoint.save(tmp_path / "run", run, PROVENANCE)
    assert checkpoint.read_count(tmp_path / "run", "epoch") == 5 and os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_save_does_not_overwrite(kind, run, tmp_path):
    target = tmp_path / "run"
    if kind == "folder":
        target.mkdir()
    thing = target / "thesis.txt" if kind == "folder" else target
    thing.write_text("mine")
    with pytest.raises(errors.UserError) as caught:
        checkpoint.save(target, run, PROVENANCE)
    assert str(caught.value) == f"{target} already exists; choose another directory, or delete it first."
    assert thing.read_text() == "mine" and os.listdir(tmp_path) == ["run"]


def test_save_rejects_path_below_a_file(run, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(errors.UserError, match=r"^cannot write .*: .*file is not a directory; choose another place\.$"):
        checkpoint.save(tmp_path / "file" / "run", run, PROVENANCE)
    assert (tmp_path / "file").read_text() == "mine"


FULL = tf.errors.ResourceExhaustedError(None, None, "No space left on device")


@pytest.mark.parametrize(
    ("exception", "raised", "message"),
    [
        (FULL, errors.UserError, "Cannot write the weights to {target}: No space left on device."),
        (
            OSError(28, "No space left on device"),
            errors.UserError,
            "cannot write {target} (No space left on device); free some space",
        ),
        (KeyboardInterrupt(), KeyboardInterrupt, ""),
        (RuntimeError("a bug"), RuntimeError, "a bug"),
    ],
)
def test_failed_save_leaves_nothing(exception, raised, message, run, tmp_path, monkeypatch):
    write = tf.train.Checkpoint.write

    def fail(*args, **kwargs):
        write(*args, **kwargs)
        (work,) = tmp_path.iterdir()
        assert work.name.startswith(".fomm-") and {"config.yaml", "README.txt"} < set(os.listdir(work / "run"))
        raise exception

    monkeypatch.setattr(tf.train.Checkpoint, "write", fail)
    with pytest.raises(raised) as caught:
        checkpoint.save(tmp_path / "run", run, PROVENANCE)
    assert str(caught.value).startswith(message.format(target=tmp_path / "run"))
    assert os.listdir(tmp_path) == []


@pytest.fixture
def built_once(monkeypatch):
    """Builds every network once, for speed: rejected directories do not change it."""
    monkeypatch.setattr(runs, "build", build_once)


build_once = functools.cache(checkpoint.build)


# Damage ---------------------------------------------------------------------------------------------------------------


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


# Another model --------------------------------------------------------------------------------------------------------


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

"""Run directories: bit-identical round trips, moved and copied directories, and saves that fail."""

import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from saved_runs import DATA, PROVENANCE, assert_same_state, make_run

from fomm_tf import checkpoint, config, errors
from fomm_tf.inference import animator

pytestmark = pytest.mark.slow


def render(run):
    data = np.load(DATA / "inference.npz")
    model = animator.Animator(run.model, run.config)
    driving = model.detect(data["driving"])
    return driving, model.render(model.encode_source(data["source"]), driving, details=True)


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

"""Checkpoints of a run that trains, through kills and full disks; resuming and initializing runs."""

import json
import os
import pathlib
import resource
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import checkpoint, config, errors
from fomm_tf.checkpoint import runs

pytestmark = pytest.mark.slow

SMALL = pathlib.Path(__file__).parent.parent / "training" / "small.yaml"
PROVENANCE = "Trained in a test."


@pytest.fixture(scope="module")
def run():
    return checkpoint.build(config.load(SMALL), optimizers=True)


@pytest.fixture
def folder(run, tmp_path):
    checkpoint.describe(tmp_path, run.config, PROVENANCE)
    return tmp_path


def train_to(run, step):
    """Sets the step, and a weight to the same value."""
    run.step = step
    run.model.generator.final.bias.assign([float(step)] * 3)


def names(folder):
    return sorted(path.stem for path in folder.glob("ckpt-*.index"))


def bias(folder):
    """The weight that `train_to` sets, read without building the model."""
    stored = tf.train.load_variable(checkpoint.newest(folder), "generator/final/bias/.ATTRIBUTES/VARIABLE_VALUE")
    return float(stored[0])


def test_manager_keeps_newest_checkpoints(run, folder):
    manager = checkpoint.CheckpointManager(folder, run, keep=2)
    for step in (5, 10, 15):
        train_to(run, step)
        manager.save()
        assert checkpoint.newest(folder) == str(folder / f"ckpt-{step}")
    assert names(folder) == ["ckpt-10", "ckpt-15"] and bias(folder) == 15
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["README.txt", "config.yaml", "checkpoint"]
        + [f"ckpt-{step}.{end}" for step in (10, 15) for end in ("index", "data-00000-of-00001")]
    )


def test_manager_of_resumed_run_knows_earlier_checkpoints(run, folder):
    for step in (5, 10, 15):
        train_to(run, step)
        checkpoint.CheckpointManager(folder, run, keep=2).save()
    assert names(folder) == ["ckpt-10", "ckpt-15"]


def test_mark_best_writes_a_run_directory_that_stays(run, folder):
    manager = checkpoint.CheckpointManager(folder, run, keep=1)
    for step, best in ((5, True), (10, True), (15, False), (20, False)):
        train_to(run, step)
        manager.save()
        if best:
            manager.mark_best()
    assert names(folder) == ["ckpt-20"] and bias(folder) == 20
    assert names(folder / checkpoint.BEST) == ["ckpt-10"] and bias(folder / checkpoint.BEST) == 10
    assert (folder / "best" / "README.txt").read_text() == PROVENANCE + "\n"
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_mark_best_uses_hard_links(run, folder):
    manager = checkpoint.CheckpointManager(folder, run, keep=1)
    train_to(run, 5)
    manager.save()
    manager.mark_best()
    data = "ckpt-5.data-00000-of-00001"
    assert (folder / data).stat().st_ino == (folder / "best" / data).stat().st_ino


def test_mark_best_copies_without_hard_links(run, folder, monkeypatch):
    def refuse(*paths):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    manager = checkpoint.CheckpointManager(folder, run, keep=1)
    train_to(run, 5)
    manager.save()
    manager.mark_best()
    assert bias(folder / "best") == 5


def test_full_disk_keeps_the_previous_checkpoint(run, folder):
    manager = checkpoint.CheckpointManager(folder, run, keep=1)
    train_to(run, 5)
    manager.save()
    train_to(run, 10)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(errors.UserError) as caught:
            manager.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    message = str(caught.value)
    assert message.startswith(f"Cannot write the checkpoint of step 10 to {folder}: ") and "\n" not in message
    assert "the last good one is ckpt-5. Free disk space, then continue with `resume`." in message
    assert names(folder) == ["ckpt-5"] and bias(folder) == 5
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    manager.save()
    assert names(folder) == ["ckpt-10"]


# Saves ckpt-5, then is killed at some moment while it saves ckpt-10 and marks it as the best. One process per moment,
# forked from one that has loaded TensorFlow but not used it yet.
KILLED = """
import json, os, pathlib, signal, sys
import tensorflow as tf
from fomm_tf import checkpoint, config

def train(folder, moment):
    run = checkpoint.build(config.load(sys.argv[2]))
    checkpoint.describe(folder, run.config, "provenance")
    manager = checkpoint.CheckpointManager(folder, run, keep=1)
    run.step = 5
    manager.save()
    manager.mark_best()
    run.step = 10
    die = lambda: os.kill(os.getpid(), signal.SIGKILL)
    replace, rename = os.replace, pathlib.Path.rename
    if moment == "while writing":
        def cut(self, prefix, *rest):
            pathlib.Path(prefix + ".data-00000-of-00001").write_bytes(b"half")
            die()
        tf.train.Checkpoint.write = cut
    ends = {"before the data": ".data-00000-of-00001", "before the index": ".index", "before the state": "checkpoint"}
    if moment in ends:
        os.replace = lambda source, target: die() if str(target).endswith(ends[moment]) else replace(source, target)
    if moment == "before the old one is deleted":
        unlink = pathlib.Path.unlink
        pathlib.Path.unlink = lambda self, **rest: die() if self.name.startswith("ckpt") else unlink(self, **rest)
    if moment == "while the best is replaced":
        def once(self, target):
            rename(self, target)
            die()
        pathlib.Path.rename = once
    manager.save()
    manager.mark_best()

ends = {}
for moment in sys.argv[3:]:
    folder = pathlib.Path(sys.argv[1], moment)
    folder.mkdir()
    if not (child := os.fork()):
        train(folder, moment)
        os._exit(0)
    ends[moment] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps(ends))
"""


MOMENTS = {
    "while writing": 5,
    "before the data": 5,
    "before the index": 5,
    "before the state": 5,
    "before the old one is deleted": 10,
    "while the best is replaced": 10,
}


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The parent of the run directories, and moment -> exit code."""
    parent = tmp_path_factory.mktemp("killed")
    done = subprocess.run([sys.executable, "-c", KILLED, parent, SMALL, *MOMENTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return parent, json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "expected"), MOMENTS.items())
def test_kill_at_any_moment_leaves_a_good_checkpoint(moment, expected, killed, run):
    parent, ends = killed
    folder = parent / moment
    assert ends[moment] == -9
    assert checkpoint.load(folder).step == expected
    if moment != "while the best is replaced":
        assert checkpoint.load(folder / "best").step == 5
    train_to(run, 15)
    manager = checkpoint.CheckpointManager(folder, run, keep=1)
    manager.save()
    manager.mark_best()
    # A checkpoint that was complete but not listed yet, or not deleted yet, stays: only listed ones are deleted.
    stays = {"before the state": ["ckpt-10"], "before the old one is deleted": ["ckpt-5"]}.get(moment, [])
    assert names(folder) == sorted([*stays, "ckpt-15"])
    assert names(folder / "best") == ["ckpt-15"] and bias(folder / "best") == 15
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


# Resuming and initializing --------------------------------------------------------------------------------------------


def weights_of(run):
    return {name: [np.array(weight) for weight in network.get_weights()] for name, network in run.parts().items()}


def assert_same(one, other):
    for name, values in one.items():
        for mine, theirs in zip(values, other[name], strict=True):
            np.testing.assert_array_equal(mine, theirs, err_msg=name)


def test_resume_initializes_and_names_missing_parts(run, folder):
    train_to(run, 5)
    checkpoint.CheckpointManager(folder, runs.Run(run.config, run.model, step=5), keep=1).save()
    resumed, missing = checkpoint.resume(folder, run.config, discriminator=True)
    assert resumed.step == 5
    assert missing == ["discriminator", "Adam of the generator", "Adam of the detector", "Adam of the discriminator"]
    own = weights_of(run)
    assert_same(own, {name: weights_of(resumed)[name] for name in own})


def test_initialize_copies_weights_to_another_size_and_scale(run, tmp_path):
    checkpoint.save(tmp_path / "other", run, PROVENANCE)
    changes = ["model.frame_size=[64,96]", "model.motion_scale=0.5", "model.keypoint_detector.scale=0.5"]
    new = checkpoint.build(config.override(run.config, changes), discriminator=True, optimizers=True)
    initial = weights_of(new)
    assert checkpoint.initialize(new, tmp_path / "other") == ["discriminator"]
    assert new.step == 0 and int(new.optimizers["generator"].iterations) == 0
    copied = weights_of(new)
    assert_same({"generator": weights_of(run)["generator"]}, copied)
    assert_same({"discriminator": initial["discriminator"]}, copied)
    # The anti-alias kernels, which the other run does not have at scale 1, stay as initialized.
    without = [weight for weight in new.model.detector.weights if weight is not new.model.detector.antialias.kernel]
    assert len(without) == len(run.model.detector.weights)
    for mine, theirs in zip(without, run.model.detector.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_initialize_copies_matching_discriminator(tmp_path):
    settings = config.load(SMALL)
    other = checkpoint.build(settings, discriminator=True)
    checkpoint.save(tmp_path / "other", other, PROVENANCE)
    new = checkpoint.build(settings, discriminator=True, optimizers=True)
    assert checkpoint.initialize(new, tmp_path / "other") == []
    assert_same(weights_of(other), weights_of(new))


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("model.num_keypoints=5", "model.num_keypoints is 3 there and 5 here"),
        ("model.occlusion=false", "model.occlusion is True there and False here"),
        ("model.generator.max_features=8", "model.generator.max_features is 16 there and 8 here"),
    ],
)
def test_initialize_rejects_weights_of_another_model(change, difference, run, tmp_path):
    checkpoint.save(tmp_path / "other", run, PROVENANCE)
    new = checkpoint.build(config.override(run.config, [change]))
    with pytest.raises(errors.UserError) as caught:
        checkpoint.initialize(new, tmp_path / "other")
    assert str(caught.value).startswith(f"{tmp_path / 'other'} has another model than the config: {difference}; copy")


def test_resume_restores_loss_scale(folder):
    settings = config.load(SMALL)
    scaled = tf.keras.mixed_precision.LossScaleOptimizer

    def build():
        run = checkpoint.build(settings, optimizers=True)
        run.optimizers = {name: scaled(inner, initial_scale=2.0**10) for name, inner in run.optimizers.items()}
        return run

    one = build()
    one.optimizers["generator"]._loss_scale.current_loss_scale.assign(64.0)
    one.step = 5
    checkpoint.CheckpointManager(folder, one, keep=1).save()
    resumed, missing = checkpoint.resume(folder, settings, discriminator=False)
    assert missing == []
    assert float(scaled(resumed.optimizers["generator"]).loss_scale) == 64.0


@pytest.mark.parametrize(("scale", "is_copied"), [(0.5, True), (0.25, False)])
def test_initialize_copies_antialias_kernels_of_the_same_size(scale, is_copied, tmp_path):
    def build(scale):
        changes = [f"model.motion_scale={scale}", "model.frame_size=[64,64]", f"model.keypoint_detector.scale={scale}"]
        return checkpoint.build(config.override(config.load(SMALL), changes))

    other, new = build(0.5), build(scale)
    other.model.detector.antialias.kernel.assign_add(tf.ones_like(other.model.detector.antialias.kernel))
    checkpoint.save(tmp_path / "other", other, PROVENANCE)
    initial = new.model.detector.antialias.kernel.numpy()
    assert checkpoint.initialize(new, tmp_path / "other") == []
    expected = other.model.detector.antialias.kernel if is_copied else initial
    np.testing.assert_array_equal(new.model.detector.antialias.kernel, expected)

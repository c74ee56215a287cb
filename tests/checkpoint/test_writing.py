"""The checkpoints of a run that trains: the newest ones and the best, whatever interrupts."""

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
from fomm_tf.checkpoint import run as runs

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
    """As if trained: the step shows in a weight."""
    run.step = step
    run.model.generator.final.bias.assign([float(step)] * 3)


def names(folder):
    return sorted(path.stem for path in folder.glob("ckpt-*.index"))


def bias(folder):
    return float(checkpoint.load(folder).model.generator.final.bias[0])


def test_the_newest_are_kept_and_older_ones_go(run, folder):
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


def test_a_run_that_goes_on_knows_what_was_kept(run, folder):
    for step in (5, 10, 15):
        train_to(run, step)
        checkpoint.CheckpointManager(folder, run, keep=2).save()
    assert names(folder) == ["ckpt-10", "ckpt-15"]


def test_the_best_is_a_run_folder_of_its_own_that_stays(run, folder):
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


def test_the_best_takes_no_room_of_its_own_where_there_are_links(run, folder):
    manager = checkpoint.CheckpointManager(folder, run, keep=1)
    train_to(run, 5)
    manager.save()
    manager.mark_best()
    data = "ckpt-5.data-00000-of-00001"
    assert (folder / data).stat().st_ino == (folder / "best" / data).stat().st_ino


def test_where_there_are_no_links_the_best_is_copied(run, folder, monkeypatch):
    def refuse(*paths):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    manager = checkpoint.CheckpointManager(folder, run, keep=1)
    train_to(run, 5)
    manager.save()
    manager.mark_best()
    assert bias(folder / "best") == 5


def test_a_full_disk_costs_the_new_checkpoint_only(run, folder):
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
    assert "the last good one is ckpt-5. Free disk space, then continue with --resume." in message
    assert names(folder) == ["ckpt-5"] and bias(folder) == 5
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    manager.save()
    assert names(folder) == ["ckpt-10"]


# Saves ckpt-5, then is killed at a moment while it saves ckpt-10 and marks it as the best: a process a moment, all of
# them forked from one that has loaded TensorFlow, but not used it yet.
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
    if moment == "before the old one goes":
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
    "before the old one goes": 10,
    "while the best is replaced": 10,
}


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder of the run folders, and moment -> how its process ended."""
    place = tmp_path_factory.mktemp("killed")
    done = subprocess.run([sys.executable, "-c", KILLED, place, SMALL, *MOMENTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return place, json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "expected"), MOMENTS.items())
def test_a_kill_at_any_moment_leaves_a_good_checkpoint(moment, expected, killed, run):
    place, ends = killed
    folder = place / moment
    assert ends[moment] == -9
    assert checkpoint.load(folder).step == expected
    if moment != "while the best is replaced":
        assert checkpoint.load(folder / "best").step == 5
    train_to(run, 15)
    manager = checkpoint.CheckpointManager(folder, run, keep=1)
    manager.save()
    manager.mark_best()
    # One that was complete and not listed yet, or not deleted yet, stays: only what the folder lists is deleted.
    stays = {"before the state": ["ckpt-10"], "before the old one goes": ["ckpt-5"]}.get(moment, [])
    assert names(folder) == sorted([*stays, "ckpt-15"])
    assert names(folder / "best") == ["ckpt-15"] and bias(folder / "best") == 15
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


# Starting -----------------------------------------------------------------------------------------------------------


def weights_of(run):
    return {name: [np.array(weight) for weight in network.get_weights()] for name, network in run.parts().items()}


def assert_same(one, other):
    for name, values in one.items():
        for mine, theirs in zip(values, other[name], strict=True):
            np.testing.assert_array_equal(mine, theirs, err_msg=name)


def test_what_the_checkpoint_lacks_starts_anew_and_is_named(run, folder):
    train_to(run, 5)
    checkpoint.CheckpointManager(folder, runs.Run(run.config, run.model, step=5), keep=1).save()
    resumed, anew = checkpoint.resume(folder, run.config, discriminator=True)
    assert resumed.step == 5
    assert anew == ["discriminator", "Adam of the generator", "Adam of the detector", "Adam of the discriminator"]
    own = weights_of(run)
    assert_same(own, {name: weights_of(resumed)[name] for name in own})


def test_another_run_s_weights_begin_a_new_one_at_another_size_and_scale(run, tmp_path):
    checkpoint.save(tmp_path / "other", run, PROVENANCE)
    changes = ["model.frame_size=[64,96]", "model.motion_scale=0.5", "model.keypoint_detector.scale=0.5"]
    new = checkpoint.build(config.override(run.config, changes), discriminator=True, optimizers=True)
    drawn = weights_of(new)
    assert checkpoint.initialize(new, tmp_path / "other") == ["discriminator"]
    assert new.step == 0 and int(new.optimizers["generator"].iterations) == 0
    made = weights_of(new)
    assert_same({"generator": weights_of(run)["generator"]}, made)
    assert_same({"discriminator": drawn["discriminator"]}, made)
    # The anti-alias kernels, which the other run has none of at scale 1, are the config's.
    without = [weight for weight in new.model.detector.weights if weight is not new.model.detector.antialias.kernel]
    assert len(without) == len(run.model.detector.weights)
    for mine, theirs in zip(without, run.model.detector.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_discriminator_that_fits_is_taken_over(tmp_path):
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
def test_another_model_s_weights_are_refused(change, difference, run, tmp_path):
    checkpoint.save(tmp_path / "other", run, PROVENANCE)
    new = checkpoint.build(config.override(run.config, [change]))
    with pytest.raises(errors.UserError) as caught:
        checkpoint.initialize(new, tmp_path / "other")
    assert str(caught.value).startswith(f"{tmp_path / 'other'} has another model than the config: {difference}; copy")


def test_a_loss_scale_is_part_of_the_checkpoint(folder):
    settings = config.load(SMALL)
    scaled = tf.keras.mixed_precision.LossScaleOptimizer

    def build():
        made = checkpoint.build(settings, optimizers=True)
        made.optimizers = {name: scaled(inner, initial_scale=2.0**10) for name, inner in made.optimizers.items()}
        return made

    one = build()
    one.optimizers["generator"]._loss_scale.current_loss_scale.assign(64.0)
    one.step = 5
    checkpoint.CheckpointManager(folder, one, keep=1).save()
    resumed, anew = checkpoint.resume(folder, settings, discriminator=False)
    assert anew == []
    assert float(scaled(resumed.optimizers["generator"]).loss_scale) == 64.0

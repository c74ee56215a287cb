"""What fine-tuning adds to training: a frozen detector, and early stopping with the best weights kept."""

import numpy as np
import pytest
import tensorflow as tf

import fomm_tf
from fomm_tf import checkpoint, errors
from fomm_tf.models import blocks
from fomm_tf.training import loop, reporting, samples, setup

pytestmark = pytest.mark.slow

SCORES = (0.05, 0.03, 0.04, 0.031)
OVERRIDES = ("train.steps=9", "train.test_steps=1", "train.pyramid_scales=[1.0]", "train.lr_decay_fractions=[]")


@pytest.fixture
def scores(monkeypatch):
    """Replaces the results of validations by `SCORES`."""
    remaining = iter(SCORES)

    class Validator:
        def __init__(self, *arguments):
            pass

        def __call__(self):
            return samples.Score(next(remaining), 0.1)

    monkeypatch.setattr(samples, "Validator", Validator)


def train(settings, folder, strategy, **changes):
    lines = []
    loop.run(settings, folder, strategy=strategy, report=lines.append, **changes)
    return "\n".join(lines)


def differing(network, other):
    """Names of the variables of a network that another one has with other values."""
    pairs = zip(network.variables, other.variables, strict=True)
    return [variable.name for variable, value in pairs if not np.array_equal(variable, value)]


def test_run_with_frozen_detector_and_patience_ends_early(make_config, one_replica, scores, tmp_path):
    start, folder = tmp_path / "start", tmp_path / "run"
    checkpoint.save(start, checkpoint.build(make_config()), "")
    settings = make_config(*OVERRIDES, "train.freeze_detector=true", "train.patience=2")
    lines = train(settings, folder, one_replica, init_from=start)

    assert "ended early at step 3 of 9, as train.patience asks" in lines
    best = f"the best L1 on unseen clips is {SCORES[1]:.4f}, at step 1; at step 0 it was {SCORES[0]:.4f}"
    assert lines.endswith(f"{best}; these weights are in {folder / 'best'}")
    assert [row.split(",")[0] for row in (folder / "history.csv").read_text().splitlines()] == ["step", *"0123"]
    assert checkpoint.read_count(folder / "best", "step") == 1

    before, after = checkpoint.load(start, training=True), checkpoint.load(folder, training=True)
    assert after.step == 3 and "equivariance" not in lines
    assert not differing(after.model.detector, before.model.detector)
    for network in ("dense_motion", "generator"):
        ours, theirs = getattr(after.model, network), getattr(before.model, network)
        assert set(differing(ours, theirs)) >= {variable.name for variable in ours.trainable_variables}
    counts = {name: int(optimizer.iterations) for name, optimizer in after.optimizers.items()}
    assert counts == {"generator": 3, "detector": 0}

    unchanged = {path: path.read_bytes() for path in folder.glob("*.*")}
    ended = train(None, folder, one_replica, resume=True)
    assert ended == f"{folder} ended early: {best}; to train longer, resume with train.patience=4 or null"
    assert {path: path.read_bytes() for path in folder.glob("*.*")} == unchanged

    # With a frozen detector too, a checkpoint has all that training it later needs.
    resumed, missing = checkpoint.resume(folder, make_config(), discriminator=False)
    assert not missing and len(resumed.trainable("detector")) == len(before.trainable("detector"))


def test_compile_with_frozen_detector_and_statistics_trains_the_rest(make_config, puppets):
    settings = make_config("train.pyramid_scales=[1.0]", "train.batch_size=2")
    model = fomm_tf.FirstOrderMotionModel(settings.model)
    trained = [*model.dense_motion.trainable_variables, *model.generator.trainable_variables]
    before = [(variable, variable.numpy()) for variable in model.weights]
    model.compile(settings, freeze_detector=True, freeze_statistics=True)
    model.fit(fomm_tf.training_dataset(puppets, (32, 32), 2), steps_per_epoch=1, verbose=0)
    changed = {variable.ref() for variable, value in before if not np.array_equal(variable, value)}
    assert changed == {variable.ref() for variable in trained}


@pytest.mark.parametrize(("name", "value"), [("trainable", False), ("keep_statistics", True)])
def test_frozen_batch_norm_uses_and_keeps_its_moving_statistics(name, value):
    layer, inputs = blocks.BatchNorm(), tf.random.stateless_normal([2, 3, 3, 4], [0, 0])
    layer(inputs)
    layer.moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    setattr(layer, name, value)
    np.testing.assert_array_equal(layer(inputs, training=True), layer(inputs, training=False))
    np.testing.assert_array_equal(layer.moving_mean, [1.0, 2.0, 3.0, 4.0])
    assert int(layer.batches) == 0


def test_patience_without_test_clips_is_an_error(make_config, one_replica, puppets, tmp_path):
    (tmp_path / "train").symlink_to(puppets / "train")
    settings = make_config(f"data.root={tmp_path}", "train.patience=2")
    with pytest.raises(errors.UserError, match=r"train\.patience is 2, but there is no clip to test on; add clips"):
        setup.prepare(settings, one_replica, None, None, lambda line: None)


def test_history_counts_validations_since_the_best(tmp_path):
    history = reporting.History(tmp_path / "history.csv", 0)
    assert not history.is_exhausted(1) and history.since_best == 0
    for step, l1 in enumerate((0.3, 0.2, 0.2, 0.25)):
        history.add(step, samples.Score(l1, 0.5))
    assert history.since_best == 2 and history.is_exhausted(2)
    assert not history.is_exhausted(3) and not history.is_exhausted(None)
    assert history.describe() == "the best L1 on unseen clips is 0.2000, at step 1; at step 0 it was 0.3000"
    reopened = reporting.History(tmp_path / "history.csv", 0)
    assert reopened.describe() == "no later L1 on unseen clips is lower than the 0.3000 of step 0"

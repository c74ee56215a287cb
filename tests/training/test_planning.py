"""Recipes for a user's own clips, the dry run and the learning rate test."""

import types

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import checkpoint, config, errors
from fomm_tf.training import loop, planning


def test_choose_plan_by_start_size_and_machine():
    plan = planning.choose_plan(720, checkpoint.BUNDLED, False)
    assert plan.settings == checkpoint.read_config(checkpoint.BUNDLED) and "people-256" in plan.reason

    def recipe(*arguments):
        return planning.choose_plan(*arguments).settings

    recipes = config.recipes()
    assert recipe(720, None, True) == config.load(recipes["face-128"])
    assert recipe(720, None, False) == recipe(80, None, True) == config.load(recipes["face-64"])


def test_choose_personal_plan_lowers_rates_and_stops_early():
    plan, recipe = planning.choose_personal_plan(checkpoint.BUNDLED), checkpoint.read_config(checkpoint.BUNDLED)
    changes = config.differences(recipe, plan.settings)
    others = {"train.patience", "train.freeze_statistics", "train.test_frames"}
    assert {key for key in changes if "learning_rate" not in key} == others
    assert all(now == pytest.approx(before / 10) for key, (before, now) in changes.items() if "learning_rate" in key)
    assert (plan.most_steps, plan.tests, plan.init_from) == (500, 10, checkpoint.BUNDLED)


def test_plan_replaces_a_backbone_whose_file_is_not_given(tmp_path):
    for file, expected in ((None, "efficientnet_lite0"), ("vgg19.pth", "vgg19")):
        train = config.TrainConfig(backbone="vgg19", backbone_file=file, feature_scales=(1, 1, 1, 1, 1))
        (tmp_path / "config.yaml").write_text(config.dump(config.Config(train=train)))
        plan = planning.choose_plan(256, tmp_path, False)
        assert plan.settings.train.backbone == expected and (expected in plan.reason) == (file is None)
        assert (plan.settings.train.feature_scales is None) == (file is None)


@pytest.mark.slow
def test_dry_run_and_learning_rate_test_report_and_write_nothing(make_config, one_replica, tmp_path, monkeypatch):
    lines = []
    folder = tmp_path / "run"
    changes = ["train.pyramid_scales=[1.0]", "train.loss_weights.equivariance_value=0", "train.steps=100"]
    loop.run(make_config("train.dry_run=true", *changes), folder, strategy=one_replica, report=lines.append)
    text = "\n".join(lines)
    assert "s per step of 4 pairs" in text and "memory peak" in text and "100 steps take about" in text

    monkeypatch.setattr(planning, "_RATES", 8)
    settings = make_config("train.learning_rate_test=true", *changes)
    loop.run(settings, folder, strategy=one_replica, report=lines.append)
    assert lines[-1].startswith("suggestion: train.learning_rate_generator=")
    assert not folder.exists()


@pytest.mark.slow
def test_plan_training_takes_the_steps_that_fit_the_time(make_config, puppets, monkeypatch):
    settings = make_config()
    monkeypatch.setattr(planning, "dry_run", lambda session, report: 0.5)
    lines = []
    plan = planning.Plan(settings, None, "")
    chosen = planning.plan_training(plan, puppets, 10.0, ["train.batch_size=2"], lines.append)
    assert chosen.train.steps == int(10 * 60 * 0.85 / 0.5) and chosen.train.test_steps == chosen.train.steps // 6
    assert (chosen.train.batch_size, chosen.data.root, chosen.model) == (2, str(puppets), settings.model)
    assert lines == [f"{chosen.train.steps} steps of 2 pairs take about 10 min, with tests and pictures"]
    assert np.isclose(chosen.data.augment.brightness, 0.1)


def try_rates(monkeypatch, losses):
    """Tries learning rates with a step that yields these losses; returns the rate of each step, and the lines."""
    rate, rates, lines = tf.Variable(0.0), [], []

    def train_step(batch, number):
        assert int(number) == 7 + len(rates)
        rates.append(float(rate))
        return {"perceptual": tf.constant(losses[len(rates) - 1])}

    run = types.SimpleNamespace(step=7, optimizers={"generator": types.SimpleNamespace(learning_rate=rate)})
    session = types.SimpleNamespace(run=run, open_batches=lambda: iter(dict, None))
    monkeypatch.setattr(planning, "_compile", lambda _: train_step)
    monkeypatch.setattr(planning, "_WINDOW", 1)
    try:
        return rates, lines, planning.try_learning_rates(session, lines.append)
    except errors.UserError as error:
        return rates, lines, str(error)


@pytest.mark.parametrize("exploded", [1e4, float("inf"), float("nan")])
def test_learning_rate_test_ends_when_the_loss_explodes(exploded, monkeypatch):
    rates, lines, best = try_rates(monkeypatch, [5.0, 3.0, 4.0, exploded, 1.0])
    assert len(rates) == 4 and best == pytest.approx(rates[1] / 10)
    assert lines[-2] == f"learning rate {rates[3]:.2g}: loss {exploded:.4g}, too high"
    assert f"train.learning_rate_generator={rates[1] / 10:.1g} " in lines[-1]


@pytest.mark.parametrize("first", [float("inf"), float("nan")])
def test_learning_rate_test_suggests_none_if_the_first_loss_is_no_number(first, monkeypatch):
    rates, lines, message = try_rates(monkeypatch, [first, 1.0])
    assert message.startswith(f"the loss is {first} at the first step already; check the frames")
    assert len(rates) == 1 and "suggestion" not in "".join(lines)


def test_dry_run_reports_the_memory_of_each_gpu(monkeypatch):
    peaks = {"GPU:0": {"peak": 3 << 30}, "GPU:1": {"peak": 1 << 29}}
    names = [types.SimpleNamespace(name=f"/device:{name}") for name in peaks]
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", peaks.__getitem__)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: names if kind == "GPU" else [])
    assert planning._peak_memory() == "3.00 GiB and 0.50 GiB on the GPU"
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [])
    assert planning._peak_memory().endswith(" GiB") and float(planning._peak_memory().split()[0]) > 0

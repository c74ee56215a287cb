"""Recipes for a user's own clips, the dry run and the learning rate test."""

import numpy as np
import pytest

from fomm_tf import checkpoint, config
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

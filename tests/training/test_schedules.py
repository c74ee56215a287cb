"""The length of a run and its learning rates."""

import pytest

from fomm_tf import config
from fomm_tf.training import schedules


def factors(plan, steps):
    return [plan.factor(step) for step in steps]


def test_plan_schedule_decays_at_half_and_three_quarters_of_the_steps():
    plan = schedules.plan_schedule(config.TrainConfig(steps=1000), epoch=7)
    assert (plan.total, plan.decay_steps) == (1000, (500, 750))
    assert factors(plan, (0, 499, 500, 749, 750, 999)) == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_plan_schedule_decays_at_milestones_of_the_reference():
    plan = schedules.plan_schedule(config.TrainConfig(epochs=100, milestones=(60, 90)), epoch=25)
    assert (plan.total, plan.decay_steps) == (2500, (1500, 2250))
    assert factors(plan, (1499, 1500, 2249, 2250)) == pytest.approx([1, 0.1, 0.1, 0.01])


def test_plan_schedule_without_milestones_is_constant():
    plan = schedules.plan_schedule(config.TrainConfig(epochs=3, milestones=()), epoch=5)
    assert set(factors(plan, range(plan.total))) == {1.0}


@pytest.mark.parametrize("name", ["vox", "vox-adv", "taichi", "taichi-adv", "fashion", "mgif", "nemo", "bair"])
def test_plan_schedule_of_reference_recipes_decays_at_three_fifths_and_nine_tenths_or_never(name):
    train = config.load(config.recipes()[f"{name}-256"]).train
    plan = schedules.plan_schedule(train, epoch=10)
    assert plan.total == 10 * train.epochs
    assert plan.decay_steps in ((), (6 * train.epochs, 9 * train.epochs))

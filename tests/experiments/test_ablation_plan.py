"""Variants, data and runs of an ablation."""

import pytest

from fomm_tf import config, errors
from fomm_tf.experiments import ablation_plan

# Table 1 of the paper: keys in which a row differs from Full, as (full, row).
NO_OCCLUSION = {"model.occlusion": (True, False)}
ZEROTH_ORDER = {"model.jacobian": (True, False)}
ONE_RESOLUTION = {"train.pyramid_scales": ((1.0, 0.5, 0.25), (1.0,))}
NO_EQUIVARIANCE = {"train.loss_weights.equivariance_jacobian": (100.0, 0.0)}
TABLE = {
    "baseline": NO_OCCLUSION | ZEROTH_ORDER | ONE_RESOLUTION,
    "pyramid": NO_OCCLUSION | ZEROTH_ORDER,
    "pyramid-occlusion": ZEROTH_ORDER,
    "no-jacobian-equivariance": NO_EQUIVARIANCE,
    "full": {},
}


@pytest.fixture
def base():
    return config.load(config.recipes()["ablation-64"])


def test_configure_changes_only_what_the_paper_changes(base):
    configs = ablation_plan.configure(base, list(TABLE))
    assert list(configs) == list(ablation_plan.VARIANTS) == list(TABLE)
    assert {name: config.differences(base, settings) for name, settings in configs.items()} == TABLE


def test_configure_zeroth_order_is_full_without_jacobians(base):
    configs = ablation_plan.configure(base, [ablation_plan.ZEROTH_ORDER])[ablation_plan.ZEROTH_ORDER]
    assert configs == config.override(base, ["model.jacobian=false"])


def test_variants_have_the_paper_s_titles_and_l1():
    rows = [(variant.title, variant.paper_l1) for variant in ablation_plan.VARIANTS.values()]
    assert rows == [
        ("Baseline", 0.073),
        ("Pyr.", 0.069),
        ("Pyr.+O", 0.069),
        ("Jac. w/o Eq. 12", 0.073),
        ("Full", 0.063),
    ]


@pytest.mark.parametrize(
    ("name", "assignment"),
    [
        ("baseline", "train.pyramid_scales=[1.0]"),
        ("pyramid", "model.occlusion=false"),
        ("pyramid-occlusion", "model.jacobian=false"),
        ("no-jacobian-equivariance", "train.loss_weights.equivariance_jacobian=0.0"),
    ],
)
def test_configure_rejects_a_recipe_that_is_not_the_full_model(base, name, assignment):
    with pytest.raises(errors.UserError) as caught:
        ablation_plan.configure(config.override(base, [assignment]), [name, "full"])
    assert f"`config` already has {assignment}, in which {name} differs from full" in str(caught.value)

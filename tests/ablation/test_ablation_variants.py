"""The variants change what the paper's do, and nothing else."""

import pytest

from fomm_tf import config, errors
from fomm_tf.ablation import variants

# Table 1 of the paper, top down: what a row has that Full has not, and the other way round.
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


def test_each_variant_differs_from_full_in_what_the_paper_says_and_in_nothing_else(base):
    made = variants.configure(base, list(TABLE), "here")
    assert list(made) == list(variants.VARIANTS) == list(TABLE)
    assert {name: config.differences(base, settings) for name, settings in made.items()} == TABLE


def test_the_zeroth_order_model_is_full_without_jacobians(base):
    made = variants.configure(base, [variants.ZEROTH_ORDER], "here")[variants.ZEROTH_ORDER]
    assert made == config.override(base, ["model.jacobian=false"])


def test_the_rows_are_the_paper_s():
    rows = [(variant.title, variant.paper) for variant in variants.VARIANTS.values()]
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
def test_a_recipe_that_is_not_the_full_model_is_refused(base, name, assignment):
    with pytest.raises(errors.UserError) as caught:
        variants.configure(config.override(base, [assignment]), [name, "full"], "--config here")
    assert f"--config here has {assignment} already, which is what sets {name} apart" in str(caught.value)

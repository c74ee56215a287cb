"""Variants, data and runs of an ablation."""

import dataclasses

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


def test_check_accepts_measured_feature_scales_but_no_other_ones(base, tmp_path):
    def plan(scales):
        return ablation_plan.Run("full", 0, replace_scales(base, scales), tmp_path)

    def replace_scales(settings, scales):
        return dataclasses.replace(settings, train=dataclasses.replace(settings.train, feature_scales=scales))

    plan(None).check()
    plan(None).folder.mkdir()
    measured = (1.0, 2.0, 3.0, 4.0, 5.0)
    (plan(None).folder / "config.yaml").write_text(config.dump(replace_scales(base, measured)))
    plan(None).check()
    plan(measured).check()
    with pytest.raises(errors.UserError, match=r"was started with train\.feature_scales .*2\.0.*, but now it is"):
        plan((1.0,) * 5).check()


@pytest.fixture
def finished(base, tmp_path):
    """A run, and how it was evaluated: on a clip, and on a pair without ground truth beside one with it."""
    root = tmp_path / "data"
    for name in ("test/a.mp4", "x.png", "y.png", "truth.mp4", "pairs.csv"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "pairs.csv").write_text("source,driving,truth\nx.png,test/a.mp4,truth.mp4\ny.png,test/a.mp4,\n")
    return ablation_plan.Run("full", 0, base, tmp_path), ablation_plan.Data(root, root / "pairs.csv", False)


@pytest.mark.parametrize("has_pairs", [True, False])
@pytest.mark.parametrize(
    ("changed", "counts"), [("test/a.mp4", True), ("truth.mp4", "pairs"), (".fomm-cache", False), ("notes", False)]
)
def test_run_is_finished_until_a_file_it_was_evaluated_on_changes(has_pairs, changed, counts, finished):
    run, data = finished
    data = data if has_pairs else data._replace(pairs=None)
    protocol = ablation_plan.Protocol(data, ("l1",), "none", "")
    run.mark_finished(protocol, data.fingerprints())
    assert run.is_finished(protocol, data.fingerprints())
    (data.root / changed).write_text("more")
    expected = not (has_pairs if counts == "pairs" else counts)
    assert run.is_finished(protocol, data.fingerprints()) == expected

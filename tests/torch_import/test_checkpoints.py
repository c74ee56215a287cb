"""Importing and exporting checkpoints of the reference: round trips, optimizers, counters, and what is rejected."""

import copy
import re

import model_list
import numpy as np
import pytest
from reference_checkpoints import (
    DATA,
    OPTIMIZERS,
    STATES,
    WHOLE,
    assert_bit_equal,
    import_error,
    import_tree,
    load,
    yaml_of,
)

from fomm_tf import checkpoint, config, errors, models, torch_import, weights
from fomm_tf.torch_import import tensor_names

pytestmark = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_reference_checkpoint_round_trip_is_bit_identical(name, tmp_path):
    tree = load(name)
    checkpoint.save(tmp_path / "run", import_tree(tree, name), "test")
    weights.save(tmp_path / "back.pth", torch_import.export_checkpoint(checkpoint.load(tmp_path / "run", True)))
    again = weights.load(tmp_path / "back.pth")
    # Without the optimizers of all of its networks, training cannot be resumed.
    kept = {key for key in tree if key in STATES or key == "epoch" or "optimizer_generator" in tree}
    assert set(again) == kept and again["epoch"] == tree["epoch"]
    for part in set(STATES) & set(tree):
        assert_bit_equal(tree[part], again[part])
    for part in set(OPTIMIZERS) & set(tree):
        assert list(again[part]["state"]) == list(tree[part]["state"])
        for index, moments in tree[part]["state"].items():
            assert_bit_equal(moments, again[part]["state"][index])
        (theirs,), (ours,) = tree[part]["param_groups"], again[part]["param_groups"]
        assert ours == {key: theirs.get(key, 2e-4) for key in ours}


def test_discriminator_of_two_scales_round_trip_is_bit_identical():
    tree = load("tiny-disc2")
    settings = torch_import.choose_config(tree, str(DATA / "tiny-disc2.yaml"), "tiny-disc2")
    entries = tensor_names.discriminator_entries(models.Discriminator(settings.model))
    torch_import.restore_state(entries, tree["discriminator"], "tiny-disc2")
    again = {entry.name: entry.to_torch(entry.variable.numpy()) for entry in entries}
    assert_bit_equal(tree["discriminator"], again)
    assert {name.split(".")[1] for name in again} == {"1", "0-5"}


def test_import_keeps_counters_and_kernels(built_once):
    tree = load("tiny")
    tree["generator"]["first.norm.num_batches_tracked"] = np.array(2**40 + 1, "i8")
    tree["kp_detector"]["down.weight"] = np.arange(3 * 13 * 13, dtype="f4").reshape(3, 1, 13, 13)
    again = torch_import.export_checkpoint(import_tree(tree))
    assert again["generator"]["first.norm.num_batches_tracked"] == 2**40 + 1
    assert_bit_equal(tree["kp_detector"], again["kp_detector"])


def test_import_assigns_steps_moments_and_learning_rates(built_once):
    tree = load("tiny-step5")
    tree["optimizer_kp_detector"]["param_groups"][0]["lr"] = 2e-5
    run = import_tree(tree)
    assert run.epoch == 5
    for name, theirs in (("generator", "generator"), ("detector", "kp_detector"), ("discriminator", "discriminator")):
        stepper = run.optimizers[name]
        assert stepper.iterations == 5
        assert stepper.learning_rate.numpy() == np.float32(2e-5 if name == "detector" else 2e-4)
        stored = list(tree[f"optimizer_{theirs}"]["state"].values())
        assert len(stored) == len(run.trainable(name))
    first = tree["optimizer_kp_detector"]["state"][0]
    mean, square = run.optimizers["detector"].moments(run.model.detector.hourglass.down_blocks[0].conv.kernel)
    np.testing.assert_array_equal(mean, first["exp_avg"].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(square, first["exp_avg_sq"].transpose(2, 3, 1, 0))
    back = torch_import.export_checkpoint(run)["optimizer_kp_detector"]["param_groups"][0]
    assert back["lr"] == 2e-5 and back["initial_lr"] == 2e-4


def test_import_reads_optimizers_of_torch_1_0():
    today, old = load("tiny-step5"), load("tiny-step5")
    for part in OPTIMIZERS:
        (group,) = old[part]["param_groups"]
        addresses = [140_000_000_000_000 - 72 * index for index in group["params"]]
        state = {addresses[index]: {**moments, "step": 5} for index, moments in old[part]["state"].items()}
        old[part] = {"state": dict(sorted(state.items())), "param_groups": [{**group, "params": addresses}]}
    expected, found = (torch_import.export_checkpoint(import_tree(tree)) for tree in (today, old))
    for part in OPTIMIZERS:
        for index, moments in expected[part]["state"].items():
            assert_bit_equal(moments, found[part]["state"][index])


def test_import_accepts_optimizers_without_moments():
    run = import_tree(load("tiny"))
    assert all(stepper.iterations == 0 for stepper in run.optimizers.values()) and len(run.optimizers) == 3
    assert torch_import.export_checkpoint(run)["optimizer_generator"]["state"] == {}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("blend-source", "generator.blend_source"),
        ("warp-skips", "generator.warp_skips"),
        ("scaled-generator", "resize_displacements"),
    ],
)
def test_export_checkpoint_rejects_options_that_the_reference_lacks(name, key):
    run = checkpoint.build(config.Config(model=model_list.MODELS[name]))
    with pytest.raises(errors.UserError, match=rf"model\.{re.escape(key)}: got true; expected false"):
        torch_import.export_checkpoint(run)


def test_import_without_one_optimizer_has_none(built_once):
    tree = load("tiny-step5")
    del tree["optimizer_kp_detector"]
    run = import_tree(tree)
    assert run.optimizers == {} and run.discriminator is not None


def test_import_without_epoch_has_epoch_0(built_once):
    tree = load("tiny-legacy-cuda")
    del tree["epoch"]
    assert import_tree(tree).epoch == 0


@pytest.mark.parametrize("align_corners", [True, False])
def test_import_sets_align_corners(align_corners):
    run = torch_import.import_checkpoint(load("wide"), str(yaml_of("wide")), align_corners, "wide")
    assert run.config.model.align_corners is align_corners


@pytest.fixture(scope="module")
def tiny_run():
    return import_tree(load("tiny"))


@pytest.mark.parametrize("part", STATES)
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda state, name: state.pop(name), "has no tensor {name},"),
        (lambda state, name: state.update(extra=np.zeros(3, "f4")), "has the unexpected tensor extra,"),
        (lambda state, name: state.update({name: state[name][..., :-1]}), "{name} must be {shape}; got {cut};"),
        (lambda state, name: state.update({name: state[name][None]}), "{name} must be {shape}; got [1, "),
        (lambda state, name: state.update({name: "weights"}), "{name} must be {shape}; got str;"),
        (lambda state, name: state.update({name: None}), "{name} must be {shape}; got NoneType;"),
    ],
)
def test_restore_state_names_wrong_tensor_and_assigns_nothing(part, edit, message, tiny_run):
    detector, dense_motion, generator = tiny_run.model.layers
    entries = {
        "generator": lambda: tensor_names.generator_entries(dense_motion, generator),
        "kp_detector": lambda: tensor_names.detector_entries(detector),
        "discriminator": lambda: tensor_names.discriminator_entries(tiny_run.discriminator),
    }[part]()
    before = [entry.variable.numpy() for entry in entries]
    state = {name: array + 1 for name, array in load("tiny")[part].items()}
    name = list(state)[-2]
    shape = list(state[name].shape)
    edit(state, name)
    expected = message.format(name=name, shape=shape, cut=[*shape[:-1], shape[-1] - 1])
    with pytest.raises(errors.UserError) as caught:
        torch_import.restore_state(entries, state, f"cpk.pth.tar: {part}")
    assert str(caught.value).startswith(f"cpk.pth.tar: {part}") and expected in str(caught.value)
    assert "give another `reference_config`" in str(caught.value)
    for entry, array in zip(entries, before, strict=True):
        np.testing.assert_array_equal(entry.variable.numpy(), array)


def test_import_counts_missing_tensors(built_once):
    tree = load("tiny")
    missing = [name for name in tree["generator"] if name.startswith("bottleneck.r1")]
    for name in missing:
        del tree["generator"][name]
    # Without batch counters, which older versions of torch do not write.
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    assert f"generator has no tensor {missing[0]} and {len(missing) - 1} more," in import_error(tree)


def test_import_rejects_config_of_another_model(built_once):
    message = import_error(load("zero-order"), "tiny")
    assert "generator has no tensor dense_motion_network.occlusion.weight and 1 more" in message
    message = import_error(load("tiny"), "zero-order")
    assert "generator has the unexpected tensor dense_motion_network.occlusion.weight and 1 more" in message
    message = import_error(load("tiny"), "single-jacobian")
    assert "must be [16, 20, 3, 3]; got [16, 24, 3, 3]; give another `reference_config`" in message


@pytest.mark.parametrize("part", ["kp_detector", "generator"])
@pytest.mark.parametrize("value", [None, 5, "weights"])
def test_import_rejects_checkpoint_without_network(part, value):
    tree = load("tiny-legacy-cuda")
    if value is None:
        del tree[part]
    else:
        tree[part] = value
    assert f"has no state dictionary '{part}'; it has " in import_error(tree)
    with pytest.raises(errors.UserError, match="has no state dictionary"):
        torch_import.import_checkpoint(tree, None, True, "cpk.pth.tar")


def test_import_rejects_discriminator_alone_and_empty_file():
    assert "has no state dictionary 'kp_detector'; it has discriminator, epoch." in import_error(load("tiny-disc2"))
    assert "has no state dictionary 'kp_detector'; it has nothing." in import_error({})


def test_import_ignores_discriminator_that_is_not_a_state_dictionary(built_once):
    tree = load("tiny-legacy-cuda") | {"discriminator": None}
    assert import_tree(tree).discriminator is None
    with pytest.raises(errors.UserError, match="`reference_config`"):
        torch_import.choose_config(tree, None, "tiny")


@pytest.mark.parametrize(
    "epoch", [-1, 0.5, float("nan"), float("inf"), 2**63, 2**70, None, "five", True, [5], {}, [1, [2]], np.eye(9)]
)
def test_import_rejects_epoch_that_is_not_a_whole_number(epoch):
    message = import_error(load("tiny-legacy-cuda") | {"epoch": epoch})
    assert "cpk.pth.tar: epoch must be a whole number; got " in message


@pytest.mark.parametrize("epoch", [np.array(7), np.float32(7), 7.0, np.array(7, "i4")])
def test_import_accepts_any_numeric_type_for_epoch(epoch, built_once):
    assert import_tree(load("tiny-legacy-cuda") | {"epoch": epoch}).epoch == 7


@pytest.fixture(scope="module")
def stepped():
    return load("tiny-step5")


def truncate_moment(name):
    def edit(adam):
        adam["state"][3][name] = adam["state"][3][name][..., :-1]

    return edit


def group_of(**changes):
    return lambda adam: adam["param_groups"][0].update(changes)


def rename_states(adam):
    adam["state"] = {key + 1000: value for key, value in adam["state"].items()}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (truncate_moment("exp_avg"), "exp_avg of predictor.encoder.down_blocks.0.norm.bias must be [16]"),
        (truncate_moment("exp_avg_sq"), "exp_avg_sq of predictor.encoder.down_blocks.0.norm.bias must be [16]"),
        (lambda adam: adam["state"][3].pop("exp_avg"), "exp_avg of predictor.encoder.down_blocks.0.norm.bias must be"),
        (lambda adam: adam["state"][3].update(exp_avg=5), "exp_avg of predictor.encoder.down_blocks.0.norm.bias must"),
        (
            lambda adam: adam["state"][3].update(step=6),
            "must have 28 parameters with the same number of steps; got 28 ",
        ),
        (lambda adam: adam["state"][3].update(step=-1), "is not the state of torch's Adam"),
        (lambda adam: adam["state"][3].update(step="five"), "is not the state of torch's Adam"),
        (lambda adam: adam["state"][3].pop("step"), "is not the state of torch's Adam (KeyError('step'))"),
        (lambda adam: adam["state"].update({3: None}), "is not the state of torch's Adam"),
        (lambda adam: adam.update(state=[1, 2]), "is not the state of torch's Adam"),
        (lambda adam: adam.pop("state"), "is not the state of torch's Adam (KeyError('state'))"),
        (lambda adam: adam.pop("param_groups"), "is not the state of torch's Adam (KeyError('param_groups'))"),
        (lambda adam: adam["param_groups"].append({}), "is not the state of torch's Adam"),
        (lambda adam: adam.update(param_groups=5), "is not the state of torch's Adam"),
        (group_of(lr="fast"), "is not the state of torch's Adam"),
        (group_of(lr=None), "is not the state of torch's Adam"),
        (group_of(params=5), "is not the state of torch's Adam"),
        (group_of(params=[[0]] * 28), "is not the state of torch's Adam"),
        (group_of(params=list(range(27))), "must have 28 parameters with the same number of steps; got 27 with [5]"),
        (rename_states, "has moments of 28 parameters that are not in its param_groups"),
    ],
)
def test_import_rejects_wrong_optimizer_state(edit, message, stepped, built_once):
    tree = {**stepped, "optimizer_kp_detector": copy.deepcopy(stepped["optimizer_kp_detector"])}
    edit(tree["optimizer_kp_detector"])
    found = import_error(tree)
    assert found.startswith("cpk.pth.tar: optimizer_kp_detector ") or "optimizer_kp_detector: " in found
    assert message in found

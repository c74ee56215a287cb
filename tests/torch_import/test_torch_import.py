"""Reference checkpoints and configs: round trips, configs inferred from tensors, and error messages."""

import copy
import functools
import json
import pathlib

import model_list
import numpy as np
import pytest

from fomm_tf import checkpoint, config, errors, models, torch_import, weights
from fomm_tf.torch_import import configs, tensor_names

pytestmark = pytest.mark.slow

DATA = pathlib.Path(__file__).parent.parent / "parity" / "data"
RELEASED = json.loads((DATA / "released-shapes.json").read_text())
WHOLE = {
    "tiny": "tiny",
    "tiny-step5": "tiny",
    "tiny-legacy-cuda": "tiny",
    "single-jacobian": "single-jacobian",
    "wide": "wide",
    "zero-order": "zero-order",
}
STATES = ("generator", "kp_detector", "discriminator")
OPTIMIZERS = ("optimizer_generator", "optimizer_kp_detector", "optimizer_discriminator")


def load(name):
    return weights.load(DATA / f"{name}-checkpoint.pth.tar")


def yaml_of(name):
    return DATA / f"{WHOLE.get(name, name)}.yaml"


def import_tree(tree, name="tiny"):
    return torch_import.import_checkpoint(tree, str(yaml_of(name)), True, "cpk.pth.tar")


def import_error(tree, name="tiny"):
    """Imports a tree that must be rejected, and returns the message."""
    with pytest.raises(errors.UserError) as caught:
        import_tree(tree, name)
    message = str(caught.value)
    assert message.startswith("cpk.pth.tar") and "\n" not in message
    return message


def assert_bit_equal(left, right):
    assert list(left) == list(right)
    for key, array in left.items():
        assert (array.dtype, array.shape) == (right[key].dtype, right[key].shape), key
        assert array.tobytes() == right[key].tobytes(), key


@pytest.fixture
def built_once(monkeypatch):
    """Builds every network once, for tests that do not depend on its initial values."""
    monkeypatch.setattr(checkpoint, "build", build_once)


build_once = functools.cache(checkpoint.build)


# Round trips ----------------------------------------------------------------------------------------------------------


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


def test_export_checkpoint_rejects_blend_source():
    run = checkpoint.build(config.Config(model=model_list.MODELS["blend-source"]))
    with pytest.raises(errors.UserError, match=r"model\.generator\.blend_source: got true; expected false"):
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


# Configs --------------------------------------------------------------------------------------------------------------


def read(name):
    return torch_import.choose_config({}, str(DATA / f"{name}.yaml"), name)


def test_choose_config_reads_tiny_yaml():
    assert read("tiny") == config.parse({
        "data": {
            "root": "data/tiny",
            "augment": {"brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.1},
        },
        "model": {
            "frame_size": [64, 64],
            "num_keypoints": 5,
            "keypoint_detector": {"block_expansion": 8, "max_features": 24, "num_blocks": 3},
            "dense_motion": {"block_expansion": 8, "max_features": 24, "num_blocks": 3},
            "generator": {"block_expansion": 8, "max_features": 32, "num_residual_blocks": 2},
            "discriminator": {
                "block_expansion": 8, "max_features": 24, "use_keypoints": True, "spectral_norm": True,
            },
        },
        "train": {
            "epochs": 10,
            "batch_size": 2,
            "milestones": [6, 9],
            "pyramid_scales": [1.0, 0.5, 0.25],
            "loss_weights": {"generator_gan": 1.0},
        },
    })  # fmt: skip


def test_choose_config_reads_single_jacobian_yaml():
    settings = read("single-jacobian")
    model = settings.model
    assert (model.num_keypoints, model.frame_size, model.motion_scale) == (4, (64, 64), 0.5)
    assert model.keypoint_detector.single_jacobian_map and model.keypoint_detector.pad == 3
    assert model.keypoint_detector.scale == 0.25 and model.keypoint_detector.temperature == 0.1
    assert model.dense_motion.heatmap_variance == 0.03 and model.discriminator.heatmap_variance == 0.01
    assert model.discriminator.spectral_norm and not model.discriminator.use_keypoints
    assert settings.train.loss_weights == config.LossWeightsConfig(generator_gan=1.0)
    assert settings.train.transform == config.TransformConfig(0.05, 0.005, 5)


def test_choose_config_reads_wide_yaml():
    settings = read("wide")
    model = settings.model
    assert (model.frame_size, model.num_keypoints, model.jacobian, model.occlusion) == ((64, 96), 1, True, True)
    assert model.keypoint_detector.num_blocks == model.dense_motion.num_blocks == 2
    assert model.keypoint_detector.pad == 1 and not model.keypoint_detector.single_jacobian_map
    assert model.generator == config.GeneratorConfig(8, 32, 1, 1)
    assert settings.animate == config.AnimateConfig("relative", True, False)


def test_choose_config_reads_zero_order_and_disc2_yaml():
    model = read("zero-order").model
    assert not model.jacobian and not model.occlusion and model.num_keypoints == 3
    assert model.motion_scale == model.keypoint_detector.scale == 0.5
    discriminator = read("tiny-disc2").model.discriminator
    assert discriminator.scales == (1.0, 0.5) and discriminator.num_blocks == 3
    assert read("tiny-disc2").train.loss_weights.feature_matching == (10.0, 10.0, 10.0)


def change(tree, path, value):
    *sections, key = path.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[key] = value


@pytest.mark.parametrize(
    ("path", "value", "place", "expected"),
    [
        ("dataset_params.id_sampling", True, "data.sample_by_identity", True),
        ("dataset_params.augmentation_params.flip_param", {}, "data.augment.time_flip", False),
        ("dataset_params.augmentation_params.crop_param.size", [64, 64], "data.augment.crop", True),
        ("dataset_params.augmentation_params.resize_param.ratio", [0.9, 1.1], "data.augment.resize", (0.9, 1.1)),
        ("train_params.num_repeats", 75, "data.repeats", 75),
        ("train_params.lr_kp_detector", 0, "train.learning_rate_detector", 0.0),
        ("train_params.lr_generator", "2e-3", "train.learning_rate_generator", 0.002),
        ("train_params.epoch_milestones", [], "train.milestones", ()),
        ("train_params.loss_weights.perceptual", [1, 2], "train.loss_weights.perceptual", (1.0, 2.0)),
        ("animate_params.normalization_params.use_relative_movement", False, "animate.mode", "absolute"),
        ("animate_params.normalization_params.adapt_movement_scale", True, "animate.adapt_scale", True),
        ("visualizer_params.anything", 5, "train.epochs", 10),
    ],
)
def test_from_yaml_converts_keys(path, value, place, expected):
    tree = config.read_yaml(DATA / "tiny.yaml")
    change(tree, path, value)
    found = configs.from_yaml(tree, "tiny.yaml")
    for part in place.split("."):
        found = getattr(found, part)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model_params.common_params.num_kps", 5, "has the unknown key model_params.common_params.num_kps; remove it"),
        ("model_params.generator_params.skips", True, "has the unknown key model_params.generator_params.skips"),
        ("model_params.audio_params.layers", 3, "has the unknown key model_params.audio_params.layers"),
        ("model_params.generator_params", None, "has the unknown key model_params.generator_params; remove it"),
        ("model_params", 5, "has the unknown key model_params; remove it"),
        ("model_params.common_params.num_channels", 1, "num_channels is 1; only images of 3 channels"),
        ("model_params.common_params.num_kp", "ten", "model.num_keypoints must be int; got 'ten'"),
        ("model_params.common_params.num_kp", 0, "model.num_keypoints must be at least 1; got 0"),
        ("dataset_params.frame_shape", [100, 100, 3], r"model.frame_size \[100, 100\] times model.motion_scale 0.25"),
        ("dataset_params.frame_shape", 256, "model.frame_size must be tuple; got 256"),
        ("dataset_params.frame_shape", [256], r"model.frame_size must be tuple; got \[256\]"),
        ("train_params.num_epochs", 1.5, "train.epochs must be int; got 1.5"),
    ],
)
def test_from_yaml_rejects_unsupported_configs(path, value, message):
    tree = config.read_yaml(DATA / "tiny.yaml")
    change(tree, path, value)
    with pytest.raises(errors.UserError, match=f"^tiny.yaml:? .*{message}|^tiny.yaml: {message}"):
        configs.from_yaml(tree, "tiny.yaml")


def test_choose_config_accepts_both_kinds_of_files_and_recipes(tmp_path):
    (tmp_path / "ours.yaml").write_text(config.dump(read("wide")))
    assert torch_import.choose_config({}, str(tmp_path / "ours.yaml"), "x") == read("wide")
    recipes = config.recipes()
    assert torch_import.choose_config({}, "vox-adv-256", "x") == config.load(recipes["vox-adv-256"])
    with pytest.raises(errors.UserError) as caught:
        torch_import.choose_config({}, "vox", "x")
    assert str(caught.value) == (
        f"`reference_config` vox is neither a file nor a recipe; the recipes are {', '.join(recipes)}."
    )  # fmt: skip


# Configs inferred from tensors ----------------------------------------------------------------------------------------


class Tensor:
    """An object that has only a shape."""

    def __init__(self, *shape):
        self.shape = shape


def make_released(keypoints=10, jacobian=True, occlusion=True):
    """The shapes of a released model with other heads."""
    common = RELEASED["all configs, but for the entries below"]
    tree = {part: {name: Tensor(*shape) for name, shape in common[part].items()} for part in common}
    detector, generator = tree["kp_detector"], tree["generator"]
    inputs = 4 * (keypoints + 1)
    for name, maps in (("kp", keypoints), ("jacobian", 4 * keypoints)):
        detector[f"{name}.weight"], detector[f"{name}.bias"] = Tensor(maps, 35, 7, 7), Tensor(maps)
    generator["dense_motion_network.hourglass.encoder.down_blocks.0.conv.weight"] = Tensor(128, inputs, 3, 3)
    generator["dense_motion_network.mask.weight"] = Tensor(keypoints + 1, 64 + inputs, 7, 7)
    generator["dense_motion_network.mask.bias"] = Tensor(keypoints + 1)
    generator["dense_motion_network.occlusion.weight"] = Tensor(1, 64 + inputs, 7, 7)
    for part, prefix, there in (
        (detector, "jacobian", jacobian),
        (generator, "dense_motion_network.occlusion", occlusion),
    ):
        if not there:
            del part[f"{prefix}.weight"], part[f"{prefix}.bias"]
    return tree


@pytest.mark.parametrize("keypoints", [1, 10, 15])
@pytest.mark.parametrize("jacobian", [True, False])
@pytest.mark.parametrize("occlusion", [True, False])
def test_choose_config_infers_released_architecture(keypoints, jacobian, occlusion):
    found = torch_import.choose_config(make_released(keypoints, jacobian, occlusion), None, "cpk").model
    assert (found.num_keypoints, found.jacobian, found.occlusion) == (keypoints, jacobian, occlusion)
    assert (found.frame_size, found.motion_scale, found.keypoint_detector.scale) == ((256, 256), 0.25, 0.25)
    assert found.keypoint_detector == config.KeypointDetectorConfig()
    assert found.dense_motion == config.DenseMotionConfig()
    assert found.generator == config.GeneratorConfig(max_features=256)


@pytest.mark.slow
def test_inferred_config_builds_the_same_tensors():
    tree = make_released(15)
    run = checkpoint.build(torch_import.choose_config(tree, None, "cpk"))
    detector, dense_motion, generator = run.model.layers
    for part, entries in (
        ("kp_detector", tensor_names.detector_entries(detector)),
        ("generator", tensor_names.generator_entries(dense_motion, generator)),
    ):
        expected = {name: tensor.shape for name, tensor in tree[part].items()}
        assert {entry.name: entry.torch_shape for entry in entries} == expected


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("vox-256", config.DiscriminatorConfig(spectral_norm=True)),
        ("vox-adv-256", config.DiscriminatorConfig(use_keypoints=True)),
        ("taichi-256", config.DiscriminatorConfig()),
    ],
)
def test_choose_config_infers_discriminator(recipe, expected):
    shapes = RELEASED[recipe]["discriminator"]
    tree = make_released() | {"discriminator": {name: Tensor(*shape) for name, shape in shapes.items()}}
    assert torch_import.choose_config(tree, None, "cpk").model.discriminator == expected


def test_choose_config_infers_discriminator_of_two_scales():
    tree = make_released() | load("tiny-disc2")
    assert torch_import.choose_config(tree, None, "cpk").model.discriminator == config.DiscriminatorConfig(
        scales=(1.0, 0.5), block_expansion=8, max_features=24, num_blocks=3
    )


def drop(part, *prefixes):
    def edit(tree):
        for name in [name for name in tree[part] if name.startswith(prefixes)]:
            del tree[part][name]

    return edit


def put(part, name, *shape):
    def edit(tree):
        tree[part][name] = Tensor(*shape)

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (drop("generator", "bottleneck.r5"), "its generator is not that of the released models"),
        (drop("generator", "down_blocks.1"), "its generator is not that of the released models"),
        (drop("kp_detector", "down.weight"), "its keypoint detector is not that of the released models"),
        (put("kp_detector", "down.weight", 3, 1, 5, 5), "its keypoint detector is not that of the released models"),
        (drop("kp_detector", "predictor.encoder.down_blocks.4"), "its keypoint detector is not that of the released"),
        (
            put("generator", "dense_motion_network.down.weight", 3, 1, 5, 5),
            "its dense motion network is not that of the released models",
        ),
        (drop("kp_detector", "kp."), "the sizes of the networks cannot be inferred from its tensors ('kp.weight')"),
        (put("kp_detector", "kp.weight"), "the sizes of the networks cannot be inferred from its tensors"),
        (
            put("kp_detector", "down.weight", 3, 1, 12, 12),
            "cannot be inferred from its tensors (down.weight of 12 pixels)",
        ),
        (drop("kp_detector", ""), "the sizes of the networks cannot be inferred from its tensors"),
        (drop("generator", "first"), "the sizes of the networks cannot be inferred from its tensors"),
        (drop("generator", "dense_motion_network"), "the sizes of the networks cannot be inferred from its tensors"),
    ],
)
def test_choose_config_rejects_other_architectures_without_config(edit, message):
    tree = make_released()
    edit(tree)
    with pytest.raises(errors.UserError) as caught:
        torch_import.choose_config(tree, None, "cpk.pth.tar")
    assert str(caught.value).startswith("cpk.pth.tar: ") and message in str(caught.value)
    assert "`reference_config`" in str(caught.value)


@pytest.mark.parametrize("name", ["tiny", "wide", "zero-order", "single-jacobian"])
def test_import_of_small_models_needs_config(name):
    with pytest.raises(
        errors.UserError, match=r"its keypoint detector is not that of the rel.*; give as `reference_config`"
    ):
        torch_import.import_checkpoint(load(name), None, True, name)


# Errors ---------------------------------------------------------------------------------------------------------------


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

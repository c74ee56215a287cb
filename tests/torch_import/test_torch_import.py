"""Reference checkpoints and configs, there and back: what is read, what is told from tensors, what is refused."""

import copy
import functools
import json
import pathlib

import model_list
import numpy as np
import pytest

from fomm_tf import checkpoint, config, errors, models, torch_import, weights
from fomm_tf.torch_import import names, reference_config

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


def bring_in(tree, name="tiny"):
    return torch_import.import_checkpoint(tree, str(yaml_of(name)), True, "cpk.pth.tar")


def refuse(tree, name="tiny"):
    """The message with which a tree is refused."""
    with pytest.raises(errors.UserError) as caught:
        bring_in(tree, name)
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
    """Builds every network once: for tests that do not ask what a fresh one holds."""
    monkeypatch.setattr(checkpoint, "build", build_once)


build_once = functools.cache(checkpoint.build)


# There and back -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_a_reference_checkpoint_comes_back_bit_equal_through_a_run_folder(name, tmp_path):
    tree = load(name)
    checkpoint.save(tmp_path / "run", bring_in(tree, name), "story")
    weights.save(tmp_path / "back.pth", torch_import.export_checkpoint(checkpoint.load(tmp_path / "run", True)))
    again = weights.load(tmp_path / "back.pth")
    # Without all the optimizers of the networks that are there, none can go on.
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


def test_a_discriminator_of_two_scales_comes_back_bit_equal():
    tree = load("tiny-disc2")
    settings = torch_import.pick_config(tree, str(DATA / "tiny-disc2.yaml"), "tiny-disc2")
    entries = names.discriminator_entries(models.build_discriminator(settings.model))
    torch_import.restore_state(entries, tree["discriminator"], "tiny-disc2")
    again = {entry.name: entry.to_torch(entry.variable.numpy()) for entry in entries}
    assert_bit_equal(tree["discriminator"], again)
    assert {name.split(".")[1] for name in again} == {"1", "0-5"}


def test_counters_and_kernels_are_taken_over_as_they_are(built_once):
    tree = load("tiny")
    tree["generator"]["first.norm.num_batches_tracked"] = np.array(2**40 + 1, "i8")
    tree["kp_detector"]["down.weight"] = np.arange(3 * 13 * 13, dtype="f4").reshape(3, 1, 13, 13)
    again = torch_import.export_checkpoint(bring_in(tree))
    assert again["generator"]["first.norm.num_batches_tracked"] == 2**40 + 1
    assert_bit_equal(tree["kp_detector"], again["kp_detector"])


def test_steps_moments_and_learning_rate_land_in_the_optimizer_of_their_network(built_once):
    tree = load("tiny-step5")
    tree["optimizer_kp_detector"]["param_groups"][0]["lr"] = 2e-5
    run = bring_in(tree)
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


def test_optimizers_of_torch_1_0_are_keyed_by_address():
    today, old = load("tiny-step5"), load("tiny-step5")
    for part in OPTIMIZERS:
        (group,) = old[part]["param_groups"]
        addresses = [140_000_000_000_000 - 72 * index for index in group["params"]]
        state = {addresses[index]: {**moments, "step": 5} for index, moments in old[part]["state"].items()}
        old[part] = {"state": dict(sorted(state.items())), "param_groups": [{**group, "params": addresses}]}
    expected, found = (torch_import.export_checkpoint(bring_in(tree)) for tree in (today, old))
    for part in OPTIMIZERS:
        for index, moments in expected[part]["state"].items():
            assert_bit_equal(moments, found[part]["state"][index])


def test_optimizers_that_never_stepped_come_along_without_moments():
    run = bring_in(load("tiny"))
    assert all(stepper.iterations == 0 for stepper in run.optimizers.values()) and len(run.optimizers) == 3
    assert torch_import.export_checkpoint(run)["optimizer_generator"]["state"] == {}


def test_export_checkpoint_rejects_blend_source():
    run = checkpoint.build(config.Config(model=model_list.MODELS["blend-source"]))
    with pytest.raises(errors.UserError, match=r"model\.generator\.blend_source: got true; expected false"):
        torch_import.export_checkpoint(run)


def test_a_checkpoint_without_one_of_its_optimizers_comes_without_any(built_once):
    tree = load("tiny-step5")
    del tree["optimizer_kp_detector"]
    run = bring_in(tree)
    assert run.optimizers == {} and run.discriminator is not None


def test_a_checkpoint_without_epoch_is_of_epoch_0(built_once):
    tree = load("tiny-legacy-cuda")
    del tree["epoch"]
    assert bring_in(tree).epoch == 0


@pytest.mark.parametrize("align_corners", [True, False])
def test_align_corners_is_what_the_caller_says(align_corners):
    run = torch_import.import_checkpoint(load("wide"), str(yaml_of("wide")), align_corners, "wide")
    assert run.config.model.align_corners is align_corners


# Configs ------------------------------------------------------------------------------------------------------------


def read(name):
    return torch_import.pick_config({}, str(DATA / f"{name}.yaml"), name)


def test_tiny_yaml_is_read_as_it_is():
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


def test_single_jacobian_yaml_is_read_as_it_is():
    settings = read("single-jacobian")
    model = settings.model
    assert (model.num_keypoints, model.frame_size, model.motion_scale) == (4, (64, 64), 0.5)
    assert model.keypoint_detector.single_jacobian_map and model.keypoint_detector.pad == 3
    assert model.keypoint_detector.scale == 0.25 and model.keypoint_detector.temperature == 0.1
    assert model.dense_motion.heatmap_variance == 0.03 and model.discriminator.heatmap_variance == 0.01
    assert model.discriminator.spectral_norm and not model.discriminator.use_keypoints
    assert settings.train.loss_weights == config.LossWeightsConfig(generator_gan=1.0)
    assert settings.train.transform == config.TransformConfig(0.05, 0.005, 5)


def test_wide_yaml_is_read_as_it_is():
    settings = read("wide")
    model = settings.model
    assert (model.frame_size, model.num_keypoints, model.jacobian, model.occlusion) == ((64, 96), 1, True, True)
    assert model.keypoint_detector.num_blocks == model.dense_motion.num_blocks == 2
    assert model.keypoint_detector.pad == 1 and not model.keypoint_detector.single_jacobian_map
    assert model.generator == config.GeneratorConfig(8, 32, 1, 1)
    assert settings.animate == config.AnimateConfig("relative", True, False)


def test_zero_order_and_disc2_yaml_are_read_as_they_are():
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
def test_a_key_of_the_reference_lands_where_ours_is(path, value, place, expected):
    tree = config.read_yaml(DATA / "tiny.yaml")
    change(tree, path, value)
    found = reference_config.from_yaml(tree, "tiny.yaml")
    for part in place.split("."):
        found = getattr(found, part)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model_params.common_params.num_kps", 5, "has the key model_params.common_params.num_kps, which no config"),
        ("model_params.generator_params.skips", True, "has the key model_params.generator_params.skips"),
        ("model_params.audio_params.layers", 3, "has the key model_params.audio_params.layers"),
        ("model_params.generator_params", None, "has the key model_params.generator_params, which no config"),
        ("model_params", 5, "has the key model_params, which no config"),
        ("model_params.common_params.num_channels", 1, "num_channels is 1; only images of 3 channels"),
        ("model_params.common_params.num_kp", "ten", "model.num_keypoints must be int; got 'ten'"),
        ("model_params.common_params.num_kp", 0, "model.num_keypoints must be at least 1; got 0"),
        ("dataset_params.frame_shape", [100, 100, 3], r"model.frame_size \[100, 100\] times model.motion_scale 0.25"),
        ("dataset_params.frame_shape", 256, "model.frame_size must be tuple; got 256"),
        ("dataset_params.frame_shape", [256], r"model.frame_size must be tuple; got \[256\]"),
        ("train_params.num_epochs", 1.5, "train.epochs must be int; got 1.5"),
    ],
)
def test_a_config_of_the_reference_that_we_cannot_follow_is_refused(path, value, message):
    tree = config.read_yaml(DATA / "tiny.yaml")
    change(tree, path, value)
    with pytest.raises(errors.UserError, match=f"^tiny.yaml:? .*{message}|^tiny.yaml: {message}"):
        reference_config.from_yaml(tree, "tiny.yaml")


def test_a_config_is_a_file_of_either_kind_or_a_recipe(tmp_path):
    (tmp_path / "ours.yaml").write_text(config.dump(read("wide")))
    assert torch_import.pick_config({}, str(tmp_path / "ours.yaml"), "x") == read("wide")
    recipes = config.recipes()
    assert torch_import.pick_config({}, "vox-adv-256", "x") == config.load(recipes["vox-adv-256"])
    with pytest.raises(errors.UserError) as caught:
        torch_import.pick_config({}, "vox", "x")
    assert str(caught.value) == (
        f"--config vox is neither a file nor a recipe; the recipes are {', '.join(recipes)}."
    )  # fmt: skip


# Sizes told from the tensors ----------------------------------------------------------------------------------------


class Tensor:
    """Something with a shape, for what looks at shapes alone."""

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
def test_a_released_architecture_is_told_from_its_tensors(keypoints, jacobian, occlusion):
    found = torch_import.pick_config(make_released(keypoints, jacobian, occlusion), None, "cpk").model
    assert (found.num_keypoints, found.jacobian, found.occlusion) == (keypoints, jacobian, occlusion)
    assert (found.frame_size, found.motion_scale, found.keypoint_detector.scale) == ((256, 256), 0.25, 0.25)
    assert found.keypoint_detector == config.KeypointDetectorConfig()
    assert found.dense_motion == config.DenseMotionConfig()
    assert found.generator == config.GeneratorConfig(max_features=256)


@pytest.mark.slow
def test_what_is_told_from_the_tensors_builds_these_tensors():
    tree = make_released(15)
    run = checkpoint.build(torch_import.pick_config(tree, None, "cpk"))
    detector, dense_motion, generator = run.model.layers
    for part, entries in (
        ("kp_detector", names.detector_entries(detector)),
        ("generator", names.generator_entries(dense_motion, generator)),
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
def test_a_discriminator_is_told_from_its_tensors(recipe, expected):
    shapes = RELEASED[recipe]["discriminator"]
    tree = make_released() | {"discriminator": {name: Tensor(*shape) for name, shape in shapes.items()}}
    assert torch_import.pick_config(tree, None, "cpk").model.discriminator == expected


def test_a_discriminator_of_two_scales_is_told_from_its_tensors():
    tree = make_released() | load("tiny-disc2")
    assert torch_import.pick_config(tree, None, "cpk").model.discriminator == config.DiscriminatorConfig(
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
        (drop("kp_detector", "kp."), "the sizes of the networks cannot be told from its tensors ('kp.weight')"),
        (put("kp_detector", "kp.weight"), "the sizes of the networks cannot be told from its tensors"),
        (put("kp_detector", "down.weight", 3, 1, 12, 12), "cannot be told from its tensors (down.weight of 12 pixels)"),
        (drop("kp_detector", ""), "the sizes of the networks cannot be told from its tensors"),
        (drop("generator", "first"), "the sizes of the networks cannot be told from its tensors"),
        (drop("generator", "dense_motion_network"), "the sizes of the networks cannot be told from its tensors"),
    ],
)
def test_other_architectures_are_refused_without_a_config_and_the_cure_is_named(edit, message):
    tree = make_released()
    edit(tree)
    with pytest.raises(errors.UserError) as caught:
        torch_import.pick_config(tree, None, "cpk.pth.tar")
    assert str(caught.value).startswith("cpk.pth.tar: ") and message in str(caught.value)
    assert "give --config" in str(caught.value)


@pytest.mark.parametrize("name", ["tiny", "wide", "zero-order", "single-jacobian"])
def test_the_small_reference_models_need_a_config(name):
    with pytest.raises(errors.UserError, match=r"its keypoint detector is not that of the rel.*; give --config"):
        torch_import.import_checkpoint(load(name), None, True, name)


# What is refused ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_run():
    return bring_in(load("tiny"))


@pytest.mark.parametrize("part", STATES)
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda state, name: state.pop(name), "lacks tensor {name};"),
        (lambda state, name: state.update(extra=np.zeros(3, "f4")), "has the surplus tensor extra;"),
        (lambda state, name: state.update({name: state[name][..., :-1]}), "{name} must be {shape}; got {cut}:"),
        (lambda state, name: state.update({name: state[name][None]}), "{name} must be {shape}; got [1, "),
        (lambda state, name: state.update({name: "weights"}), "{name} must be {shape}; got str:"),
        (lambda state, name: state.update({name: None}), "{name} must be {shape}; got NoneType:"),
    ],
)
def test_a_wrong_tensor_is_named_and_nothing_is_assigned(part, edit, message, tiny_run):
    detector, dense_motion, generator = tiny_run.model.layers
    entries = {
        "generator": lambda: names.generator_entries(dense_motion, generator),
        "kp_detector": lambda: names.detector_entries(detector),
        "discriminator": lambda: names.discriminator_entries(tiny_run.discriminator),
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
    assert "give --config of this" in str(caught.value)
    for entry, array in zip(entries, before, strict=True):
        np.testing.assert_array_equal(entry.variable.numpy(), array)


def test_many_missing_tensors_are_counted(built_once):
    tree = load("tiny")
    missing = [name for name in tree["generator"] if name.startswith("bottleneck.r1")]
    for name in missing:
        del tree["generator"][name]
    assert f"generator lacks tensor {missing[0]} and {len(missing) - 1} more;" in refuse(tree)


def test_the_config_of_another_model_is_refused_with_a_tensor_s_name(built_once):
    message = refuse(load("zero-order"), "tiny")
    assert "generator lacks tensor dense_motion_network.occlusion.weight and 1 more" in message
    message = refuse(load("tiny"), "zero-order")
    assert "generator has the surplus tensor dense_motion_network.occlusion.weight and 1 more" in message
    message = refuse(load("tiny"), "single-jacobian")
    assert "must be [16, 20, 3, 3]; got [16, 24, 3, 3]: give --config of this model" in message


@pytest.mark.parametrize("part", ["kp_detector", "generator"])
@pytest.mark.parametrize("value", [None, 5, "weights"])
def test_a_checkpoint_without_a_network_is_refused(part, value):
    tree = load("tiny-legacy-cuda")
    if value is None:
        del tree[part]
    else:
        tree[part] = value
    assert f"holds no state dictionary '{part}'; it holds " in refuse(tree)
    with pytest.raises(errors.UserError, match="holds no state dictionary"):
        torch_import.import_checkpoint(tree, None, True, "cpk.pth.tar")


def test_a_discriminator_alone_and_an_empty_file_are_refused():
    assert "holds no state dictionary 'kp_detector'; it holds discriminator, epoch." in refuse(load("tiny-disc2"))
    assert "holds no state dictionary 'kp_detector'; it holds nothing." in refuse({})


def test_a_discriminator_that_is_no_state_dictionary_is_left_out(built_once):
    tree = load("tiny-legacy-cuda") | {"discriminator": None}
    assert bring_in(tree).discriminator is None
    with pytest.raises(errors.UserError, match="give --config"):
        torch_import.pick_config(tree, None, "tiny")


@pytest.mark.parametrize("epoch", [-1, 0.5, float("nan"), float("inf"), 2**63, 2**70, None, "five", True, [5], {}])
def test_an_epoch_that_is_no_whole_number_is_refused(epoch):
    message = refuse(load("tiny-legacy-cuda") | {"epoch": epoch})
    assert "cpk.pth.tar: epoch must be a whole number; got " in message


@pytest.mark.parametrize("epoch", [np.array(7), np.float32(7), 7.0, np.array(7, "i4")])
def test_an_epoch_may_be_any_kind_of_number(epoch, built_once):
    assert bring_in(load("tiny-legacy-cuda") | {"epoch": epoch}).epoch == 7


@pytest.fixture(scope="module")
def stepped():
    return load("tiny-step5")


def cut_moment(name):
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
        (cut_moment("exp_avg"), "exp_avg of predictor.encoder.down_blocks.0.norm.bias must be [16]"),
        (cut_moment("exp_avg_sq"), "exp_avg_sq of predictor.encoder.down_blocks.0.norm.bias must be [16]"),
        (lambda adam: adam["state"][3].pop("exp_avg"), "exp_avg of predictor.encoder.down_blocks.0.norm.bias must be"),
        (lambda adam: adam["state"][3].update(exp_avg=5), "exp_avg of predictor.encoder.down_blocks.0.norm.bias must"),
        (lambda adam: adam["state"][3].update(step=6), "must hold 28 parameters after one number of steps; got 28 aft"),
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
        (group_of(params=list(range(27))), "must hold 28 parameters after one number of steps; got 27 after [5]"),
        (rename_states, "has moments of 28 parameters that its param_groups do not name"),
    ],
)
def test_a_wrong_optimizer_state_is_refused(edit, message, stepped, built_once):
    tree = {**stepped, "optimizer_kp_detector": copy.deepcopy(stepped["optimizer_kp_detector"])}
    edit(tree["optimizer_kp_detector"])
    found = refuse(tree)
    assert found.startswith("cpk.pth.tar: optimizer_kp_detector ") or "optimizer_kp_detector: " in found
    assert message in found

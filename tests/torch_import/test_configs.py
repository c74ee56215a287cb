"""YAML configs of the reference, read as configs of this project."""

import pytest
from reference_checkpoints import DATA

from fomm_tf import config, errors, torch_import
from fomm_tf.torch_import import configs

pytestmark = pytest.mark.slow


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

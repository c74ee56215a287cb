"""Sizes of the networks and of frames that a model cannot have."""

import pytest
from config_trees import nest, parse_error

from fomm_tf import config, errors


@pytest.mark.parametrize(
    ("path", "value", "bound"),
    [
        ("num_keypoints", 0, "at least 1"),
        ("num_keypoints", -3, "at least 1"),
        ("keypoint_detector.num_blocks", 0, "at least 1"),
        ("keypoint_detector.block_expansion", 0, "at least 1"),
        ("keypoint_detector.max_features", 0, "at least 1"),
        ("keypoint_detector.pad", -1, "at least 0"),
        ("keypoint_detector.temperature", 0.0, "greater than 0"),
        ("keypoint_detector.temperature", float("nan"), "greater than 0"),
        ("dense_motion.num_blocks", -1, "at least 1"),
        ("dense_motion.block_expansion", -8, "at least 1"),
        ("dense_motion.max_features", 0, "at least 1"),
        ("dense_motion.heatmap_variance", 0.0, "greater than 0"),
        ("generator.num_down_blocks", -1, "at least 0"),
        ("generator.num_residual_blocks", -1, "at least 0"),
        ("generator.block_expansion", 0, "at least 1"),
        ("generator.max_features", 0, "at least 1"),
        ("discriminator.num_blocks", 0, "at least 1"),
        ("discriminator.block_expansion", 0, "at least 1"),
        ("discriminator.max_features", 0, "at least 1"),
        ("discriminator.heatmap_variance", -0.1, "greater than 0"),
    ],
)
def test_model_config_rejects_invalid_sizes(path, value, bound):
    assert parse_error(nest(f"model.{path}", value)) == f"model.{path} must be {bound}; got {value}."


@pytest.mark.parametrize("scales", [[], [0.0], [2.0], [1.0, -0.5]])
def test_model_config_rejects_invalid_discriminator_scales(scales):
    message = parse_error({"model": {"discriminator": {"scales": scales}}})
    assert message == f"model.discriminator.scales must be one or more in (0, 1]; got {scales}."


@pytest.mark.parametrize("scale", [0.0, 0.3, 2.0])
def test_model_config_rejects_generator_scales_that_divide_no_frame(scale):
    message = parse_error({"model": {"generator": {"blend_source": True, "scale": scale}}})
    assert message == f"model.generator.scale must be 1 divided by a whole number; got {scale}."


def test_model_config_rejects_a_scaled_generator_without_blend():
    message = parse_error({"model": {"generator": {"scale": 0.5}}})
    assert message == "model.generator.scale must be 1 without model.generator.blend_source; got 0.5."


def test_model_config_rejects_frames_that_a_scaled_generator_cannot_halve():
    message = parse_error({"model": {"frame_size": [256, 256], "generator": {"blend_source": True, "scale": 1 / 128}}})
    assert "multiple of 512 (2 halvings in the generator at model.generator.scale 0.0078125)" in message


def test_model_config_accepts_generator_without_blocks():
    found = config.parse({"model": {"generator": {"num_down_blocks": 0, "num_residual_blocks": 0}}})
    assert (found.model.generator.num_down_blocks, found.model.generator.num_residual_blocks) == (0, 0)


def test_frame_size_error_explains_the_multiple():
    assert parse_error({"model": {"frame_size": [100, 100]}}) == (
        "model.frame_size [100, 100] times model.motion_scale 0.25 is [25, 25]; each side must be a multiple of 32 "
        "(5 halvings in the hourglass)."
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame_size": [256, 250]}, "[256, 250] times model.motion_scale 0.25 is [64, 63]; each side must be a mul"),
        ({"frame_size": [0, 0]}, "[0, 0] times model.motion_scale 0.25 is [0, 0]; each side must be a multiple of 32"),
        ({"frame_size": [-128, 128]}, "[-128, 128] times model.motion_scale 0.25 is [-32, 32]; each side must be a"),
        ({"frame_size": [64, 64]}, "[64, 64] times model.motion_scale 0.25 is [16, 16]; each side must be a multi"),
        (
            {"frame_size": [64, 64], "motion_scale": 1.0},
            "[64, 64] times model.keypoint_detector.scale 0.25 is [16, 16]; each side must be a multiple of 32 (5 hal",
        ),
        (
            {"frame_size": [66, 64], "motion_scale": 0.5, "dense_motion": {"num_blocks": 1},
             "keypoint_detector": {"num_blocks": 1, "scale": 0.5}},
            "[66, 64] times model.motion_scale 0.5 is [33, 32]; each side must be a multiple of 2 (1 halvings",
        ),
        (
            {"frame_size": [128, 128], "generator": {"num_down_blocks": 8}},
            "is [128, 128]; each side must be a multiple of 256 (8 halvings in the generator).",
        ),
        (
            {"frame_size": [16, 16], "dense_motion": {"num_blocks": 1}, "keypoint_detector": {"num_blocks": 2}},
            "[16, 16] times model.keypoint_detector.scale 0.25 is [4, 4]; each side must be at least 8 (heads of 7x7",
        ),
    ],
)  # fmt: skip
def test_model_config_rejects_wrong_frame_sizes(changes, message):
    assert parse_error({"model": changes}).startswith(f"model.frame_size {message}")


@pytest.mark.parametrize("scale", [0.0, -0.25, 1.5, float("nan"), float("inf")])
@pytest.mark.parametrize("path", ["motion_scale", "keypoint_detector.scale"])
def test_model_config_rejects_invalid_scales(path, scale):
    assert parse_error(nest(f"model.{path}", scale)) == f"model.{path} must be in (0, 1]; got {scale}."


@pytest.mark.parametrize("size", [(256, 256), (128, 128), (128, 384), (512, 256)])
def test_model_config_accepts_divisible_frame_sizes(size):
    assert config.ModelConfig(frame_size=size).frame_size == size


def test_model_config_rejects_frame_size_that_rounds_up():
    with pytest.raises(
        errors.UserError, match=r"^model.frame_size is \[253, 256\]; each side must be a multiple of 4 "
    ):
        config.ModelConfig(frame_size=(253, 256))


def test_model_config_accepts_small_padded_frames():
    sizes = {"num_blocks": 2, "pad": 2}
    found = config.parse({
        "model": {"frame_size": [16, 16], "dense_motion": {"num_blocks": 1}, "keypoint_detector": sizes}
    })  # fmt: skip
    assert found.model.keypoint_detector.pad == 2


def test_check_frame_size_checks_other_sizes():
    model = config.ModelConfig()
    model.check_frame_size(384, 512)
    with pytest.raises(errors.UserError, match=r"^model.frame_size \[300, 512\] times"):
        model.check_frame_size(300, 512)

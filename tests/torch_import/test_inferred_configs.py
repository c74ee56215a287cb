"""Configs inferred from the tensors of a checkpoint that comes without one."""

import model_list
import pytest
from reference_checkpoints import RELEASED, load

from fomm_tf import checkpoint, config, errors, torch_import
from fomm_tf.torch_import import tensor_names

pytestmark = pytest.mark.slow


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


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_model_without_downsampling_has_no_antialias_kernels(scale):
    section = model_list.TINY["keypoint_detector"] | {"scale": scale}
    settings = config.parse({"model": model_list.TINY | {"keypoint_detector": section, "motion_scale": scale}})
    exported = torch_import.export_checkpoint(checkpoint.build(settings))
    kernels = {"kp_detector": "down.weight", "generator": "dense_motion_network.down.weight"}
    assert all((name in exported[network]) == (scale < 1) for network, name in kernels.items())

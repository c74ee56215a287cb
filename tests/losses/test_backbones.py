"""The backbones as networks: layers, gradients, dtypes, and EfficientNet-Lite0 against outputs of PyTorch."""

import math
import pathlib

import backbone_states
import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import errors
from fomm_tf.losses import backbones

TORCH = np.load(pathlib.Path(__file__).parent / "data" / "efficientnet.npz")
CHANNELS = {
    "vgg19": (64, 128, 256, 512, 512),
    "efficientnet_lite0": (16, 24, 40, 112, 320),
    "random": (8, 16, 32, 32, 32),
}


def images(*shape, seed=0):
    return tf.constant(backbone_states.images(*shape, seed=seed))


def side_of(name, side, layer):
    """VGG-19 pools without padding; the others round up, and EfficientNet halves before its first layer."""
    if name == "vgg19":
        return side // 2**layer
    return math.ceil(side / 2 ** (layer + (name == "efficientnet_lite0")))


@pytest.mark.parametrize("size", [(16, 16), (37, 51), (64, 24)])
def test_backbone_layers_have_expected_shapes(backbone, size):
    layers = backbone(images(2, *size, 3))
    expected = [
        (2, *(side_of(backbone.name, side, layer) for side in size), channels)
        for layer, channels in enumerate(CHANNELS[backbone.name])
    ]
    assert [tuple(features.shape) for features in layers] == expected
    assert all(np.isfinite(features).all() and np.std(features) > 0 for features in layers)


def test_backbone_accepts_8_pixels_except_vgg19(backbone):
    if backbone.name == "vgg19":
        with pytest.raises(errors.UserError, match=r"at least 16 pixels a side; got 8 x 20: .* train\.pyramid_scales"):
            backbone(images(1, 8, 20, 3))
    else:
        assert [features.shape[1] for features in backbone(images(1, 8, 20, 3))][-1] == 1


def test_backbone_graph_of_any_size_matches_eager(backbone):
    inputs = images(2, 21, 34, 3)
    graph = tf.function(backbone.__call__, [tf.TensorSpec([None, None, None, 3])], autograph=False)
    for features, expected in zip(graph(inputs), backbone(inputs), strict=True):
        np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4)


def test_backbone_processes_examples_independently(backbone):
    inputs = images(2, 24, 24, 3)
    for both, one in zip(backbone(inputs), backbone(inputs[1:]), strict=True):
        np.testing.assert_allclose(both[1:], one, rtol=1e-4, atol=1e-4)


def test_backbone_weights_are_frozen(backbone):
    assert backbone.variables
    assert not backbone.trainable_variables


def test_backbone_gradient_of_every_layer_is_finite(backbone):
    inputs = images(1, 32, 32, 3)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        sums = [tf.reduce_sum(tf.abs(features)) for features in backbone(inputs)]
    for total in sums:
        gradient = tape.gradient(total, inputs).numpy()
        assert np.isfinite(gradient).all()
        assert (np.abs(gradient).max(axis=-1) > 0).mean() > 0.9, "nearly every pixel has a gradient"


def test_backbone_gradient_matches_numeric_gradient(backbone):
    inputs, direction = tf.cast(images(1, 16, 16, 3), tf.float64), np.random.RandomState(1).standard_normal((16, 16, 3))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = tf.add_n([tf.reduce_mean(tf.square(features)) for features in backbone(inputs)])
    assert total.dtype == tf.float64
    slope = np.sum(tape.gradient(total, inputs) * direction)

    def value(step):
        return sum(np.square(features).mean() for features in backbone(inputs + step * direction))

    assert slope == pytest.approx((value(1e-7) - value(-1e-7)) / 2e-7, rel=1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [(tf.float16, 2e-3), (tf.bfloat16, 2e-2)], ids=["float16", "bfloat16"])
def test_backbone_computes_half_precision_images_in_float32(backbone, dtype, tolerance):
    inputs = images(1, 32, 32, 3)
    for half, single in zip(backbone(tf.cast(inputs, dtype)), backbone(inputs), strict=True):
        assert half.dtype == tf.float32
        np.testing.assert_allclose(half, single, atol=tolerance * np.abs(single).max())


def assert_matches_torch(network, weights, size):
    shape = {"224": (1, 224, 224, 3), "odd": (2, 37, 51, 3), "least": (2, 8, 8, 3)}[size]
    for layer, features in enumerate(network(images(*shape))):
        name, flat = f"{weights}_{size}_{layer}", features.numpy().ravel()
        assert tuple(features.shape) == tuple(TORCH[f"{name}_shape"])
        assert np.abs(flat).mean(dtype=np.float64) == pytest.approx(float(TORCH[f"{name}_mean"]), rel=1e-5)
        expected = TORCH[f"{name}_values"]
        # Sums in float32 have different orders: measured at most 1.2e-5 over whole layers, in the deepest one.
        got = flat[np.linspace(0, flat.size - 1, len(expected)).astype(int)]
        np.testing.assert_allclose(got, expected, atol=2e-5 * np.abs(flat).max(), err_msg=name)


@pytest.mark.parametrize("size", ["224", "odd", "least"])
def test_efficientnet_with_random_weights_matches_torch(efficientnet, size):
    assert_matches_torch(efficientnet, "random", size)


@pytest.mark.network
@pytest.mark.parametrize("size", ["224", "odd", "least"])
def test_efficientnet_with_published_weights_matches_torch(trained_efficientnet, size):
    assert_matches_torch(trained_efficientnet, "real", size)


def test_random_backbone_is_deterministic():
    inputs = images(1, 16, 16, 3)
    for one, other in zip(backbones.load("random")(inputs), backbones.load("random")(inputs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_only_torchvision_vgg19_needs_no_scaling(backbone):
    assert backbone.relative == (backbone.name != "vgg19")
    assert backbones.KerasVgg19.relative


def test_scaled_features_have_mean_1_on_calibration_images(backbone):
    inputs = images(2, 24, 24, 3)
    scales = backbones.measure(backbone, inputs)
    assert all(type(scale) is float for scale in scales)
    assert scales == backbones.measure(backbone, inputs)
    for features, scaled, scale in zip(
        backbone(inputs), backbones.Scaled(backbone, scales)(inputs), scales, strict=True
    ):
        assert np.abs(scaled).mean() == pytest.approx(1.0, rel=1e-5)
        np.testing.assert_allclose(scaled * scale, features, rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, math.nan], ids=["black", "not a number"])
def test_measure_rejects_black_or_nan_frames(value):
    with pytest.raises(
        errors.UserError, match=r"^Layer 1 of the backbone random has mean magnitude (0|nan) .* training set"
    ):
        backbones.measure(backbones.load("random"), tf.fill([1, 16, 16, 3], value))


@pytest.mark.parametrize(
    "scales", [(1.0,) * 4, (1.0,) * 6, (1.0, 1.0, 0.0, 1.0, 1.0), (1.0, math.nan, 1.0, 1.0, 1.0), (-1.0,) * 5]
)
def test_scaled_rejects_bad_scales(scales):
    with pytest.raises(errors.UserError, match=r"train\.feature_scales must be 5 positive numbers, .* got \["):
        backbones.Scaled(backbones.load("random"), scales)

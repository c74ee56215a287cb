"""The backbones as networks: taps, gradients, dtypes, and EfficientNet-Lite0 against torch's own numbers."""

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
    """VGG-19's pools drop an odd last pixel; the others round up, and EfficientNet halves before its first tap."""
    if name == "vgg19":
        return side // 2**layer
    return math.ceil(side / 2 ** (layer + (name == "efficientnet_lite0")))


@pytest.mark.parametrize("size", [(16, 16), (37, 51), (64, 24)])
def test_the_taps_have_the_channels_and_strides_of_their_layers(backbone, size):
    taps = backbone(images(2, *size, 3))
    expected = [
        (2, *(side_of(backbone.name, side, layer) for side in size), channels)
        for layer, channels in enumerate(CHANNELS[backbone.name])
    ]
    assert [tuple(tap.shape) for tap in taps] == expected
    assert all(np.isfinite(tap).all() and np.std(tap) > 0 for tap in taps)


def test_eight_pixels_are_enough_but_for_vgg19(backbone):
    if backbone.name == "vgg19":
        with pytest.raises(errors.UserError, match=r"16 pixels a side at least; got 8 x 20: .* train\.pyramid_scales"):
            backbone(images(1, 8, 20, 3))
    else:
        assert [tap.shape[1] for tap in backbone(images(1, 8, 20, 3))][-1] == 1


def test_a_graph_for_any_size_gives_what_eager_execution_does(backbone):
    inputs = images(2, 21, 34, 3)
    graph = tf.function(backbone.__call__, [tf.TensorSpec([None, None, None, 3])], autograph=False)
    for tap, expected in zip(graph(inputs), backbone(inputs), strict=True):
        np.testing.assert_allclose(tap, expected, rtol=1e-4, atol=1e-4)


def test_each_example_is_seen_by_itself(backbone):
    inputs = images(2, 24, 24, 3)
    for both, one in zip(backbone(inputs), backbone(inputs[1:]), strict=True):
        np.testing.assert_allclose(both[1:], one, rtol=1e-4, atol=1e-4)


def test_the_weights_never_train(backbone):
    assert backbone.variables
    assert not backbone.trainable_variables


def test_every_layer_hands_a_finite_gradient_back_to_the_image(backbone):
    inputs = images(1, 32, 32, 3)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        sums = [tf.reduce_sum(tf.abs(tap)) for tap in backbone(inputs)]
    for total in sums:
        gradient = tape.gradient(total, inputs).numpy()
        assert np.isfinite(gradient).all()
        assert (np.abs(gradient).max(axis=-1) > 0).mean() > 0.9, "nearly every pixel is seen"


def test_the_gradient_is_the_slope_in_double_precision(backbone):
    inputs, direction = tf.cast(images(1, 16, 16, 3), tf.float64), np.random.RandomState(1).standard_normal((16, 16, 3))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = tf.add_n([tf.reduce_mean(tf.square(tap)) for tap in backbone(inputs)])
    assert total.dtype == tf.float64
    slope = np.sum(tape.gradient(total, inputs) * direction)

    def value(step):
        return sum(np.square(tap).mean() for tap in backbone(inputs + step * direction))

    assert slope == pytest.approx((value(1e-7) - value(-1e-7)) / 2e-7, rel=1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [(tf.float16, 2e-3), (tf.bfloat16, 2e-2)], ids=["float16", "bfloat16"])
def test_half_precision_images_are_computed_in_single_precision(backbone, dtype, tolerance):
    inputs = images(1, 32, 32, 3)
    for half, single in zip(backbone(tf.cast(inputs, dtype)), backbone(inputs), strict=True):
        assert half.dtype == tf.float32
        np.testing.assert_allclose(half, single, atol=tolerance * np.abs(single).max())


def assert_is_torch_s(network, weights, size):
    shape = {"224": (1, 224, 224, 3), "odd": (2, 37, 51, 3), "least": (2, 8, 8, 3)}[size]
    for layer, tap in enumerate(network(images(*shape))):
        name, flat = f"{weights}_{size}_{layer}", tap.numpy().ravel()
        assert tuple(tap.shape) == tuple(TORCH[f"{name}_shape"])
        assert np.abs(flat).mean(dtype=np.float64) == pytest.approx(float(TORCH[f"{name}_mean"]), rel=1e-5)
        expected = TORCH[f"{name}_values"]
        # Both add float32 up in orders of their own: measured 1.2e-5 at most over whole taps, in the deepest.
        got = flat[np.linspace(0, flat.size - 1, len(expected)).astype(int)]
        np.testing.assert_allclose(got, expected, atol=2e-5 * np.abs(flat).max(), err_msg=name)


@pytest.mark.parametrize("size", ["224", "odd", "least"])
def test_efficientnet_with_random_weights_is_torch_s(efficientnet, size):
    assert_is_torch_s(efficientnet, "random", size)


@pytest.mark.network
@pytest.mark.parametrize("size", ["224", "odd", "least"])
def test_efficientnet_with_the_published_weights_is_torch_s(trained_efficientnet, size):
    assert_is_torch_s(trained_efficientnet, "real", size)


def test_the_random_backbone_is_always_the_same():
    inputs = images(1, 16, 16, 3)
    for one, other in zip(backbones.load("random")(inputs), backbones.load("random")(inputs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_only_torchvision_s_vgg19_has_the_features_that_the_paper_s_weights_belong_to(backbone):
    assert backbone.relative == (backbone.name != "vgg19")
    assert backbones.KerasVgg19.relative


def test_scaled_features_have_mean_size_1_on_the_images_that_they_were_measured_on(backbone):
    inputs = images(2, 24, 24, 3)
    scales = backbones.measure(backbone, inputs)
    assert all(type(scale) is float for scale in scales)
    assert scales == backbones.measure(backbone, inputs)
    for tap, scaled, scale in zip(backbone(inputs), backbones.Scaled(backbone, scales)(inputs), scales, strict=True):
        assert np.abs(scaled).mean() == pytest.approx(1.0, rel=1e-5)
        np.testing.assert_allclose(scaled * scale, tap, rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, math.nan], ids=["black", "not a number"])
def test_frames_that_leave_nothing_to_measure_are_refused(value):
    with pytest.raises(
        errors.UserError, match=r"^Layer 1 of the backbone random has mean size (0|nan) .* training set"
    ):
        backbones.measure(backbones.load("random"), tf.fill([1, 16, 16, 3], value))


@pytest.mark.parametrize(
    "scales", [(1.0,) * 4, (1.0,) * 6, (1.0, 1.0, 0.0, 1.0, 1.0), (1.0, math.nan, 1.0, 1.0, 1.0), (-1.0,) * 5]
)
def test_scales_that_are_not_five_positive_numbers_are_refused(scales):
    with pytest.raises(errors.UserError, match=r"train\.feature_scales must be 5 positive numbers, .* got \["):
        backbones.Scaled(backbones.load("random"), scales)

"""The shared blocks: normalization as in torch (also across replicas), initial weights, sizes."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf.models import blocks, discriminator

OPS = np.load(pathlib.Path(__file__).parent.parent / "parity" / "data" / "ops.npz")
STATE = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def nhwc(array):
    return np.moveaxis(array, 1, -1)


def make_norm():
    norm = blocks.BatchNorm()
    norm.build(tf.TensorShape([None, None, None, 4]))
    for ours, theirs in STATE.items():
        getattr(norm, ours).assign(OPS[f"bn_before_{theirs}"])
    return norm


def assert_state_after_one_step(norm):
    for ours, theirs in STATE.items():
        np.testing.assert_allclose(getattr(norm, ours), OPS[f"bn_after_{theirs}"], rtol=1e-6, atol=1e-6, err_msg=ours)
    assert int(norm.batches.numpy()) == 1


@pytest.mark.parametrize("compiled", [None, False, True], ids=["eager", "graph", "xla"])
def test_batch_norm_update_equals_reference(compiled):
    norm, inputs = make_norm(), tf.constant(nhwc(OPS["bn_x"]))
    call = norm if compiled is None else tf.function(norm, jit_compile=compiled)
    np.testing.assert_allclose(call(inputs, training=True), nhwc(OPS["bn_y_train"]), atol=2e-6)
    assert_state_after_one_step(norm)
    np.testing.assert_allclose(call(inputs, training=False), nhwc(OPS["bn_y_eval_after"]), atol=2e-6)


@pytest.mark.parametrize("split", [(1, 1), (2, 4)], ids=["even", "uneven"])
def test_batch_norm_of_two_replicas_equals_whole_batch(split, two_replicas):
    inputs = tf.constant(nhwc(OPS["bn_x"]))
    if split == (2, 4):
        inputs = tf.concat([inputs, inputs * 0.5 + 1.0, inputs[:, ::-1] * 2.0], axis=0)
    weights = tf.random.stateless_normal(inputs.shape, [1, 2])
    alone = make_norm()
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        expected = alone(inputs, training=True)
        total = tf.reduce_sum(expected * weights)
    expected_gradients = tape.gradient(total, [inputs, alone.gamma, alone.beta])

    with two_replicas.scope():
        norm = make_norm()

    def step(part, part_weights):
        with tf.GradientTape() as tape:
            tape.watch(part)
            outputs = norm(part, training=True)
            total = tf.reduce_sum(outputs * part_weights)
        return outputs, tape.gradient(total, [part, norm.gamma, norm.beta])

    @tf.function
    def run():
        parts = [
            two_replicas.experimental_distribute_values_from_function(
                lambda context, tensor=tensor: tf.split(tensor, split)[context.replica_id_in_sync_group]
            )
            for tensor in (inputs, weights)
        ]
        return two_replicas.run(step, args=parts)

    outputs, (d_inputs, d_gamma, d_beta) = run()
    joined = tf.concat(two_replicas.experimental_local_results(outputs), 0)
    np.testing.assert_allclose(joined, expected, atol=5e-6)
    joined = tf.concat(two_replicas.experimental_local_results(d_inputs), 0)
    np.testing.assert_allclose(joined, expected_gradients[0], atol=2e-5)
    for got, whole in ((d_gamma, expected_gradients[1]), (d_beta, expected_gradients[2])):
        np.testing.assert_allclose(sum(two_replicas.experimental_local_results(got)), whole, atol=5e-5)
    np.testing.assert_allclose(norm.moving_mean.numpy(), alone.moving_mean, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(norm.moving_variance.numpy(), alone.moving_variance, rtol=2e-6, atol=1e-6)
    assert int(norm.batches.numpy()) == 1


def test_instance_norm_equals_reference():
    norm = discriminator.InstanceNorm()
    norm.build(tf.TensorShape([None, None, None, 4]))
    norm.gamma.assign(OPS["bn_before_weight"])
    norm.beta.assign(OPS["bn_before_bias"])
    np.testing.assert_allclose(norm(tf.constant(nhwc(OPS["bn_x"]))), nhwc(OPS["instnorm_y"]), atol=2e-6)


def test_nearest_upsampling_equals_reference():
    convolution = blocks.UpConvolution(3)
    np.testing.assert_array_equal(convolution.upsample(nhwc(OPS["nearest2_in"])), nhwc(OPS["nearest2_out"]))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("side", [4, 8], ids=["plain path", "at 4/9 of the work"])
@pytest.mark.parametrize("way", ["upsample_conv2d", "subpixel_conv2d"])
def test_up_convolution_equals_convolution_of_upsampled_image(way, side, training, monkeypatch):
    inputs = tf.random.stateless_normal([2, side, side, 5], [1, 2])
    calls, fast = [], getattr(blocks.resample, way)
    monkeypatch.setattr(blocks.resample, way, lambda *args: calls.append(1) or fast(*args))
    convolution = blocks.UpConvolution(3)
    convolution.use_subpixel_conv = way == "subpixel_conv2d"
    outputs = convolution(inputs, training=training)
    doubled = tf.repeat(tf.repeat(inputs, 2, axis=1), 2, axis=2)
    expected = tf.nn.conv2d(doubled, convolution.kernel, 1, "SAME") + convolution.bias
    np.testing.assert_allclose(outputs, expected, atol=1e-6)
    assert len(calls) == (side == 8)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(8, 8), (8, 7)], ids=["even", "odd"])
def test_image_convolution_computes_blocks_of_even_images_outside_of_training(shape, training, monkeypatch):
    calls, by_blocks = [], blocks.conv.few_filters_conv2d
    monkeypatch.setattr(blocks.conv, "few_filters_conv2d", lambda *args: calls.append(1) or by_blocks(*args))
    inputs, layer = tf.random.stateless_normal([2, *shape, 5], [1, 2]), blocks.ImageConvolution(3)
    outputs = layer(inputs, training=training)
    np.testing.assert_allclose(outputs, tf.nn.conv2d(inputs, layer.kernel, 1, "SAME") + layer.bias, atol=1e-6)
    assert len(calls) == (not training and shape == (8, 8))


def test_convolve_together_equals_separate_convolutions_and_gradients():
    inputs = tf.random.stateless_normal([2, 9, 7, 5], [1, 2])
    layers = [blocks.Convolution(3, 5), blocks.Convolution(1, 5)]
    upstream = [tf.random.stateless_normal([2, 9, 7, layer.filters], [3, 4]) for layer in layers]
    results = []
    for call in (lambda: blocks.convolve_together(inputs, *layers), lambda: [layer(inputs) for layer in layers]):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = tf.function(call)()
        variables = [variable for layer in layers for variable in layer.trainable_variables]
        assert len(variables) == 4
        results.append([*outputs, *tape.gradient(outputs, [inputs, *variables], upstream)])
    for outputs, expected in zip(*results, strict=True):
        np.testing.assert_allclose(outputs, expected, atol=2e-5)


def test_convolution_initial_weights_are_uniform_as_in_torch():
    convolution = blocks.Convolution(64, 3)
    convolution.build(tf.TensorShape([None, None, None, 32]))
    limit = (32 * 9) ** -0.5
    for values in (convolution.kernel.numpy(), convolution.bias.numpy()):
        assert np.abs(values).max() <= limit and np.abs(values).max() > 0.9 * limit
        assert abs(values.std() / (limit / 3**0.5) - 1) < 0.15


def test_spectral_norm_divides_by_the_largest_singular_value():
    tf.keras.utils.set_random_seed(1)
    layer = discriminator.SpectralConvolution(6, 4, padding="valid")
    layer.build(tf.TensorShape([None, 8, 8, 3]))
    image = tf.random.stateless_normal([1, 8, 8, 3], [1, 2])
    for _ in range(100):
        layer(image, training=True)
    kernel, left = layer.kernel.numpy(), layer.left.numpy()
    largest = np.linalg.svd(kernel.reshape(-1, 6), compute_uv=False)[0]
    expected = tf.nn.conv2d(image, kernel / largest, 1, "VALID") + layer.bias
    np.testing.assert_allclose(layer(image, training=False), expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(layer.left.numpy(), left)


def test_hourglass_rejects_indivisible_size():
    with pytest.raises(ValueError, match=r"got 24 x 20 pixels; each side must be a multiple of 8 \(3 halvings\)"):
        blocks.Hourglass(4, 3, 16)(tf.zeros([1, 24, 20, 3]))


def test_hourglass_outputs_expansion_and_input():
    inputs = tf.random.stateless_normal([2, 16, 24, 3], [1, 2])
    outputs = blocks.Hourglass(4, 3, 16)(inputs)
    assert outputs.shape == (2, 16, 24, 7)
    np.testing.assert_array_equal(outputs[..., 4:], inputs)

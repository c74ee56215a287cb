"""The blocks of X2Face: the embedded face, the code of a driving frame, and the grids that sample both."""

import functools

import model_list
import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import errors, models
from fomm_tf.structures import Keypoints

SIDE = 64


@functools.cache
def build():
    """One model for all tests."""
    tf.keras.utils.set_random_seed(3)
    model = models.create(model_list.BASELINES["x2face"])
    model_list.shake(model.weights)
    return model


@pytest.fixture(scope="module")
def frames():
    return tf.random.stateless_uniform([2, SIDE, SIDE, 3], [5, 1])


def sample(image, grid):
    """Samples an image `[H, W, C]` at `[h, w, 2]` in [-1, 1], the border repeated, by loops."""
    height, width, channels = image.shape
    result = np.zeros((*grid.shape[:2], channels))
    for i, j in np.ndindex(*grid.shape[:2]):
        x = np.clip((grid[i, j, 0] + 1) / 2 * (width - 1), 0, width - 1)
        y = np.clip((grid[i, j, 1] + 1) / 2 * (height - 1), 0, height - 1)
        left, top = min(int(x), width - 2), min(int(y), height - 2)
        for row, column in np.ndindex(2, 2):
            weight = (1 - abs(x - left - column)) * (1 - abs(y - top - row))
            result[i, j] += weight * image[top + row, left + column]
    return result


def test_render_samples_the_source_twice(frames):
    model = build()
    encoded, code = model.encode_source(frames[0]), model.detect(frames[1:])
    embedded = sample(frames[0].numpy(), model.embedding(frames[:1])[0].numpy())
    np.testing.assert_allclose(encoded.features[0], embedded, atol=1e-4)
    grid = model.driving(frames[1:])[0].numpy()
    rendering = model.render(encoded, code, details=True)
    np.testing.assert_allclose(rendering.prediction[0], sample(encoded.features[0].numpy(), grid), atol=1e-4)
    np.testing.assert_allclose(rendering.deformation[0], sample(encoded.lowres[0].numpy(), grid), atol=1e-4)
    assert rendering.mask is rendering.occlusion is None
    assert model.render(encoded, code).deformation is None


def test_grid_head_adds_its_convolution_to_the_identity():
    head = models.baselines.x2face.GridHead()
    features = tf.random.stateless_normal([1, 3, 4, 2], [1, 2])
    axes = np.linspace(-1, 1, 6), np.linspace(-1, 1, 8)
    identity = np.array([[[x, y] for x in axes[1]] for y in axes[0]])
    np.testing.assert_allclose(head(features, 6, 8)[0], identity, atol=1e-6)
    model_list.shake(head.weights)
    offset = tf.image.resize(head.conv(features), [6, 8])
    np.testing.assert_allclose(head(features, 6, 8)[0], identity + offset[0], atol=1e-6)


def test_new_model_copies_the_source(frames):
    model = models.create(model_list.BASELINES["x2face"])
    prediction = model({"source": frames, "driving": frames[::-1]}).prediction
    np.testing.assert_allclose(prediction, frames, atol=1e-5)


def test_code_is_the_dense_layer_of_the_last_features(frames):
    network = build().driving
    features = network.antialias(frames)
    for block in network.down_blocks:
        features = block(features)
    flat = features.numpy().reshape(2, -1)
    expected = flat @ network.to_code.kernel.numpy() + network.to_code.bias.numpy()
    np.testing.assert_allclose(build().detect(frames).value.numpy().reshape(2, 10), expected, atol=1e-4)


def test_decoder_starts_from_the_code(frames):
    network = build().driving
    code = network.encode(frames)
    hidden = np.maximum(code.numpy() @ network.from_code.kernel.numpy() + network.from_code.bias.numpy(), 0)
    features = tf.constant(hidden.reshape(2, *network.lowest, network.channels))
    for block in network.up_blocks:
        features = block(features)
    np.testing.assert_allclose(network.decode(code), network.head(features, SIDE, SIDE), atol=1e-4)


def test_render_rejects_codes_of_another_length(frames):
    encoded = build().encode_source(frames[0])
    with pytest.raises(errors.UserError, match=r"keypoints.value must be \[N, 5, 2\]"):
        build().render(encoded, Keypoints(tf.zeros([1, 4, 2]), None))


def test_detect_rejects_frames_of_another_size():
    with pytest.raises(ValueError, match=r"frames must be of \(64, 64\) pixels; got \(128, 64\)"):
        build().detect(np.zeros([1, 128, 64, 3], np.float32))

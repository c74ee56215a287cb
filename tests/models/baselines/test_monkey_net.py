"""The blocks of Monkey-Net: covariances, residual motion, and the generator's deformed skip connections."""

import functools

import model_list
import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import models, ops
from fomm_tf.ops import covariances, motion, resample, warp
from fomm_tf.structures import Keypoints

SIDE = 64


@functools.cache
def build():
    """One model for all tests."""
    tf.keras.utils.set_random_seed(3)
    model = models.create(model_list.BASELINES["monkey-net"])
    model_list.shake(model.weights)
    return model


@pytest.fixture(scope="module")
def frames():
    return tf.random.stateless_uniform([2, SIDE, SIDE, 3], [5, 1])


def draw_keypoints(seed):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(1, 5, 2, 2), scale=0.2)
    covariance = root @ root.swapaxes(-1, -2) + 0.01 * np.eye(2)
    return Keypoints(*(tf.constant(part, tf.float32) for part in (rng.uniform(-0.5, 0.5, (1, 5, 2)), covariance)))


def test_detector_finds_the_moments_of_its_heatmaps(frames):
    heatmap = build().detector.maps(frames)[0].numpy()
    found = build().detect(frames)
    size = heatmap.shape[1]
    axis = np.linspace(-1, 1, size)
    for b, k in np.ndindex(2, 5):
        mean, second = np.zeros(2), np.zeros((2, 2))
        for i, j in np.ndindex(size, size):
            place = np.array([axis[j], axis[i]])
            mean += heatmap[b, i, j, k] * place
            second += heatmap[b, i, j, k] * np.outer(place, place)
        eigenvalues, vectors = np.linalg.eigh(second - np.outer(mean, mean))
        clipped = vectors @ np.diag(np.maximum(eigenvalues, covariances.MIN_VARIANCE)) @ vectors.T
        np.testing.assert_allclose(found.value[b, k], mean, atol=1e-5)
        np.testing.assert_allclose(found.jacobian[b, k], clipped, atol=1e-4)


def test_dense_motion_is_masked_translations_plus_a_residual(frames):
    network, source, driving = build().dense_motion, draw_keypoints(1), draw_keypoints(2)
    residuals, head = [], network.residual_head
    network.residual_head = lambda features: residuals.append(head(features)) or residuals[-1]
    try:
        found = network(network.downsample(frames[:1]), source, driving)
    finally:
        network.residual_head = head
    (residual,) = residuals
    size = found.mask.shape[1]
    assert np.abs(residual).max() > 1e-3
    axis = np.linspace(-1, 1, size)
    for i, j in np.ndindex(size, size):
        place = np.array([axis[j], axis[i]])
        expected = found.mask[0, i, j, 0] * place + residual[0, i, j]
        for k in range(5):
            expected += found.mask[0, i, j, k + 1] * (place + source.value[0, k] - driving.value[0, k])
        np.testing.assert_allclose(found.deformation[0, i, j], expected, atol=1e-5)


def test_residual_of_a_new_model_is_zero(frames):
    network, source, driving = (
        models.create(model_list.BASELINES["monkey-net"]).dense_motion,
        draw_keypoints(1),
        draw_keypoints(2),
    )
    found = network(network.downsample(frames[:1]), source, driving)
    motions = motion.local_motions(source._replace(jacobian=None), driving._replace(jacobian=None), 16, 16)
    np.testing.assert_array_equal(found.deformation, motion.combine(motions, found.mask))


def test_heatmaps_have_the_shape_of_the_covariances():
    keypoints = draw_keypoints(3)
    found = build().dense_motion.heatmaps(keypoints, 8, 8)
    expected = covariances.gaussian_heatmaps(keypoints.value, keypoints.jacobian, 8, 8)
    np.testing.assert_array_equal(found, expected)


def test_generator_deforms_every_resolution_and_adds_the_heatmaps_differences(frames):
    generator = build().generator
    grid = ops.identity_grid(16, 16)[tf.newaxis] + [0.25, -0.125]
    difference = tf.random.stateless_normal([1, 16, 16, 5], [1, 2])
    deformed = models.DenseMotion(grid, None, None, None)
    found = generator(frames[:1], deformed, difference)
    levels = [generator.first(frames[:1])]
    for block in generator.down_blocks:
        levels.append(block(levels[-1]))

    def join(features):
        _, height, width, _ = features.shape
        warped = warp.backward_warp(features, resample.resize(grid, height, width))
        return tf.concat([warped, resample.resize(difference, height, width)], axis=-1)

    outputs = join(levels.pop())
    for block in generator.up_blocks:
        outputs = tf.concat([block(outputs), join(levels.pop())], axis=-1)
    for block in generator.refinement:
        outputs = block(outputs)
    assert not levels and len(generator.refinement) == 2
    np.testing.assert_allclose(found, tf.sigmoid(generator.final(outputs)), atol=1e-6)


def test_relative_transfer_of_the_first_frame_reconstructs_the_source(frames):
    model = build()
    source = model.encode_source(frames[0])
    driving = Keypoints(*(tf.concat(parts, axis=0) for parts in zip(draw_keypoints(1), draw_keypoints(2), strict=True)))
    initial = driving.map(lambda part: part[:1])
    moved = motion.transfer(source.keypoints, driving, initial)
    # Products of covariances are not symmetric; the heatmaps take their symmetric part.
    assert np.abs(moved.jacobian[1] - np.swapaxes(moved.jacobian[1], -1, -2)).max() > 1e-4
    rendering = model.render(source, moved)
    assert np.isfinite(rendering.prediction).all()
    still = model.render(source, source.keypoints)
    np.testing.assert_allclose(rendering.prediction[0], still.prediction[0], atol=1e-3)


def test_model_without_covariances_has_gaussians_of_one_variance(frames):
    model = models.create(model_list.BASELINES["monkey-net-one-variance"])
    keypoints = model.detect(frames)
    assert keypoints.value.shape == (2, 5, 2) and keypoints.jacobian is None
    found = model.dense_motion.heatmaps(keypoints, 8, 8)
    variance = model.config.dense_motion.heatmap_variance * np.eye(2, dtype=np.float32)
    covariance = tf.constant(np.tile(variance, [2, 5, 1, 1]))
    np.testing.assert_allclose(found, covariances.gaussian_heatmaps(keypoints.value, covariance, 8, 8), atol=1e-6)

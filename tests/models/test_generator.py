"""The generator's options: the blend of the warped source, and warped skip connections."""

import dataclasses
import functools

import model_list
import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import config, models
from fomm_tf.models import generator as generator_module

SIDE = 64


@functools.cache
def build(blend_source=True):
    """One generator for all tests, which change its alpha only."""
    settings = config.parse({"model": model_list.TINY}).model
    if blend_source:
        settings = model_list.MODELS["blend-source"]
    return models.FirstOrderMotionModel(settings).generator


def motion_by(offset):
    """Every pixel comes from `offset` further right, in [-1, 1]; nothing is occluded."""
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 16), np.linspace(-1, 1, 16)), -1)[np.newaxis]
    deformation = tf.constant(np.add(grid, [offset, 0.0]), tf.float32)
    return models.DenseMotion(deformation, tf.ones([1, 16, 16, 1]), None, None)


@pytest.fixture
def source():
    return tf.constant(np.random.default_rng(0).random([1, SIDE, SIDE, 3], np.float32))


def set_alpha(generator, logit):
    """Makes alpha constant: the logit is the last channel's bias plus the fixed one."""
    kernel, bias = generator.final.kernel, generator.final.bias
    kernel.assign(tf.concat([kernel[..., :3], tf.zeros_like(kernel[..., 3:])], -1))
    bias.assign(tf.concat([bias[:3], [logit - generator_module._ALPHA_BIAS]], 0))


def test_generator_has_no_alpha_channel_by_default():
    assert build(blend_source=False).final.kernel.shape[-1] == 3
    assert build().final.kernel.shape[-1] == 4


def test_generator_with_alpha_1_returns_the_warped_source(source):
    generator, motion = build(), motion_by(0.25)
    set_alpha(generator, 50.0)
    np.testing.assert_allclose(generator(source, motion), generator.warp_image(source, motion.deformation), atol=1e-6)


def test_generator_with_alpha_0_returns_the_color(source):
    generator, motion = build(), motion_by(0.25)
    set_alpha(generator, -50.0)
    features = generator.warp_features(generator.encode(source), motion)
    for block in [*generator.bottleneck, *generator.up_blocks]:
        features = block(features)
    color = tf.sigmoid(generator.final(features)[..., :3])
    np.testing.assert_allclose(generator(source, motion), color, atol=1e-6)


def test_generator_blends_by_alpha(source):
    generator, motion = build(), motion_by(-0.125)
    results = []
    for logit in (-50.0, 50.0, np.log(0.3 / 0.7)):
        set_alpha(generator, logit)
        results.append(generator(source, motion).numpy())
    color, warped, blended = results
    np.testing.assert_allclose(blended, 0.3 * warped + 0.7 * color, atol=1e-5)


def test_scaled_generator_encodes_means_of_pixels(source):
    scaled = models.FirstOrderMotionModel(model_list.MODELS["scaled-generator"]).generator
    small = source.numpy().reshape([1, SIDE // 2, 2, SIDE // 2, 2, 3]).mean(axis=(2, 4))
    levels = [scaled.first(small)]
    for block in scaled.down_blocks:
        levels.append(block(levels[-1]))
    for level, expected in zip(scaled.unpack(scaled.encode(source)), levels, strict=True):
        np.testing.assert_allclose(level, expected, atol=1e-5)


def test_scaled_generator_keeps_the_warped_source_at_full_size(source):
    scaled, motion = models.FirstOrderMotionModel(model_list.MODELS["scaled-generator"]).generator, motion_by(0.125)
    set_alpha(scaled, 50.0)
    np.testing.assert_allclose(scaled(source, motion), scaled.warp_image(source, motion.deformation), atol=1e-6)


@pytest.mark.parametrize("resize_displacements", [False, True])
def test_only_resized_displacements_leave_the_source_as_it_is_without_motion(resize_displacements, source):
    settings = dataclasses.replace(model_list.MODELS["blend-source"], resize_displacements=resize_displacements)
    generator, motion = models.FirstOrderMotionModel(settings).generator, motion_by(0.0)
    change = np.abs(generator.warp_image(source, motion.deformation) - source)
    assert (change.max() < 1e-5) == resize_displacements
    features = generator.encode(source)
    change = np.abs(generator.warp_features(features, motion) - features)
    # The motion has the size of the features here, 16x16: nothing is resized.
    assert change.max() < 1e-5


def test_scaled_generator_enlarges_color_bilinearly(source):
    scaled, motion = models.FirstOrderMotionModel(model_list.MODELS["scaled-generator"]).generator, motion_by(0.125)
    set_alpha(scaled, -50.0)
    features = scaled.warp_features(scaled.encode(source), motion)
    *skips, features = scaled.unpack(features)
    for block in scaled.bottleneck:
        features = block(features)
    for block in scaled.up_blocks:
        features = tf.concat([block(features), skips.pop()], axis=-1)
    color = tf.image.resize(scaled.final(features)[..., :3], [SIDE, SIDE])
    np.testing.assert_allclose(scaled(source, motion), tf.sigmoid(color), atol=1e-5)


def test_decode_rejects_a_missing_warped_source(source):
    generator = build()
    features = generator.warp_features(generator.encode(source), motion_by(0.0))
    with pytest.raises(ValueError, match="warped_source: got None"):
        generator.decode(features)


def test_blend_has_a_gradient_to_the_motion_and_to_alpha(source):
    generator, motion = build(), motion_by(0.1)
    set_alpha(generator, 5.0)
    with tf.GradientTape() as tape:
        tape.watch(motion.deformation)
        loss = tf.reduce_mean(tf.abs(generator(source, motion, training=True) - source))
    deformation, bias = tape.gradient(loss, [motion.deformation, generator.final.bias])
    assert float(tf.reduce_max(tf.abs(deformation))) > 0
    assert float(tf.abs(bias[3])) > 0


@functools.cache
def build_with_skips():
    return models.FirstOrderMotionModel(model_list.MODELS["warp-skips"]).generator


def test_warped_features_of_every_resolution_reach_the_decoder(source):
    """Against a loop: each level is warped and masked by itself, and joined after the up block of its resolution."""
    generator, motion = build_with_skips(), motion_by(0.25)._replace(occlusion=tf.fill([1, 16, 16, 1], 0.5))
    levels = [generator.first(source)]
    for block in generator.down_blocks:
        levels.append(block(levels[-1]))
    levels = [0.5 * generator.warp_image(level, motion.deformation) for level in levels]
    features = levels.pop()
    for block in generator.bottleneck:
        features = block(features)
    for block in generator.up_blocks:
        features = tf.concat([block(features), levels.pop()], axis=-1)
    expected = tf.sigmoid(generator.final(features))
    np.testing.assert_allclose(generator(source, motion), expected, atol=1e-6)


def test_unpack_returns_one_tensor_per_resolution(source):
    generator = build_with_skips()
    packed = generator.encode(source)
    assert [tuple(level.shape[1:]) for level in generator.unpack(packed)] == [(64, 64, 8), (32, 32, 16), (16, 16, 32)]
    np.testing.assert_array_equal(generator.unpack(packed)[0], generator.first(source))


def test_warped_skips_have_a_gradient_to_the_motion_and_the_first_block(source):
    generator, motion = build_with_skips(), motion_by(0.1)
    with tf.GradientTape() as tape:
        tape.watch(motion.deformation)
        loss = tf.reduce_mean(tf.abs(generator(source, motion, training=True) - source))
    gradients = tape.gradient(loss, [motion.deformation, generator.first.conv.kernel])
    assert all(float(tf.reduce_max(tf.abs(gradient))) > 0 for gradient in gradients)

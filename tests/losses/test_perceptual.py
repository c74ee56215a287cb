"""The perceptual loss against loops (Eq. 9), with features that are easy to compute."""

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf.losses import terms

SCALES = (1.0, 0.5)
WEIGHTS = (10.0, 3.0)


def features(images):
    """Two layers: the images doubled, and the squares of every second pixel in both directions."""
    return [2.0 * images, tf.square(images[:, ::2, ::2])]


def pyramid(seed, batch=3):
    random = np.random.RandomState(seed)
    return {scale: random.random_sample((batch, int(8 * scale), int(6 * scale), 3)) for scale in SCALES}


def tensors(arrays, dtype=tf.float64):
    return {scale: tf.constant(array, dtype) for scale, array in arrays.items()}


def looped(generated, real, weights):
    losses = []
    for example in range(3):
        total = 0.0
        for scale in SCALES:
            mine, theirs = generated[scale][example], real[scale][example]
            height, width, channels = mine.shape
            doubled, squared = [], []
            for y in range(height):
                for x in range(width):
                    for c in range(channels):
                        doubled.append(abs(2 * mine[y, x, c] - 2 * theirs[y, x, c]))
                        if y % 2 == 0 and x % 2 == 0:
                            squared.append(abs(mine[y, x, c] ** 2 - theirs[y, x, c] ** 2))
            total += weights[0] * sum(doubled) / len(doubled) + weights[1] * sum(squared) / len(squared)
        losses.append(total)
    return losses


def test_perceptual_loss_matches_loops():
    generated, real = pyramid(0), pyramid(1)
    losses = terms.perceptual_loss(features, tensors(generated), tensors(real), WEIGHTS)
    assert losses.shape == [3]
    np.testing.assert_allclose(losses, looped(generated, real, WEIGHTS), rtol=1e-12)


def test_perceptual_loss_ignores_layers_with_weight_0():
    def broken(images):
        return [features(images)[0], images * np.nan]

    generated, real = pyramid(0), pyramid(1)
    losses = terms.perceptual_loss(broken, tensors(generated), tensors(real), (10.0, 0.0))
    np.testing.assert_allclose(losses, looped(generated, real, (10.0, 0.0)), rtol=1e-12)


def test_perceptual_loss_is_zero_for_equal_frames():
    frames = tensors(pyramid(0))
    np.testing.assert_array_equal(terms.perceptual_loss(features, frames, frames, WEIGHTS), np.zeros(3))


def test_perceptual_gradient_reaches_only_generated_frames():
    generated, real = tensors(pyramid(0)), tensors(pyramid(1))
    with tf.GradientTape() as tape:
        tape.watch([generated, real])
        losses = terms.perceptual_loss(features, generated, real, WEIGHTS)
    mine, theirs = tape.gradient(losses, [generated, real])
    assert all(np.abs(gradient).min() > 0 for gradient in mine.values())
    assert all(gradient is None for gradient in theirs.values())


def test_perceptual_loss_averages_float16_features_in_float32():
    generated, real = pyramid(0), pyramid(1)
    losses = terms.perceptual_loss(features, tensors(generated, tf.float16), tensors(real, tf.float16), WEIGHTS)
    assert losses.dtype == tf.float32
    np.testing.assert_allclose(losses, looped(generated, real, WEIGHTS), rtol=5e-3)


def test_perceptual_loss_rejects_different_scales():
    generated, real = tensors(pyramid(0)), tensors(pyramid(1))
    del real[0.5]
    with pytest.raises(ValueError, match=r"same scales; got \[1\.0, 0\.5\] and \[1\.0\]"):
        terms.perceptual_loss(features, generated, real, WEIGHTS)


@pytest.mark.parametrize("weights", [(10.0,), (10.0, 10.0, 10.0)])
def test_perceptual_loss_rejects_wrong_number_of_weights(weights):
    with pytest.raises(ValueError, match="zip"):
        terms.perceptual_loss(features, tensors(pyramid(0)), tensors(pyramid(1)), weights)

"""LSGAN and feature matching against loops, on random discriminator outputs of two scales."""

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf.losses import terms
from fomm_tf.models import discriminator

BATCH = 3
SHAPES = {1.0: ((7, 5, 4), (3, 2, 8), (2, 2, 1)), 0.5: ((3, 2, 4), (2, 1, 8), (1, 1, 1))}
WEIGHTS = (10.0, 3.0)


def discriminator_outputs(seed):
    random, outputs = np.random.RandomState(seed), {}
    for scale, shapes in SHAPES.items():
        *features, prediction = (tf.constant(random.standard_normal((BATCH, *shape))) for shape in shapes)
        outputs[scale] = discriminator.DiscriminatorOutput(features, prediction)
    return outputs


def mean(example, term):
    """The mean of `term` over the numbers of one or two arrays, one at a time."""
    numbers = list(zip(*(np.ravel(array.numpy()[example]) for array in term[1:]), strict=True))
    return sum(term[0](*values) for values in numbers) / len(numbers)


def over_scales(term):
    """`[B]`: the sum over scales of `term(example, scale)`."""
    return [sum(term(example, scale) for scale in SHAPES) for example in range(BATCH)]


def test_generator_loss_matches_loops():
    fake = discriminator_outputs(0)
    losses = terms.generator_loss(fake)
    assert losses.shape == [BATCH]
    expected = over_scales(lambda i, scale: mean(i, (lambda p: (1 - p) ** 2, fake[scale].prediction)))
    np.testing.assert_allclose(losses, expected, rtol=1e-12)


def test_discriminator_loss_matches_loops():
    real, fake = discriminator_outputs(0), discriminator_outputs(1)
    losses = terms.discriminator_loss(real, fake)
    assert losses.shape == [BATCH]
    expected = over_scales(
        lambda i, scale: mean(i, (lambda r, f: (1 - r) ** 2 + f**2, real[scale].prediction, fake[scale].prediction))
    )
    np.testing.assert_allclose(losses, expected, rtol=1e-12)


def test_lsgan_losses_are_zero_for_perfect_outputs():
    ones, zeros = (
        {scale: discriminator.DiscriminatorOutput([], tf.fill([BATCH, 2, 2, 1], value)) for scale in SHAPES}
        for value in (1.0, 0.0)
    )
    np.testing.assert_array_equal(terms.generator_loss(ones), np.zeros(BATCH))
    np.testing.assert_array_equal(terms.discriminator_loss(ones, zeros), np.zeros(BATCH))
    np.testing.assert_array_equal(terms.discriminator_loss(zeros, ones), np.full(BATCH, 4.0))


def feature_differences(real, fake, weights):
    def term(i, scale):
        pairs = zip(weights, real[scale].features, fake[scale].features, strict=True)
        return sum(weight * mean(i, (lambda r, f: abs(r - f), mine, theirs)) for weight, mine, theirs in pairs)

    return over_scales(term)


def test_feature_matching_loss_matches_loops():
    real, fake = discriminator_outputs(0), discriminator_outputs(1)
    losses = terms.feature_matching_loss(real, fake, WEIGHTS)
    assert losses.shape == [BATCH]
    np.testing.assert_allclose(losses, feature_differences(real, fake, WEIGHTS), rtol=1e-12)


def test_feature_matching_loss_ignores_blocks_with_weight_0():
    real, fake = discriminator_outputs(0), discriminator_outputs(1)
    broken = {
        scale: output._replace(features=[output.features[0], output.features[1] * np.nan])
        for scale, output in fake.items()
    }
    losses = terms.feature_matching_loss(real, broken, (10.0, 0.0))
    np.testing.assert_allclose(losses, feature_differences(real, fake, (10.0, 0.0)), rtol=1e-12)


def test_feature_matching_gradient_reaches_only_fake_features():
    real, fake = discriminator_outputs(0), discriminator_outputs(1)
    with tf.GradientTape() as tape:
        watched = [[output.features for output in side.values()] for side in (real, fake)]
        tape.watch(watched)
        losses = terms.feature_matching_loss(real, fake, WEIGHTS)
    of_real, of_fake = map(tf.nest.flatten, tape.gradient(losses, watched))
    assert of_real == [None] * 4
    assert all(np.abs(gradient).min() > 0 for gradient in of_fake)


@pytest.mark.parametrize("weights", [(10.0,), (10.0, 10.0, 10.0)])
def test_feature_matching_loss_rejects_wrong_number_of_weights(weights):
    with pytest.raises(ValueError, match="zip"):
        terms.feature_matching_loss(discriminator_outputs(0), discriminator_outputs(1), weights)

"""LSGAN and feature matching on patch discriminators of several scales (the reference's `*-adv` configs)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from fomm_tf.losses.perceptual import mean_absolute
from fomm_tf.models import discriminator

DiscriminatorOutputs = Mapping[float, discriminator.DiscriminatorOutput]


def generator_loss(fake: DiscriminatorOutputs) -> tf.Tensor:
    """(1 - D(fake))^2, summed over scales: `[B]`."""
    return sum(_mean_square(1.0 - output.prediction) for output in fake.values())


def discriminator_loss(real: DiscriminatorOutputs, fake: DiscriminatorOutputs) -> tf.Tensor:
    """(1 - D(real))^2 + D(fake)^2, summed over scales: `[B]`."""
    return sum(_mean_square(1.0 - real[scale].prediction) + _mean_square(fake[scale].prediction) for scale in real)


def feature_matching_loss(
    real: DiscriminatorOutputs, fake: DiscriminatorOutputs, weights: Sequence[float]
) -> tf.Tensor:
    """Mean absolute differences of the discriminator's features.

    Args:
      real: the discriminator's outputs for the driving frames; no gradient flows into them.
      fake: the discriminator's outputs for the generated frames.
      weights: one a block; 0 leaves it out.

    Returns:
      `[B]`, summed over scales and blocks.

    Raises:
      ValueError: if there are not as many weights as blocks.
    """
    total = 0.0
    for scale, output in fake.items():
        for weight, mine, theirs in zip(weights, output.features, real[scale].features, strict=True):
            if weight:
                total += weight * mean_absolute(mine - tf.stop_gradient(theirs))
    return total


def _mean_square(difference: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.square(difference), axis=list(range(1, difference.shape.rank)))

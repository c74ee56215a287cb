"""The loss terms of the paper (Eq. 9, 11, 13) and of the reference's adversarial fine-tuning (`*-adv` configs).

Convention: each function returns one value per example, `[B]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import tensorflow as tf

from fomm_tf import ops, structures
from fomm_tf.models import discriminator
from fomm_tf.ops import keypoints, tps

DiscriminatorOutputs = Mapping[float, discriminator.DiscriminatorOutput]


def perceptual_loss(
    features: Callable[[tf.Tensor], list[tf.Tensor]],
    generated: Mapping[float, tf.Tensor],
    real: Mapping[float, tf.Tensor],
    weights: Sequence[float],
) -> tf.Tensor:
    """Mean absolute differences of features, summed over resolutions and layers (Eq. 9).

    Args:
      features: a backbone; see `fomm_tf.losses.backbones`.
      generated: scale -> `[B, h, w, 3]`, the pyramid of the generated frames.
      real: scale -> `[B, h, w, 3]`, the pyramid of the driving frames; no gradient flows into them.
      weights: one per layer of the backbone, the same at each resolution; 0 leaves the layer out.

    Returns:
      `[B]`.

    Raises:
      ValueError: if the pyramids have different scales or there are not as many weights as layers.
    """
    if list(generated) != list(real):
        raise ValueError(f"The pyramids must have the same scales; got {list(generated)} and {list(real)}.")
    pairs = ((features(images), features(tf.stop_gradient(real[scale]))) for scale, images in generated.items())
    return _feature_distance(pairs, weights)


def pixel_loss(generated: tf.Tensor, real: tf.Tensor) -> tf.Tensor:
    """Mean absolute difference of generated and driving frames, `[B, H, W, C]` each: `[B]`."""
    return _mean_absolute(generated - tf.stop_gradient(real))


def equivariance_value_loss(
    driving: structures.Keypoints, transformed: structures.Keypoints, transform: tps.Transform
) -> tf.Tensor:
    """|p_D - T(p_T)|: keypoints of the deformed frame, mapped back, equal those of the frame (Eq. 11).

    Args:
      driving: keypoints of B driving frames.
      transformed: keypoints of the same frames deformed.
      transform: the deformations.

    Returns:
      `[B]`.
    """
    return _mean_absolute(driving.value - tps.warp_points(transform, transformed.value))


def equivariance_jacobian_loss(
    driving: structures.Keypoints, transformed: structures.Keypoints, transform: tps.Transform
) -> tf.Tensor:
    """|1 - J_D^-1 dT(p_T) J_T|: the equivariance of the Jacobians (Eq. 13).

    Args:
      driving: keypoints of B driving frames.
      transformed: keypoints of the same frames deformed.
      transform: the deformations.

    Returns:
      `[B]`.

    Raises:
      ValueError: if the keypoints have no Jacobians.
    """
    if driving.jacobian is None or transformed.jacobian is None:
        raise ValueError("The equivariance of Jacobians needs keypoints with Jacobians.")
    mapped = keypoints.multiply_jacobians(tps.jacobian(transform, transformed.value), transformed.jacobian)
    return _mean_absolute(
        tf.eye(2, dtype=mapped.dtype)
        - keypoints.multiply_jacobians(keypoints.invert_jacobian(driving.jacobian), mapped)
    )


def generator_loss(fake: DiscriminatorOutputs) -> tf.Tensor:
    """LSGAN loss of the generator, (1 - D(fake))^2, summed over scales: `[B]`."""
    return sum(_mean_square(1.0 - output.prediction) for output in fake.values())


def discriminator_loss(real: DiscriminatorOutputs, fake: DiscriminatorOutputs) -> tf.Tensor:
    """LSGAN loss of the discriminator, (1 - D(real))^2 + D(fake)^2, summed over scales: `[B]`."""
    return sum(_mean_square(1.0 - real[scale].prediction) + _mean_square(fake[scale].prediction) for scale in real)


def feature_matching_loss(
    real: DiscriminatorOutputs, fake: DiscriminatorOutputs, weights: Sequence[float]
) -> tf.Tensor:
    """Mean absolute differences of the discriminator's features, summed over scales and blocks.

    Args:
      real: the discriminator's outputs for the driving frames; no gradient flows into them.
      fake: the discriminator's outputs for the generated frames.
      weights: one per block; 0 leaves the block out.

    Returns:
      `[B]`.

    Raises:
      ValueError: if there are not as many weights as blocks.
    """
    return _feature_distance(((output.features, real[scale].features) for scale, output in fake.items()), weights)


def _feature_distance(
    pairs: Iterable[tuple[Sequence[tf.Tensor], Sequence[tf.Tensor]]], weights: Sequence[float]
) -> tf.Tensor | float:
    """Weighted mean absolute differences between generated and real features, one pair of lists per scale."""
    total = 0.0
    for generated, real in pairs:
        for weight, output, target in zip(weights, generated, real, strict=True):
            if weight:
                total += weight * _mean_absolute(output - tf.stop_gradient(target))
    return total


def _mean_square(difference: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.square(difference), axis=list(range(1, difference.shape.rank)))


def _mean_absolute(difference: tf.Tensor) -> tf.Tensor:
    """Mean of |difference| over all axes but the first: `[B]`, at least float32."""
    return _mean_absolute_with_gradient(ops.at_least_float32(difference))


@tf.custom_gradient
def _mean_absolute_with_gradient(difference: tf.Tensor) -> tuple:
    axes = list(range(1, difference.shape.rank))

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        # TensorFlow's own gradient first tiles `upstream` to the size of the features.
        count = tf.cast(tf.reduce_prod(tf.shape(difference)[1:]), difference.dtype)
        return tf.sign(difference) * tf.reshape(upstream / count, [-1] + [1] * len(axes))

    return tf.reduce_mean(tf.abs(difference), axis=axes), gradient

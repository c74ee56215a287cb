"""The perceptual loss on a pyramid of resolutions (Eq. 9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from fomm_tf.ops import tensors


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
      real: likewise of the driving frames; no gradient flows into them.
      weights: one a layer of the backbone, the same at each resolution; 0 leaves it out.

    Returns:
      `[B]`.

    Raises:
      ValueError: if the pyramids have other scales or there are not as many weights as layers.
    """
    if list(generated) != list(real):
        raise ValueError(f"The pyramids must have the same scales; got {list(generated)} and {list(real)}.")
    total = 0.0
    for scale, images in generated.items():
        pairs = list(zip(features(images), features(tf.stop_gradient(real[scale])), strict=True))
        for weight, (mine, theirs) in zip(weights, pairs, strict=True):
            if weight:
                total += weight * mean_absolute(mine - tf.stop_gradient(theirs))
    return total


def mean_absolute(difference: tf.Tensor) -> tf.Tensor:
    """Mean of |difference| over all axes but the first: `[B]`, float32."""
    return _mean_absolute(tensors.at_least_float32(difference))


@tf.custom_gradient
def _mean_absolute(difference: tf.Tensor) -> tuple:
    axes = list(range(1, difference.shape.rank))

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        # TensorFlow's own tiles `upstream` to the size of the features first.
        count = tf.cast(tf.reduce_prod(tf.shape(difference)[1:]), difference.dtype)
        return tf.sign(difference) * tf.reshape(upstream / count, [-1] + [1] * len(axes))

    return tf.reduce_mean(tf.abs(difference), axis=axes), gradient

"""Batch normalisation folded into the convolutions before it, for inference: the same function with fewer passes."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf

from fomm_tf.models import blocks


class Folded(tf.keras.layers.Layer):
    """Where a normalisation was; the convolution before it does its work."""

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """`inputs`, as they are.

        Raises:
          ValueError: in training mode, which needs the statistics.
        """
        if training:
            raise ValueError("A folded network does not train; load its run again.")
        return inputs


def fold(*networks: tf.keras.Model) -> None:
    """Folds every normalisation that follows a convolution, in place; those that come first in a residual block stay.

    With s = gamma / sqrt(variance + epsilon): s (k * x + b - mean) + beta = (s k) * x + s (b - mean) + beta.

    The networks cannot be trained or saved any more. Call it before they are traced.

    Args:
      *networks: built and restored; what is folded already stays.
    """
    for network in networks:
        for block, convolution, norm in _foldable(network):
            normalisation: blocks.BatchNorm | Folded = getattr(block, norm)
            if isinstance(normalisation, Folded):
                continue
            conv: blocks.Convolution = getattr(block, convolution)
            scale = normalisation.gamma * tf.math.rsqrt(normalisation.moving_variance + normalisation.EPSILON)
            conv.kernel.assign(conv.kernel * scale)
            conv.bias.assign((conv.bias - normalisation.moving_mean) * scale + normalisation.beta)
            setattr(block, norm, Folded(name=normalisation.name, autocast=False))


def _foldable(network: tf.keras.Model) -> Iterator[tuple[tf.keras.layers.Layer, str, str]]:
    """Each block with the names of a convolution and of the normalisation right after it."""
    for module in network.submodules:
        if isinstance(module, (blocks.DownBlock, blocks.UpBlock, blocks.SameBlock)):
            yield module, "conv", "norm"
        elif isinstance(module, blocks.ResidualBlock):
            yield module, "conv1", "norm2"

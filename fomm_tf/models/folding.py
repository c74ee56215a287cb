"""Batch normalization folded into the preceding convolutions, for inference: the same function in fewer passes."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf

from fomm_tf.models import blocks


class Folded(tf.keras.layers.Layer):
    """Stands in for a normalization that was folded into the preceding convolution."""

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns `inputs`.

        Raises:
          ValueError: in training mode, which needs the batch statistics.
        """
        if training:
            raise ValueError("training is True on a folded network; load the run again to train it.")
        return inputs


def fold_batch_norms(*networks: tf.keras.Model) -> None:
    """Folds every normalization that follows a convolution, in place; the first one of a residual block stays.

    With s = gamma / sqrt(variance + epsilon): s (k * x + b - mean) + beta = (s k) * x + s (b - mean) + beta.

    The networks cannot be trained or saved afterwards. Call this before they are traced.

    Args:
      *networks: built and restored; folding twice changes nothing.
    """
    for network in networks:
        for block, convolution, norm in _foldable(network):
            norm_layer: blocks.BatchNorm | Folded = getattr(block, norm)
            if isinstance(norm_layer, Folded):
                continue
            conv: blocks.Convolution = getattr(block, convolution)
            scale = norm_layer.gamma * tf.math.rsqrt(norm_layer.moving_variance + norm_layer.EPSILON)
            conv.kernel.assign(conv.kernel * scale)
            conv.bias.assign((conv.bias - norm_layer.moving_mean) * scale + norm_layer.beta)
            setattr(block, norm, Folded(name=norm_layer.name, autocast=False))


def _foldable(network: tf.keras.Model) -> Iterator[tuple[tf.keras.layers.Layer, str, str]]:
    """Yields each block with the attribute names of a convolution and of the normalization right after it."""
    for module in network.submodules:
        if isinstance(module, (blocks.DownBlock, blocks.UpBlock, blocks.SameBlock)):
            yield module, "conv", "norm"
        elif isinstance(module, blocks.ResidualBlock):
            yield module, "conv1", "norm2"

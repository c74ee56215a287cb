"""Channels of like range, before 8 bits are given to them.

A tensor has one scale in 8 bits, and some channels outgrow all others: in the bundled model's last residual block
they reach 400 where most stay below 10. Multiplying a channel by a number and what reads it by the inverse changes
nothing in real numbers (after Nagel et al. 2019, "Data-free quantization through weight equalization and bias
correction", sec. 4.1; here by ranges that were measured, and through the sums of residual blocks too). The number is
one over the square root of the range: half of the difference is left to the reader's weights, whose 8 bits would
suffer instead.
"""

from __future__ import annotations

import tensorflow as tf

from fomm_tf import models
from fomm_tf.models import blocks

_LEAST = 1e-3


class _ScaledResidual(tf.keras.layers.Layer):
    """A residual block whose input's channels are multiplied by `before`, and its sum's by `after`."""

    def __init__(self, block: blocks.ResidualBlock, before: tf.Tensor, after: tf.Tensor) -> None:
        super().__init__(autocast=False)
        self.block, self.skip = block, after / before
        block.norm1.gamma.assign(block.norm1.gamma / before)
        block.norm1.moving_mean.assign(block.norm1.moving_mean * before)
        _multiply(block.conv2, after)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        block = self.block
        hidden = block.conv1(tf.nn.relu(block.norm1(inputs, training=training)))
        return inputs * self.skip + block.conv2(tf.nn.relu(hidden))


def equalise(generator: models.Generator, features: tf.Tensor) -> None:
    """Gives the decoder's channels like ranges, in place; the generator computes what it did.

    Args:
      generator: built and restored, normalisations folded; not to be trained or saved afterwards.
      features: `[N, h, w, C]`, warped ones to measure the ranges on.
    """
    scale = tf.ones(features.shape[-1])
    for number, block in enumerate(generator.bottleneck):
        hidden = tf.nn.relu(block.conv1(tf.nn.relu(block.norm1(features))))
        features = block(features)
        _balance(block.conv1, block.conv2, _scale(hidden))
        after = _scale(features)
        generator.bottleneck[number] = _ScaledResidual(block, scale, after)
        scale = after
    convolutions = [*(block.conv for block in generator.up_blocks), generator.final]
    made = []
    for block in generator.up_blocks:
        features = block(features)
        made.append(_scale(features))
    _divide(convolutions[0], scale)
    for writer, reader, each in zip(convolutions[:-1], convolutions[1:], made, strict=True):
        _balance(writer, reader, each)


def _scale(features: tf.Tensor) -> tf.Tensor:
    return tf.math.rsqrt(tf.maximum(tf.reduce_max(tf.abs(features), axis=[0, 1, 2]), _LEAST))


def _balance(writer: blocks.Convolution, reader: blocks.Convolution, scale: tf.Tensor) -> None:
    _multiply(writer, scale)
    _divide(reader, scale)


def _multiply(convolution: blocks.Convolution, scale: tf.Tensor) -> None:
    convolution.kernel.assign(convolution.kernel * scale)
    convolution.bias.assign(convolution.bias * scale)


def _divide(convolution: blocks.Convolution, scale: tf.Tensor) -> None:
    """Undoes in a reader what `_multiply` did to its writer."""
    convolution.kernel.assign(convolution.kernel / scale[:, tf.newaxis])

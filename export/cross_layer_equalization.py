"""Cross-layer equalization of the generator before 8-bit quantization.

An 8-bit tensor has one scale, and some channels outgrow all others: in the last residual block of the bundled model
they reach 400 while most stay below 10. Scaling a channel and dividing the weights that read it by the same factor
changes nothing in real numbers (after Nagel et al. 2019, "Data-free quantization through weight equalization and bias
correction", sec. 4.1; here with measured ranges, and through the sums of residual blocks too). The factor is one over
the square root of the range: the full inverse would shift the whole imbalance to the weights of the reading layer.
"""

from __future__ import annotations

import tensorflow as tf

from fomm_tf import models
from fomm_tf.models import blocks

_MIN_RANGE = 1e-3


class _ScaledResidual(tf.keras.layers.Layer):
    """A residual block whose input channels are multiplied by `before`, and its output channels by `after`."""

    def __init__(self, block: blocks.ResidualBlock, before: tf.Tensor, after: tf.Tensor) -> None:
        super().__init__(autocast=False)
        self.block, self.skip = block, after / before
        block.norm1.gamma.assign(block.norm1.gamma / before)
        block.norm1.moving_mean.assign(block.norm1.moving_mean * before)
        _scale_outputs(block.conv2, after)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        block = self.block
        hidden = block.conv1(tf.nn.relu(block.norm1(inputs, training=training)))
        return inputs * self.skip + block.conv2(tf.nn.relu(hidden))


def equalize_decoder(generator: models.Generator, features: tf.Tensor) -> None:
    """Equalizes the channel ranges of the decoder in place; its outputs stay the same.

    Args:
      generator: built and restored, normalizations folded; not to be trained or saved afterwards.
      features: `[N, h, w, C]` warped features to measure the ranges on.
    """
    *skips, features = generator.unpack(features)
    scale = tf.ones(features.shape[-1])
    for index, block in enumerate(generator.bottleneck):
        hidden = tf.nn.relu(block.conv1(tf.nn.relu(block.norm1(features))))
        features = block(features)
        _equalize(block.conv1, block.conv2, _channel_scale(hidden))
        after = _channel_scale(features)
        generator.bottleneck[index] = _ScaledResidual(block, scale, after)
        scale = after
    convolutions = [*(block.conv for block in generator.up_blocks), generator.final]
    scales = []
    for block in generator.up_blocks:
        features = block(features)
        scales.append(_channel_scale(features))
        if skips:
            features = tf.concat([features, skips.pop()], axis=-1)
    _unscale_inputs(convolutions[0], scale)
    for writer, reader, scale in zip(convolutions[:-1], convolutions[1:], scales, strict=True):
        _equalize(writer, reader, scale)


def _channel_scale(features: tf.Tensor) -> tf.Tensor:
    return tf.math.rsqrt(tf.maximum(tf.reduce_max(tf.abs(features), axis=[0, 1, 2]), _MIN_RANGE))


def _equalize(writer: blocks.Convolution, reader: blocks.Convolution, scale: tf.Tensor) -> None:
    _scale_outputs(writer, scale)
    _unscale_inputs(reader, scale)


def _scale_outputs(convolution: blocks.Convolution, scale: tf.Tensor) -> None:
    convolution.kernel.assign(convolution.kernel * scale)
    convolution.bias.assign(convolution.bias * scale)


def _unscale_inputs(convolution: blocks.Convolution, scale: tf.Tensor) -> None:
    """Compensates for `_scale_outputs` of the preceding layer, whose channels come before those of a warped skip."""
    skipped = tf.ones(convolution.kernel.shape[2] - scale.shape[0])
    convolution.kernel.assign(convolution.kernel / tf.concat([scale, skipped], axis=0)[:, tf.newaxis])

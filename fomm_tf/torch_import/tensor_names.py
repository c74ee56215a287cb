"""Maps tensors of the reference's checkpoints to variables, in the order of the state dictionaries.

Convolution kernels are (O, I, H, W) in PyTorch and (H, W, I, O) in TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fomm_tf import models
from fomm_tf.models import blocks
from fomm_tf.models.discriminator import SpectralConvolution

_PLAIN = None
_KERNEL = (2, 3, 1, 0)
_DEPTHWISE = (2, 3, 0, 1)


class Entry(NamedTuple):
    """A tensor of the state dictionary and its variable.

    Attributes:
      name: key in the state dictionary.
      variable: the TensorFlow variable.
      axes: axis i of the variable is axis `axes[i]` of the tensor; None for the same order.
    """

    name: str
    variable: tf.Variable
    axes: tuple[int, ...] | None

    @property
    def torch_shape(self) -> tuple[int, ...]:
        """The tensor's shape in the state dictionary."""
        shape = tuple(self.variable.shape)
        return shape if self.axes is None else tuple(shape[self.axes.index(axis)] for axis in range(len(shape)))

    def from_torch(self, array: np.ndarray) -> np.ndarray:
        """Converts a tensor to the variable's layout and dtype."""
        array = np.asarray(array, self.variable.dtype.as_numpy_dtype)
        return array if self.axes is None else array.transpose(self.axes)

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """Converts a value from the variable's layout to the tensor's."""
        return array if self.axes is None else np.ascontiguousarray(array.transpose(np.argsort(self.axes)))


def detector_entries(detector: models.KeypointDetector) -> list[Entry]:
    """The entries of `kp_detector`."""
    return [
        *_hourglass("predictor", detector.hourglass),
        *_convolution("kp", detector.keypoint_head),
        *_convolution("jacobian", detector.jacobian_head),
        *_antialias("down", detector.antialias),
    ]


def generator_entries(dense_motion: models.DenseMotionNetwork, generator: models.Generator) -> list[Entry]:
    """The entries of `generator`, which includes the dense motion network."""
    entries = [
        *_hourglass("dense_motion_network.hourglass", dense_motion.hourglass),
        *_convolution("dense_motion_network.mask", dense_motion.mask_head),
        *_convolution("dense_motion_network.occlusion", dense_motion.occlusion_head),
        *_antialias("dense_motion_network.down", dense_motion.antialias),
        *_block("first", generator.first),
        *_blocks("down_blocks", generator.down_blocks),
        *_blocks("up_blocks", generator.up_blocks),
    ]
    for i, block in enumerate(generator.bottleneck):
        for part in ("conv1", "conv2"):
            entries += _convolution(f"bottleneck.r{i}.{part}", getattr(block, part))
        for part in ("norm1", "norm2"):
            entries += _norm(f"bottleneck.r{i}.{part}", getattr(block, part))
    return entries + list(_convolution("final", generator.final))


def discriminator_entries(discriminator: models.Discriminator) -> list[Entry]:
    """The entries of `discriminator`."""
    entries = []
    for scale, network in zip(discriminator.scales, discriminator.by_scale, strict=True):
        prefix = "discs." + f"{scale:g}".replace(".", "-")
        for i, block in enumerate(network.down_blocks):
            entries += _convolution(f"{prefix}.down_blocks.{i}.conv", block.conv)
            if block.norm is not None:
                entries += _affine(f"{prefix}.down_blocks.{i}.norm", block.norm)
        entries += _convolution(f"{prefix}.conv", network.conv)
    return entries


def parameters(entries: list[Entry]) -> list[Entry]:
    """The entries that an optimizer updates: all but the buffers, in torch's order."""
    return [entry for entry in entries if entry.variable.trainable]


def _convolution(prefix: str, layer: blocks.Convolution | None) -> Iterator[Entry]:
    if layer is None:
        return
    if isinstance(layer, SpectralConvolution):
        yield Entry(f"{prefix}.bias", layer.bias, _PLAIN)
        yield Entry(f"{prefix}.weight_orig", layer.kernel, _KERNEL)
        yield Entry(f"{prefix}.weight_u", layer.left, _PLAIN)
        yield Entry(f"{prefix}.weight_v", layer.right, _PLAIN)
    else:
        yield Entry(f"{prefix}.weight", layer.kernel, _KERNEL)
        yield Entry(f"{prefix}.bias", layer.bias, _PLAIN)


def _affine(prefix: str, layer: tf.keras.layers.Layer) -> Iterator[Entry]:
    yield Entry(f"{prefix}.weight", layer.gamma, _PLAIN)
    yield Entry(f"{prefix}.bias", layer.beta, _PLAIN)


def _norm(prefix: str, layer: blocks.BatchNorm) -> Iterator[Entry]:
    yield from _affine(prefix, layer)
    yield Entry(f"{prefix}.running_mean", layer.moving_mean, _PLAIN)
    yield Entry(f"{prefix}.running_var", layer.moving_variance, _PLAIN)
    yield Entry(f"{prefix}.num_batches_tracked", layer.batches, _PLAIN)


def _antialias(prefix: str, layer: blocks.AntiAlias | None) -> Iterator[Entry]:
    if layer is not None:
        yield Entry(f"{prefix}.weight", layer.kernel, _DEPTHWISE)


def _block(prefix: str, block: tf.keras.layers.Layer) -> Iterator[Entry]:
    yield from _convolution(f"{prefix}.conv", block.conv)
    yield from _norm(f"{prefix}.norm", block.norm)


def _blocks(prefix: str, members: list[tf.keras.layers.Layer]) -> Iterator[Entry]:
    for i, block in enumerate(members):
        yield from _block(f"{prefix}.{i}", block)


def _hourglass(prefix: str, hourglass: blocks.Hourglass) -> Iterator[Entry]:
    yield from _blocks(f"{prefix}.encoder.down_blocks", hourglass.down_blocks)
    yield from _blocks(f"{prefix}.decoder.up_blocks", hourglass.up_blocks)

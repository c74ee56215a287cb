"""Which tensor of the reference's checkpoint is which variable here, in the order of its state dictionaries.

The same tables serve both directions. Convolutions are O,I,H,W there and H,W,I,O here.
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
    """One tensor in both worlds.

    Attributes:
      name: its key in the state dictionary.
      variable: where it lives here.
      axes: here's axis i is axis `axes[i]` there; None for the same order.
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
        """The tensor in this variable's layout and dtype."""
        array = np.asarray(array, self.variable.dtype.as_numpy_dtype)
        return array if self.axes is None else array.transpose(self.axes)

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """A value in this variable's layout, as the state dictionary has it."""
        return array if self.axes is None else np.ascontiguousarray(array.transpose(np.argsort(self.axes)))


def detector_entries(detector: models.KeypointDetector) -> list[Entry]:
    """`kp_detector` of a checkpoint."""
    return [
        *_hourglass("predictor", detector.hourglass),
        *_convolution("kp", detector.keypoint_head),
        *_convolution("jacobian", detector.jacobian_head),
        *_antialias("down", detector.antialias),
    ]


def generator_entries(dense_motion: models.DenseMotionNetwork, generator: models.Generator) -> list[Entry]:
    """`generator` of a checkpoint: the dense motion network is a part of it there."""
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
    """`discriminator` of a checkpoint."""
    entries = []
    for scale, judge in zip(discriminator.scales, discriminator.by_scale, strict=True):
        prefix = "discs." + f"{scale:g}".replace(".", "-")
        for i, block in enumerate(judge.down_blocks):
            entries += _convolution(f"{prefix}.down_blocks.{i}.conv", block.conv)
            if block.norm is not None:
                entries += _affine(f"{prefix}.down_blocks.{i}.norm", block.norm)
        entries += _convolution(f"{prefix}.conv", judge.conv)
    return entries


def parameters(entries: list[Entry]) -> list[Entry]:
    """The entries that an optimizer steps: what is left without the buffers, in torch's order."""
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

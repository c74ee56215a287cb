"""VGG-19 up to relu5_1, with torchvision's weights or those of Keras (Simonyan and Zisserman, arXiv:1409.1556)."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from fomm_tf import errors, fetch, weights
from fomm_tf.losses.backbones import base

# Channels and number of convolutions of each block, with max pooling between blocks.
_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 1))
_TORCH_FILE = "vgg19-dcbb9e9d.pth"
_KERAS_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"


class Vgg19(base.Backbone):
    """VGG-19 as torchvision computes it; the layers are relu1_1, relu2_1, ... relu5_1.

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
        tensors = base.TorchState(state, source, "torchvision's VGG-19", f"give {_TORCH_FILE}")
        blocks, channels = [[] for _ in _BLOCKS], 3
        for block, _, position in _positions():
            width, _ = _BLOCKS[block]
            kernel = tensors.tensor(f"features.{position}.weight", width, channels, 3, 3)
            blocks[block].append(base.Convolution(kernel, tensors.tensor(f"features.{position}.bias", width)))
            channels = width
        super().__init__([_Stage(*pair) for pair in zip([None, *blocks[:-1]], blocks, strict=True)])

    @classmethod
    def load(cls, path: str | pathlib.Path) -> Vgg19:
        """Reads torchvision's file (`vgg19-dcbb9e9d.pth`).

        Raises:
          errors.UserError: if it cannot be read or belongs to another network.
        """
        return cls(weights.load(path), str(path))


class _Stage(tf.Module):
    """The rest of a block, max pooling, and the first convolution of the next block."""

    def __init__(self, block: list[base.Convolution] | None, following: list[base.Convolution]) -> None:
        super().__init__()
        self._rest = None if block is None else block[1:]
        self._first = following[0]

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        if self._rest is not None:
            for convolution in self._rest:
                inputs = tf.nn.relu(convolution(inputs))
            inputs = tf.nn.max_pool2d(inputs, 2, 2, "VALID")
        return tf.nn.relu(self._first(inputs))


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
        for block, number, position in _positions():
            kernel, bias = network.get_layer(f"block{block + 1}_conv{number + 1}").get_weights()
            kernel = kernel[:, :, ::-1] if position == 0 else kernel
            state |= {f"features.{position}.weight": kernel.transpose(3, 2, 0, 1), f"features.{position}.bias": bias}
        return cls(state, str(path or _KERAS_FILE))


def _positions() -> Iterator[tuple[int, int, int]]:
    """Yields block, index in the block and torchvision's layer index of each convolution."""
    position = 0
    for block, (_, count) in enumerate(_BLOCKS):
        for number in range(count):
            yield block, number, position
            position += 2
        position += 1


def _build_keras(path: str | pathlib.Path | None) -> tf.keras.Model:
    if path is None and fetch.is_offline():
        path = pathlib.Path.home() / ".keras" / "models" / _KERAS_FILE  # where Keras has downloaded it
    if path is not None and not pathlib.Path(path).is_file():
        raise errors.UserError(f"{path} is not a file; set train.backbone_file to {_KERAS_FILE}.")
    try:
        return tf.keras.applications.VGG19(include_top=False, weights="imagenet" if path is None else str(path))
    except Exception as error:  # Keras raises no narrower class when a download fails
        reason = " ".join(str(error).split())[:200]
        if path is None:
            raise errors.UserError(
                f"Keras cannot download its weights of VGG-19 ({reason}); go online, or download {_KERAS_FILE} "
                "elsewhere and set train.backbone_file to its path."
            ) from error
        raise errors.UserError(
            f"{path} is not Keras' file of VGG-19 ({reason}); give an unmodified {_KERAS_FILE}."
        ) from error

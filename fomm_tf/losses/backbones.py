"""The networks whose features the perceptual loss compares."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from fomm_tf import errors, weights

# torchvision's VGG-19 up to relu5_1: channels of the convolutions, M a max pool; the taps are relu1_1 ... relu5_1.
_VGG19 = (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512)
_TAPS = (0, 2, 4, 8, 12)
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class Vgg19(tf.Module):
    """VGG-19 up to relu5_1, as torchvision computes it; its weights never train.

    Args:
      state: `features.N.weight` (O,I,H,W) and `features.N.bias` of torchvision's state dictionary.
      source: what to call it in the errors.

    Raises:
      errors.UserError: if a tensor is missing or misshapen.
    """

    def __init__(self, state: Mapping[str, np.ndarray], source: str) -> None:
        super().__init__(name="vgg19")
        self._layers: list[tuple[tf.Variable, tf.Variable] | None] = []
        position, channels = 0, 3
        for width in _VGG19:
            if width == "M":
                self._layers.append(None)
                position += 1
                continue
            kernel = _tensor(state, f"features.{position}.weight", (width, channels, 3, 3), source)
            bias = _tensor(state, f"features.{position}.bias", (width,), source)
            self._layers.append((_constant(kernel.transpose(2, 3, 1, 0)), _constant(bias)))
            position, channels = position + 2, width

    @classmethod
    def load(cls, path: str | pathlib.Path) -> Vgg19:
        """Reads torchvision's file (`vgg19-dcbb9e9d.pth`).

        Raises:
          errors.UserError: if it cannot be read or is another network's.
        """
        return cls(weights.load(path), str(path))

    def __call__(self, images: tf.Tensor) -> list[tf.Tensor]:
        """Features of five depths.

        Args:
          images: `[B, H, W, 3]` float in [0, 1], sides at least 16.

        Returns:
          relu1_1 to relu5_1, `[B, H / 2^i, W / 2^i, C_i]`.
        """
        hidden = (images - tf.constant(_MEAN, images.dtype)) / tf.constant(_STD, images.dtype)
        taps, convolutions = [], 0
        for layer in self._layers:
            if layer is None:
                hidden = tf.nn.max_pool2d(hidden, 2, 2, "VALID")
                continue
            kernel, bias = (tf.cast(part, hidden.dtype) for part in layer)
            hidden = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(hidden, kernel, 1, "SAME"), bias))
            if convolutions in _TAPS:
                taps.append(hidden)
            convolutions += 1
        return taps


def _constant(array: np.ndarray) -> tf.Variable:
    return tf.Variable(np.ascontiguousarray(array), trainable=False)


def _tensor(state: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], source: str) -> np.ndarray:
    array = state.get(name)
    if getattr(array, "shape", None) != shape:
        got = "nothing" if array is None else f"shape {list(getattr(array, 'shape', ()))}"
        raise errors.UserError(
            f"{source} is not torchvision's VGG-19: {name} must be {list(shape)}; got {got}. Give vgg19-dcbb9e9d.pth."
        )
    return np.asarray(array, np.float32)

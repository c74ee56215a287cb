"""What the backbones share: normalization, frozen convolutions, checked tensors, calibration, a random network."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from fomm_tf import errors, ops
from fomm_tf.models import execution

LAYERS = 5
_RANDOM_CHANNELS = (8, 16, 32, 32, 32)


class Backbone(tf.Module):
    """A network that returns the features of five layers.

    Args:
      stages: five functions, each from the features of one layer to those of the next; the input of the first is the
        normalized images.
      name: its name in error messages; by default that of the class.

    Attributes:
      relative: the weights of the perceptual loss are meaningful only for features divided by their mean magnitude
        (`fomm_tf.losses.backbones.Scaled`).
      smallest_side: minimum side of the images, in pixels.
      mean: subtracted from the channels red, green and blue.
      std: what the channels are then divided by.
      recompute: store only the features for the gradient; see `fomm_tf.models.execution`.
    """

    relative = True
    smallest_side = 1
    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)
    recompute = False

    def __init__(self, stages: Sequence[Callable[[tf.Tensor], tf.Tensor]], name: str | None = None) -> None:
        super().__init__(name)
        self._stages = list(stages)

    def __call__(self, images: tf.Tensor) -> list[tf.Tensor]:
        """Computes the features of five layers.

        Args:
          images: `[B, H, W, 3]` float in [0, 1].

        Returns:
          Five `[B, h, w, C]`, the finest first; float64 for float64 images, else float32.

        Raises:
          errors.UserError: if a static side is less than `smallest_side`.
        """
        images = ops.at_least_float32(images)
        if any(side is not None and side < self.smallest_side for side in images.shape[1:3]):
            raise errors.UserError(
                f"The backbone {self.name} needs images of at least {self.smallest_side} pixels a side; got "
                f"{images.shape[1]} x {images.shape[2]}: remove the smallest of train.pyramid_scales, or use another "
                "train.backbone."
            )
        features = [(images - tf.constant(self.mean, images.dtype)) / tf.constant(self.std, images.dtype)]
        for stage in self._stages:
            last = features[-1]
            features.append(execution.recompute_in_gradient(stage, last) if self.recompute else stage(last))
        return features[1:]


class Convolution(tf.Module):
    """A convolution with TensorFlow's SAME padding and frozen weights.

    Args:
      kernel: `(O, I, h, w)`, or `(C, 1, h, w)` if depthwise.
      bias: `(O,)` or `(C,)`.
      stride: of the convolution, in pixels.
      depthwise: convolve each channel separately.
      activation: function of the outputs, or None.
    """

    def __init__(
        self,
        kernel: np.ndarray,
        bias: np.ndarray,
        stride: int = 1,
        depthwise: bool = False,
        activation: Callable[[tf.Tensor], tf.Tensor] | None = None,
    ) -> None:
        super().__init__()
        kernel = kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(2, 3, 1, 0)
        self._kernel = tf.Variable(np.ascontiguousarray(kernel, np.float32), trainable=False)
        self._bias = tf.Variable(np.asarray(bias, np.float32), trainable=False)
        self._convolve = tf.nn.depthwise_conv2d if depthwise else tf.nn.conv2d
        self._strides, self._activation = [1, stride, stride, 1], activation

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        kernel, bias = (tf.cast(part, inputs.dtype) for part in (self._kernel, self._bias))
        outputs = tf.nn.bias_add(self._convolve(inputs, kernel, self._strides, "SAME"), bias)
        return outputs if self._activation is None else self._activation(outputs)


class Chain(tf.Module):
    """Applies functions one after the other.

    Args:
      functions: each from tensor to tensor; variables of those that are modules belong to the chain.
    """

    def __init__(self, functions: Sequence[Callable[[tf.Tensor], tf.Tensor]]) -> None:
        super().__init__()
        self._functions = list(functions)

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        return functools.reduce(lambda outputs, function: function(outputs), self._functions, inputs)


class TorchState:
    """The tensors of a PyTorch state dictionary; each is checked when it is read.

    Args:
      state: arrays by PyTorch's names.
      source: the file, for error messages.
      network: the expected network, for error messages.
      advice: what to do about a wrong file, for error messages.
    """

    def __init__(self, state: Mapping[str, np.ndarray], source: str, network: str, advice: str) -> None:
        self._state, self._source, self._network, self._advice = state, source, network, advice

    def tensor(self, name: str, *shape: int) -> np.ndarray:
        """Reads one tensor.

        Raises:
          errors.UserError: if it is missing or has another shape.
        """
        array = self._state.get(name)
        if getattr(array, "shape", None) != shape:
            got = "nothing" if array is None else f"shape {list(getattr(array, 'shape', ()))}"
            raise errors.UserError(
                f"{self._source} is not {self._network}: {name} must be {list(shape)}; got {got}; {self._advice}."
            )
        return array


def measure(backbone: Backbone, images: tf.Tensor) -> tuple[float, ...]:
    """Measures the mean absolute feature of each layer; deterministic.

    Args:
      backbone: the network.
      images: `[B, H, W, 3]` float in [0, 1], real frames to calibrate on.

    Returns:
      One number per layer.

    Raises:
      errors.UserError: if the images are too small, or if a layer is 0 everywhere or not finite.
    """
    scales = tuple(float(np.abs(features.numpy()).mean(dtype=np.float64)) for features in backbone(images))
    for layer, scale in enumerate(scales, 1):
        if not 0.0 < scale < math.inf:
            raise errors.UserError(
                f"Layer {layer} of the backbone {backbone.name} has mean magnitude {scale:g} on the calibration "
                "frames; it must be positive and finite. Check the training set for black or damaged frames."
            )
    return scales


class Scaled(tf.Module):
    """A backbone with the features of each layer divided by a scale.

    Args:
      backbone: the network.
      scales: one per layer, as returned by `measure`.

    Raises:
      errors.UserError: if there are not as many scales as layers, or one is not a positive number.
    """

    def __init__(self, backbone: Backbone, scales: Sequence[float]) -> None:
        super().__init__(name=backbone.name)
        if len(scales) != LAYERS or not all(0.0 < scale < math.inf for scale in scales):
            raise errors.UserError(
                f"train.feature_scales must be {LAYERS} positive numbers, one per layer of the backbone; got "
                f"{list(scales)}."
            )
        self._backbone, self._scales = backbone, tuple(scales)

    def __call__(self, images: tf.Tensor) -> list[tf.Tensor]:
        """Computes the scaled features; see `Backbone.__call__`."""
        return [features / scale for features, scale in zip(self._backbone(images), self._scales, strict=True)]


class RandomBackbone(Backbone):
    """Five 3x3 convolutions with fixed random kernels and max pooling in between; for tests only."""

    def __init__(self) -> None:
        random, channels, stages = np.random.default_rng(0), 3, []
        pool = functools.partial(tf.nn.max_pool2d, ksize=2, strides=2, padding="SAME")
        for width in _RANDOM_CHANNELS:
            kernel = random.normal(0.0, np.sqrt(2.0 / (9 * channels)), (width, channels, 3, 3))
            convolution = Convolution(kernel, np.zeros(width), activation=tf.nn.relu)
            stages.append(Chain([pool, convolution] if stages else [convolution]))
            channels = width
        super().__init__(stages, name="random")

"""What the backbones share: normalisation of images, convolutions that never train, tensors of torch's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from fomm_tf import errors
from fomm_tf.models import execution
from fomm_tf.ops import dtypes

LAYERS = 5


class Backbone(tf.Module):
    """A network that gives the features of five depths.

    Args:
      stages: five functions, each from the features of one depth to those of the next; the first one's are the
        normalised images.
      name: what errors call it; default, the class.

    Attributes:
      relative: the weights of the perceptual loss mean something only for features divided by their mean size
        (`fomm_tf.losses.backbones.Scaled`).
      smallest_side: of the images, in pixels.
      mean: what is taken off the channels red, green and blue.
      std: what they are divided by then.
      recompute: keep the features alone for the gradient; see `fomm_tf.models.execution`.
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
        """Features of five depths.

        Args:
          images: `[B, H, W, 3]` float in [0, 1].

        Returns:
          Five `[B, h, w, C]`, the finest first; float64 for float64 images, else float32.

        Raises:
          errors.UserError: if a static side is less than `smallest_side`.
        """
        images = dtypes.at_least_float32(images)
        if any(side is not None and side < self.smallest_side for side in images.shape[1:3]):
            raise errors.UserError(
                f"The backbone {self.name} needs images of {self.smallest_side} pixels a side at least; got "
                f"{images.shape[1]} x {images.shape[2]}: leave out the smallest of train.pyramid_scales, or take "
                "another train.backbone."
            )
        taps = [(images - tf.constant(self.mean, images.dtype)) / tf.constant(self.std, images.dtype)]
        for stage in self._stages:
            taps.append(execution.recompute_in_gradient(stage, taps[-1]) if self.recompute else stage(taps[-1]))
        return taps[1:]


class Convolution(tf.Module):
    """A convolution with zero padding to ceil(size / stride), as TensorFlow's SAME; its weights never train.

    Args:
      kernel: `(O, I, h, w)`, `(C, 1, h, w)` if depthwise.
      bias: `(O,)` or `(C,)`.
      stride: pixels from one output to the next.
      depthwise: each channel by itself.
    """

    def __init__(self, kernel: np.ndarray, bias: np.ndarray, stride: int = 1, depthwise: bool = False) -> None:
        super().__init__()
        kernel = kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(2, 3, 1, 0)
        self._kernel = tf.Variable(np.ascontiguousarray(kernel, np.float32), trainable=False)
        self._bias = tf.Variable(np.asarray(bias, np.float32), trainable=False)
        self._convolve = tf.nn.depthwise_conv2d if depthwise else tf.nn.conv2d
        self._strides = [1, stride, stride, 1]

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        kernel, bias = (tf.cast(part, inputs.dtype) for part in (self._kernel, self._bias))
        return tf.nn.bias_add(self._convolve(inputs, kernel, self._strides, "SAME"), bias)


class TorchState:
    """The tensors of a state dictionary, each checked when it is asked for.

    Args:
      state: by torch's names.
      source: where it is from.
      network: whose it ought to be.
      cure: what to do if it is not, for the errors.
    """

    def __init__(self, state: Mapping[str, np.ndarray], source: str, network: str, cure: str) -> None:
        self._state, self._source, self._network, self._cure = state, source, network, cure

    def tensor(self, name: str, *shape: int) -> np.ndarray:
        """Reads one tensor.

        Raises:
          errors.UserError: if it is missing or misshapen.
        """
        array = self._state.get(name)
        if getattr(array, "shape", None) != shape:
            got = "nothing" if array is None else f"shape {list(getattr(array, 'shape', ()))}"
            raise errors.UserError(
                f"{self._source} is not {self._network}: {name} must be {list(shape)}; got {got}; {self._cure}."
            )
        return array

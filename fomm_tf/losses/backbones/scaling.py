"""Features of any backbone brought to the same size, so that a layer's weight in the loss means the same for all."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from fomm_tf import errors
from fomm_tf.losses.backbones import base


def measure(backbone: base.Backbone, images: tf.Tensor) -> tuple[float, ...]:
    """The mean absolute feature of each layer.

    Args:
      backbone: the network.
      images: `[B, H, W, 3]` float in [0, 1], real frames to calibrate on.

    Returns:
      One number a layer; the same again for the same images.

    Raises:
      errors.UserError: if the images are too small, or if a layer is 0 everywhere or not finite, which no number could
        put right.
    """
    sizes = tuple(float(np.abs(tap.numpy()).mean(dtype=np.float64)) for tap in backbone(images))
    for layer, size in enumerate(sizes, 1):
        if not 0.0 < size < math.inf:
            raise errors.UserError(
                f"Layer {layer} of the backbone {backbone.name} has mean size {size:g} on the frames that it is "
                "calibrated on, and must have a positive one; look at the training set: are they black, or damaged?"
            )
    return sizes


class Scaled(tf.Module):
    """A backbone with each layer divided by its scale.

    Args:
      backbone: the network.
      scales: one a layer, as `measure` gives them.

    Raises:
      errors.UserError: if there are not as many as layers, or one is not a positive number.
    """

    def __init__(self, backbone: base.Backbone, scales: Sequence[float]) -> None:
        super().__init__(name=backbone.name)
        if len(scales) != base.LAYERS or not all(0.0 < scale < math.inf for scale in scales):
            raise errors.UserError(
                f"train.feature_scales must be {base.LAYERS} positive numbers, one a layer of the backbone; got "
                f"{list(scales)}."
            )
        self._backbone, self._scales = backbone, tuple(scales)

    def __call__(self, images: tf.Tensor) -> list[tf.Tensor]:
        """As `Backbone.__call__`, divided."""
        return [tap / scale for tap, scale in zip(self._backbone(images), self._scales, strict=True)]

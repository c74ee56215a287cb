"""A small network that has learnt nothing."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from fomm_tf.losses.backbones import base

_CHANNELS = (8, 16, 32, 32, 32)
_SEED = 0


class Untrained(base.Backbone):
    """Five convolutions 3x3 with random kernels, always the same ones, and pools between them: for tests alone.

    It shows that a training step works, not that training does.
    """

    def __init__(self) -> None:
        super().__init__(name="random")
        random, channels = np.random.default_rng(_SEED), 3
        self._convolutions = []
        for width in _CHANNELS:
            kernel = random.normal(0.0, np.sqrt(2.0 / (9 * channels)), (width, channels, 3, 3))
            self._convolutions.append(base.Convolution(kernel, np.zeros(width)))
            channels = width

    def _features(self, inputs: tf.Tensor) -> list[tf.Tensor]:
        taps = []
        for convolution in self._convolutions:
            if taps:
                inputs = tf.nn.max_pool2d(inputs, 2, 2, "SAME")
            inputs = tf.nn.relu(convolution(inputs))
            taps.append(inputs)
        return taps

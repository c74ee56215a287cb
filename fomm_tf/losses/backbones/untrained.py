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
        random, channels, stages = np.random.default_rng(_SEED), 3, []
        for width in _CHANNELS:
            kernel = random.normal(0.0, np.sqrt(2.0 / (9 * channels)), (width, channels, 3, 3))
            stages.append(_Stage(base.Convolution(kernel, np.zeros(width)), pool=bool(stages)))
            channels = width
        super().__init__(stages, name="random")


class _Stage(tf.Module):
    """Max pool or none, convolution, ReLU."""

    def __init__(self, convolution: base.Convolution, pool: bool) -> None:
        super().__init__()
        self._convolution, self._pool = convolution, pool

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        pooled = tf.nn.max_pool2d(inputs, 2, 2, "SAME") if self._pool else inputs
        return tf.nn.relu(self._convolution(pooled))

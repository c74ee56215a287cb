"""How well a run rebuilds videos that it has not seen: the paper's proxy task on a sample of the test clips."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fomm_tf import models
from fomm_tf.data import frames

_BATCH = 8


class Score(NamedTuple):
    """What a test found.

    Attributes:
      l1: mean |prediction - frame|, pixels in [0, 1].
      copying: the same of the source itself, taken as the prediction: what a model has to beat.
    """

    l1: float
    copying: float


class Validator:
    """Rebuilds frames of test clips from each clip's first frame and the frame's own keypoints (paper, sec. 4).

    The frames are spread evenly over the clips and over each clip, the same ones each time.

    Args:
      networks: the run's.
      index: the test clips.
      count: how many frames at the most; each clip gives one at least.
    """

    def __init__(self, networks: models.Networks, index: frames.Index, count: int) -> None:
        self._networks, self._index = networks, index
        self._each = max(1, count // len(index))
        self._clips = np.unique(np.linspace(0, len(index) - 1, min(len(index), count)).round().astype(int))
        self._rebuild = tf.function(self._rebuild_batch, reduce_retracing=True, autograph=False)

    def __call__(self) -> Score:
        """Tests the networks as they are."""
        errors, copying = [], []
        for number in self._clips:
            clip = self._index.clips[number]
            source = _as_float(clip.frame(0)[np.newaxis])
            places = np.unique(np.linspace(1, len(clip) - 1, min(self._each, len(clip) - 1)).round().astype(int))
            for begin in range(0, len(places), _BATCH):
                driving = _as_float(np.stack([clip.frame(place) for place in places[begin : begin + _BATCH]]))
                predicted = self._rebuild(source, driving)
                errors += _mean_absolute(predicted.numpy() - driving)
                copying += _mean_absolute(source - driving)
        return Score(float(np.mean(errors)), float(np.mean(copying)))

    def _rebuild_batch(self, source: tf.Tensor, driving: tf.Tensor) -> tf.Tensor:
        detector, dense_motion, generator = self._networks
        motion = dense_motion(dense_motion.downsample(source), detector(source), detector(driving))
        return generator(source, motion)


def _as_float(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) / 255


def _mean_absolute(difference: np.ndarray) -> list[float]:
    return np.abs(difference).mean(axis=(1, 2, 3)).tolist()

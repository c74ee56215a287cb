"""What a model makes of clips: L1 on unseen ones (the paper's proxy task), and a grid of sample images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fomm_tf import models, visualize
from fomm_tf.data import frames

_BATCH_SIZE = 8
_GRID_ROWS = 4


class Score(NamedTuple):
    """The result of a validation.

    Attributes:
      l1: mean |prediction - frame|, pixels in [0, 1].
      source_copy_l1: the same with the source taken as the prediction: the baseline that a model has to beat.
    """

    l1: float
    source_copy_l1: float


class Validator:
    """Rebuilds frames of test clips from each clip's first frame and the frame's own keypoints (paper, sec. 4).

    The frames are spread evenly over the clips and over each clip; they are the same in each validation.

    Args:
      model: the model that trains.
      index: the test clips.
      count: how many frames at most; each chosen clip contributes at least one.
    """

    def __init__(self, model: models.FirstOrderMotionModel, index: frames.Index, count: int) -> None:
        self._model, self._index = model, index
        self._frames_per_clip = max(1, count // len(index))
        self._clips = _spread(0, len(index) - 1, min(len(index), count))
        self._reconstruct = tf.function(self._reconstruct_batch, reduce_retracing=True, autograph=False)

    def __call__(self) -> Score:
        """Scores the model with its present weights."""
        errors, source_copy_errors = [], []
        for number in self._clips:
            clip = self._index.clips[number]
            source = _as_float(clip.frame(0)[np.newaxis])
            chosen = _spread(1, len(clip) - 1, min(self._frames_per_clip, len(clip) - 1))
            for start in range(0, len(chosen), _BATCH_SIZE):
                driving = _as_float(np.stack([clip.frame(i) for i in chosen[start : start + _BATCH_SIZE]]))
                prediction = self._reconstruct(source, driving)
                errors += _mean_absolute(prediction.numpy() - driving)
                source_copy_errors += _mean_absolute(source - driving)
        return Score(float(np.mean(errors)), float(np.mean(source_copy_errors)))

    def _reconstruct_batch(self, source: tf.Tensor, driving: tf.Tensor) -> tf.Tensor:
        return self._model.render(self._model.encode_source(source), self._model.detect(driving)).prediction


class SampleGrid:
    """Reconstructions of one frame from each of a few clips, always the same ones, in the style of the paper's figures.

    Args:
      model: the model that trains.
      index: the clips.
    """

    def __init__(self, model: models.FirstOrderMotionModel, index: frames.Index) -> None:
        self._model = model
        clips = [index.clips[number] for number in _spread(0, len(index) - 1, min(_GRID_ROWS, len(index)))]
        self._sources = np.stack([clip.frame(0) for clip in clips])
        self._drivings = np.stack([clip.frame(2 * len(clip) // 3) for clip in clips])
        self._reconstruct = tf.function(self._reconstruct_all, autograph=False)

    def draw(self) -> np.ndarray:
        """Draws a row per clip: source and driving frame with keypoints, prediction, deformed source, occlusion, masks.

        Returns:
          `[H, W, 3]` uint8.
        """
        source_keypoints, driving_keypoints, rendering = self._reconstruct(self._sources, self._drivings)
        rows = []
        for i, (source, driving) in enumerate(zip(self._sources, self._drivings, strict=True)):
            panels = visualize.panels(
                source,
                source_keypoints.frame(i),
                driving,
                driving_keypoints.frame(i),
                _as_uint8(rendering.deformed[i]),
                rendering.mask[i].numpy(),
                None if rendering.occlusion is None else rendering.occlusion[i].numpy(),
            )
            rows.append(visualize.row(panels, _as_uint8(rendering.prediction[i])))
        return np.concatenate(rows)

    def _reconstruct_all(self, sources: tf.Tensor, drivings: tf.Tensor) -> tuple:
        source, driving = (tf.image.convert_image_dtype(images, tf.float32) for images in (sources, drivings))
        encoded, keypoints = self._model.encode_source(source), self._model.detect(driving)
        return encoded.keypoints, keypoints, self._model.render(encoded, keypoints, details=True)


def _spread(first: int, last: int, count: int) -> Sequence[int]:
    """`count` whole numbers spread evenly from `first` to `last`."""
    return np.unique(np.linspace(first, last, count).round().astype(int))


def _as_float(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) / 255


def _as_uint8(image: tf.Tensor) -> np.ndarray:
    return np.rint(image.numpy().clip(0, 1) * 255).astype(np.uint8)


def _mean_absolute(difference: np.ndarray) -> list[float]:
    return np.abs(difference).mean(axis=(1, 2, 3)).tolist()

"""What a training run is judged by: validation on unseen clips, and pictures of a few of them, always the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fomm_tf import models, video, visualize
from fomm_tf.data import frames, pairs

_BATCH_SIZE = 8
_GRID_ROWS = 4
_ANIMATION_FRAMES = 24
# Bounds of `find_failures`, in fractions of the frame's side (keypoints, whose range is 2) and of the baseline.
_MIN_SPREAD, _MIN_MOTION, _MIN_OCCLUSION, _MIN_DIFFERENCE, _MIN_CONTRAST = 0.01, 0.001, 0.02, 0.05, 0.1


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
      count: maximum number of frames; each chosen clip contributes at least one.
    """

    def __init__(self, model: models.AnimationModel, index: frames.Index, count: int) -> None:
        self._index, self._chosen = index, pairs.select_frames(index, count)
        self._predict = tf.function(lambda pair: model(pair).prediction, reduce_retracing=True, autograph=False)

    def __call__(self) -> Score:
        """Scores the model with its current weights."""
        errors, source_copy_errors = [], []
        for number, chosen in self._chosen:
            clip = self._index.clips[number]
            source = clip.frame(0)[np.newaxis]
            for start in range(0, len(chosen), _BATCH_SIZE):
                driving = np.stack([clip.frame(i) for i in chosen[start : start + _BATCH_SIZE]])
                prediction = self._predict({"source": source, "driving": driving}).numpy()
                errors += _mean_absolute(prediction - driving.astype(np.float32) / 255)
                source_copy_errors += _mean_absolute((source.astype(np.float32) - driving) / 255)
        return Score(float(np.mean(errors)), float(np.mean(source_copy_errors)))


class SampleGrid:
    """Reconstructions of one frame from each of a few clips, always the same ones, in the style of the paper's figures.

    Args:
      model: the model that trains.
      index: the clips.

    Attributes:
      failures: of the last picture, from `find_failures`.
    """

    def __init__(self, model: models.AnimationModel, index: frames.Index) -> None:
        self.failures: list[str] = []
        self._has_keypoints = model.config.traits.has_keypoints
        clips = [index.clips[number] for number in pairs.spread(0, len(index) - 1, min(_GRID_ROWS, len(index)))]
        self._first = clips[0]
        self._sources = np.stack([clip.frame(0) for clip in clips])
        self._drivings = np.stack([clip.frame(2 * len(clip) // 3) for clip in clips])

        @tf.function(autograph=False)
        def reconstruct(sources: tf.Tensor, drivings: tf.Tensor) -> tuple:
            encoded, keypoints = model.encode_source(sources), model.detect(drivings)
            return encoded.keypoints, keypoints, model.render(encoded, keypoints, details=True)

        self._reconstruct = reconstruct

    def animate(self) -> Iterator[np.ndarray]:
        """Animates the first frame of the first clip by the clip's other frames.

        Yields:
          `[H, 3 * W, 3]` uint8: source, driving frame and prediction.
        """
        clip = self._first
        for number in pairs.spread(0, len(clip) - 1, min(_ANIMATION_FRAMES, len(clip))):
            driving = clip.frame(number)
            # As many frames as the grid has, so that nothing is traced again.
            drivings = np.repeat(driving[np.newaxis], len(self._sources), axis=0)
            prediction = self._reconstruct(self._sources, drivings)[2].prediction[0]
            yield np.concatenate([self._sources[0], driving, video.to_uint8(prediction)], axis=1)

    def draw(self) -> np.ndarray:
        """Draws a row per clip: source and driving frame with keypoints, prediction, deformed source, occlusion, masks.

        Returns:
          `[H, W, 3]` uint8.
        """
        source_keypoints, driving_keypoints, rendering = self._reconstruct(self._sources, self._drivings)
        self.failures = find_failures(
            self._sources / 255.0,
            self._drivings / 255.0,
            np.concatenate([source_keypoints.value, driving_keypoints.value]) if self._has_keypoints else None,
            rendering.prediction.numpy(),
            None if rendering.occlusion is None else rendering.occlusion.numpy(),
        )
        rows = []
        for i, (source, driving) in enumerate(zip(self._sources, self._drivings, strict=True)):
            panels = visualize.panels(
                source,
                source_keypoints.frame(i) if self._has_keypoints else None,
                driving,
                driving_keypoints.frame(i) if self._has_keypoints else None,
                video.to_uint8(rendering.deformed[i]),
                None if rendering.mask is None else rendering.mask[i].numpy(),
                None if rendering.occlusion is None else rendering.occlusion[i].numpy(),
            )
            rows.append(visualize.row(panels, video.to_uint8(rendering.prediction[i])))
        return np.concatenate(rows)


def find_failures(
    sources: np.ndarray,
    drivings: np.ndarray,
    keypoints: np.ndarray | None,
    predictions: np.ndarray,
    occlusion: np.ndarray | None,
) -> list[str]:
    """Names what betrays that a training has failed, in a few reconstructions.

    Args:
      sources: `[N, H, W, 3]` in [0, 1].
      drivings: `[N, H, W, 3]`, other frames of the same clips.
      keypoints: `[M, K, 2]`, of any frames; None if the model has none.
      predictions: `[N, H, W, 3]`, of the driving frames.
      occlusion: `[N, h, w, 1]`, or None if the model has none.

    Returns:
      A sentence for each failure.
    """
    failures, spread, motion = [], np.inf, np.inf
    if keypoints is not None:
        spread, motion = keypoints.std(axis=1).mean() / 2, keypoints.std(axis=0).mean() / 2
    if spread < _MIN_SPREAD:
        failures.append(
            f"the keypoints have collapsed: they spread over {spread:.4f} of the frame's side, less than {_MIN_SPREAD}"
        )
    elif motion < _MIN_MOTION:
        failures.append(f"the keypoints do not move: between frames, by {motion:.5f} of the frame's side")
    if occlusion is not None and occlusion.max() < _MIN_OCCLUSION:
        failures.append(f"the occlusion map is 0: at most {occlusion.max():.3f}, so that nothing of the source is used")
    changes = np.abs(predictions - sources).mean(), np.abs(drivings - sources).mean()
    if changes[0] < _MIN_DIFFERENCE * changes[1]:
        failures.append("the result is the source: the driving frames do not change it")
    contrasts = [images.std(axis=(1, 2)).mean() for images in (predictions, drivings)]
    if contrasts[0] < _MIN_CONTRAST * contrasts[1]:
        failures.append(f"the result is of one color: its contrast is {contrasts[0] / contrasts[1]:.3f} of the frames'")
    return failures


def _mean_absolute(difference: np.ndarray) -> list[float]:
    return np.abs(difference).mean(axis=(1, 2, 3)).tolist()

"""Reports of a training run: progress, TensorBoard, history.csv, validation on unseen clips, sample images."""

from __future__ import annotations

import contextlib
import csv
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tqdm

from fomm_tf import files, models, video, visualize
from fomm_tf.data import frames
from fomm_tf.training.step import GRADIENT_NORM

_BATCH_SIZE = 8
_GRID_ROWS = 4


class ProgressReporter:
    """Reports losses, images/s and the time left: a progress bar on a terminal, occasional lines elsewhere.

    Args:
      done: steps before this start.
      total: steps of the whole run.
      batch_size: pairs per step.
      report: receives lines; None reports nothing.
    """

    def __init__(self, done: int, total: int, batch_size: int, report: Callable[[str], object] | None) -> None:
        self._total, self._batch_size, self._report = total, batch_size, report
        shown = report is not None and sys.stderr.isatty()
        self._bar = tqdm.tqdm(total=total, initial=done, unit="step", disable=not shown)
        self._last_time, self._last_step = time.perf_counter(), done

    def log(self, step: int, means: Mapping[str, float]) -> float:
        """Reports the losses after `step` steps.

        Args:
          step: number of completed steps.
          means: name -> mean loss since the last call.

        Returns:
          Images per second since the last call.
        """
        now = time.perf_counter()
        steps = step - self._last_step
        seconds_per_step = (now - self._last_time) / max(1, steps)
        self._last_time, self._last_step = now, step
        rate = self._batch_size / max(seconds_per_step, 1e-9)
        losses = ", ".join(f"{name} {value:.4g}" for name, value in means.items() if not name.startswith(GRADIENT_NORM))
        if not self._bar.disable:
            self._bar.set_postfix_str(f"{losses}, {rate:.3g} images/s")
            self._bar.update(steps)
        elif self._report is not None:
            remaining = (self._total - step) * seconds_per_step
            self._report(f"step {step} of {self._total}: {losses}; {rate:.3g} images/s, {_duration(remaining)} left")
        return rate

    def write_line(self, line: str) -> None:
        """Reports a line without disturbing the progress bar."""
        if self._report is not None:
            with tqdm.tqdm.external_write_mode():
                self._report(line)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Excludes the time of the block from the rate."""
        start = time.perf_counter()
        yield
        self._last_time += time.perf_counter() - start

    def __enter__(self) -> ProgressReporter:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.close()


class TensorBoardLogger:
    """Writes TensorBoard's event files of a run, and sample images also as png files.

    Args:
      folder: the run directory.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder, self._writer = folder, tf.summary.create_file_writer(str(folder))

    def log_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to each curve `group/name`."""
        with self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self._writer.flush()

    def log_image(self, step: int, image: tf.Tensor) -> None:
        """Adds an image, `[H, W, 3]` uint8, and writes it to `samples/`."""
        with self._writer.as_default(step=step):
            tf.summary.image("samples", image[tf.newaxis])
        video.write_image(self._folder / "samples" / f"{step:07d}.png", image)


class History:
    """history.csv: one row per validation.

    Args:
      path: the file.
      step: completed steps of the run; later rows, left by a killed run, are dropped.
    """

    # The name of the last column is part of the run directory's format.
    _COLUMNS = ("step", "l1", "copying")

    def __init__(self, path: pathlib.Path, step: int) -> None:
        self._path, self._rows = path, []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows = [[int(row["step"]), float(row["l1"]), float(row["copying"])] for row in csv.DictReader(file)]
            self._rows = [row for row in rows if row[0] <= step]

    def add(self, step: int, score: Score) -> bool:
        """Adds a score and returns whether it is the best so far."""
        best = all(score.l1 < row[1] for row in self._rows)
        self._rows.append([step, *score])
        files.write_csv(self._path, self._COLUMNS, self._rows)
        return best


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

    def __init__(self, model: models.FirstOrderMotionModel, index: frames.Index, count: int) -> None:
        self._index = index
        self._frames_per_clip = max(1, count // len(index))
        self._clips = _spread(0, len(index) - 1, min(len(index), count))
        self._predict = tf.function(lambda pair: model(pair).prediction, reduce_retracing=True, autograph=False)

    def __call__(self) -> Score:
        """Scores the model with its current weights."""
        errors, source_copy_errors = [], []
        for number in self._clips:
            clip = self._index.clips[number]
            source = clip.frame(0)[np.newaxis]
            chosen = _spread(1, len(clip) - 1, min(self._frames_per_clip, len(clip) - 1))
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
    """

    def __init__(self, model: models.FirstOrderMotionModel, index: frames.Index) -> None:
        clips = [index.clips[number] for number in _spread(0, len(index) - 1, min(_GRID_ROWS, len(index)))]
        self._sources = np.stack([clip.frame(0) for clip in clips])
        self._drivings = np.stack([clip.frame(2 * len(clip) // 3) for clip in clips])

        @tf.function(autograph=False)
        def reconstruct(sources: tf.Tensor, drivings: tf.Tensor) -> tuple:
            encoded, keypoints = model.encode_source(sources), model.detect(drivings)
            return encoded.keypoints, keypoints, model.render(encoded, keypoints, details=True)

        self._reconstruct = reconstruct

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


def _spread(first: int, last: int, count: int) -> Sequence[int]:
    """`count` whole numbers spread evenly from `first` to `last`."""
    return np.unique(np.linspace(first, last, count).round().astype(int))


def _as_uint8(image: tf.Tensor) -> np.ndarray:
    return np.rint(image.numpy().clip(0, 1) * 255).astype(np.uint8)


def _mean_absolute(difference: np.ndarray) -> list[float]:
    return np.abs(difference).mean(axis=(1, 2, 3)).tolist()


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"

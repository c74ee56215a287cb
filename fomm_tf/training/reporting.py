"""Reports of a training run: when they are due, progress, TensorBoard, history.csv."""

from __future__ import annotations

import contextlib
import csv
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType

import numpy as np
import tensorflow as tf
import tqdm

from fomm_tf import files, video
from fomm_tf.training import samples
from fomm_tf.training.step import GRADIENT_NORM, L1, MEASURE, SOURCE_COPY_L1

_VIDEO_FPS = 8
# What TensorBoard calls images in the metadata of a summary.
_BLOB_SEQUENCE = 3


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
        layout = "{l_bar}{bar}| {n_fmt}/{total_fmt} {postfix}"
        self._bar = tqdm.tqdm(total=total, initial=done, unit="step", disable=not shown, bar_format=layout)
        self._last_time, self._last_step = time.perf_counter(), done
        self._compilation: float | None = None

    def add_step(self, step: int) -> None:
        """Counts a completed step, from 1; the time of the first one, which is compiled, is no part of the rates."""
        self._bar.update()
        if self._compilation is None:
            now = time.perf_counter()
            self._compilation, self._last_time, self._last_step = now - self._last_time, now, step

    def log(self, step: int, means: Mapping[str, float]) -> float | None:
        """Reports the losses after `step` steps.

        Args:
          step: number of completed steps.
          means: name -> mean loss since the last call.

        Returns:
          Images per second since the last call; None if only the first step was made.
        """
        now = time.perf_counter()
        steps = step - self._last_step
        if steps:
            seconds_per_step = (now - self._last_time) / steps
            self._last_time, self._last_step = now, step
            rate = self._batch_size / max(seconds_per_step, 1e-9)
            speed = f"{rate:.3g} images/s, {format_duration((self._total - step) * seconds_per_step)} left"
        else:
            rate, speed = None, f"compiled in {format_duration(self._compilation or 0.0)}"
        losses = ", ".join(f"{name} {value:.4g}" for name, value in loss_terms(means).items())
        if L1 in means:
            losses += f"; L1 {means[L1] / max(means[SOURCE_COPY_L1], 1e-9):.3f} of the source-copy baseline"
        if not self._bar.disable:
            self._bar.set_postfix_str(f"{losses}; {speed}")
        elif self._report is not None:
            self._report(f"step {step} of {self._total}: {losses}; {speed}")
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


def loss_terms(means: Mapping[str, float]) -> dict[str, float]:
    """The total loss of the generator, `loss`, and its terms and the discriminator's, without norms and measures."""
    terms = {name: value for name, value in means.items() if not name.startswith((GRADIENT_NORM, MEASURE))}
    total = sum(value for name, value in terms.items() if not name.startswith("disc_"))
    return {"loss": total, **terms} if len(terms) > 1 else terms


class Cadence:
    """When something is due: after a number of steps, or of minutes, whichever comes first.

    Args:
      steps: it is due at the multiples of this number; None for no number of steps.
      minutes: it is due when so many have passed since the last time; None for no time.
      early: it is due after the first step, then after one minute, two minutes and so on up to `minutes`.
    """

    def __init__(self, steps: int | None, minutes: float | None, early: bool = False) -> None:
        self._steps, self._minutes, self._early = steps, minutes, early
        self._start = self._last = time.perf_counter()

    def is_due(self, step: int) -> bool:
        """Whether it is due after `step` steps; if so, the time starts again."""
        now = time.perf_counter()
        due = self._steps is not None and step % self._steps == 0
        if self._minutes is not None:
            wait = self._minutes * 60
            if self._early:
                wait = min(wait, max(60, self._last - self._start))
            due = due or now - self._last >= wait or (self._early and step == 1)
        if due:
            self._last = now
        return due


class TensorBoardLogger:
    """Writes TensorBoard's event files of a run, and pictures also as files in `pictures/`.

    Args:
      folder: the run directory.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._pictures, self._writer = folder / "pictures", tf.summary.create_file_writer(str(folder))

    def log_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to each curve `group/name`."""
        with self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self._writer.flush()

    def log_image(self, step: int, image: np.ndarray, keep: bool = True) -> None:
        """Adds an image, `[H, W, 3]` uint8, and writes it to `latest.png`; with `keep` also to a file of its own."""
        with self._writer.as_default(step=step):
            tf.summary.image("samples", image[tf.newaxis])
        for name in [f"{step:07d}", "latest"] if keep else ["latest"]:
            video.write_image(self._pictures / f"{name}.png", image)
        self._writer.flush()

    def log_video(self, step: int, images: Iterable[np.ndarray]) -> None:
        """Adds a video, `[H, W, 3]` uint8 each, which TensorBoard shows among the images, and writes `latest.gif`."""
        path = self._pictures / "latest.gif"
        with video.write_video(path, _VIDEO_FPS) as writer:
            for image in images:
                writer.write(image)
        height, width = image.shape[:2]
        # An image summary whose encoded image is an animated gif.
        content = tf.stack([str(width), str(height), path.read_bytes()])
        metadata = tf.compat.v1.SummaryMetadata(
            plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="images"), data_class=_BLOB_SEQUENCE
        )
        with self._writer.as_default(step=step):
            tf.summary.write("animation", content, metadata=metadata)
        self._writer.flush()


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

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def since_best(self) -> int:
        """How many validations followed the best one."""
        return len(self._rows) - 1 - self._rows.index(self._best()) if self._rows else 0

    def is_exhausted(self, patience: int | None) -> bool:
        """Whether `patience` validations in a row were not better than an earlier one; None is endless."""
        return patience is not None and self.since_best >= patience

    def describe(self) -> str:
        """The first and the best result, in words."""
        (first, before, _), (step, l1, _) = self._rows[0], self._best()
        if step == first:
            return f"no later L1 on unseen clips is lower than the {l1:.4f} of step {first}"
        return f"the best L1 on unseen clips is {l1:.4f}, at step {step}; at step {first} it was {before:.4f}"

    def _best(self) -> list:
        return min(self._rows, key=lambda row: row[1])

    def add(self, step: int, score: samples.Score) -> bool:
        """Adds a score and returns whether it is the best so far."""
        best = all(score.l1 < row[1] for row in self._rows)
        self._rows.append([step, *score])
        files.write_csv(self._path, self._COLUMNS, self._rows)
        return best


def format_duration(seconds: float) -> str:
    """A duration for people, such as `45 s`, `12 min` or `3.5 h`."""
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"

"""What a training run reports: progress on the console, TensorBoard, history.csv."""

from __future__ import annotations

import contextlib
import csv
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType

import tensorflow as tf
import tqdm

from fomm_tf import video
from fomm_tf.training import validation
from fomm_tf.training.step import GRADIENT_NORM


class ProgressReporter:
    """Reports losses, images/s and the time left: a progress bar on a terminal, occasional lines elsewhere.

    Args:
      done: steps before this start.
      total: steps of the whole run.
      batch_size: pairs a step.
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
          step: how many steps are done.
          means: name -> mean loss since the last call.

        Returns:
          Images a second since the last call.
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
    """Writes TensorBoard's event files of a run, and sample images as png files too.

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
        """Adds an image, `[H, W, 3]` uint8, and writes it to `pictures/`."""
        with self._writer.as_default(step=step):
            tf.summary.image("pictures", image[tf.newaxis])
        video.write_image(self._folder / "pictures" / f"{step:07d}.png", image)


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

    def add(self, step: int, score: validation.Score) -> bool:
        """Adds a score and returns whether it is the best so far."""
        best = all(score.l1 < row[1] for row in self._rows)
        self._rows.append([step, *score])
        temporary = self._path.with_name(f".{self._path.name}.new")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([self._COLUMNS, *self._rows])
        temporary.replace(self._path)
        return best


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"

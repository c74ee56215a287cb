"""What a run says of itself: a bar or lines on the console, TensorBoard's curves and pictures, history.csv."""

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
from fomm_tf.training.step import NORM


class Console:
    """Progress, losses, images/s and the time left: a bar on a terminal, a line now and then elsewhere.

    Args:
      done: steps before this start.
      total: steps of the whole run.
      batch: pairs a step.
      report: takes lines; None says nothing.
    """

    def __init__(self, done: int, total: int, batch: int, report: Callable[[str], object] | None) -> None:
        self._total, self._batch, self._report = total, batch, report
        shown = report is not None and sys.stderr.isatty()
        self._bar = tqdm.tqdm(total=total, initial=done, unit="step", disable=not shown)
        self._begun, self._step = time.perf_counter(), done

    def log(self, step: int, means: Mapping[str, float]) -> float:
        """Says how it goes after `step` steps.

        Args:
          step: how many steps are done.
          means: name -> loss since the last call.

        Returns:
          Images a second since the last call.
        """
        now = time.perf_counter()
        taken, pace = step - self._step, (now - self._begun) / max(1, step - self._step)
        self._begun, self._step = now, step
        rate = self._batch / max(pace, 1e-9)
        losses = ", ".join(f"{name} {value:.4g}" for name, value in means.items() if not name.startswith(NORM))
        if not self._bar.disable:
            self._bar.set_postfix_str(f"{losses}, {rate:.3g} images/s")
            self._bar.update(taken)
        elif self._report is not None:
            left = (self._total - step) * pace
            self._report(f"step {step} of {self._total}: {losses}; {rate:.3g} images/s, {_duration(left)} left")
        return rate

    def say(self, line: str) -> None:
        """A line between the bar's states."""
        if self._report is not None:
            with tqdm.tqdm.external_write_mode():
                self._report(line)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The time that the block takes is none of the steps'."""
        begun = time.perf_counter()
        yield
        self._begun += time.perf_counter() - begun

    def __enter__(self) -> Console:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.close()


class Board:
    """TensorBoard's files of a run, and the pictures as files too.

    Args:
      folder: the run folder.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder, self._writer = folder, tf.summary.create_file_writer(str(folder))

    def curves(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to each curve `group/name`."""
        with self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self._writer.flush()

    def picture(self, step: int, grid: tf.Tensor) -> None:
        """Adds a picture, `[H, W, 3]` uint8, and writes it to `pictures/`."""
        with self._writer.as_default(step=step):
            tf.summary.image("pictures", grid[tf.newaxis])
        video.write_image(self._folder / "pictures" / f"{step:07d}.png", grid)


class History:
    """history.csv: the tests of a run, a line each.

    Args:
      path: the file.
      step: steps that the run has done; lines beyond them, of a run that was killed, go.
    """

    _COLUMNS = ("step", *validation.Score._fields)

    def __init__(self, path: pathlib.Path, step: int) -> None:
        self._path, self._rows = path, []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows = [[int(row["step"]), float(row["l1"]), float(row["copying"])] for row in csv.DictReader(file)]
            self._rows = [row for row in rows if row[0] <= step]

    def add(self, step: int, score: validation.Score) -> bool:
        """Adds a test and says whether it is the best so far."""
        best = all(score.l1 < row[1] for row in self._rows)
        self._rows.append([step, *score])
        beside = self._path.with_name(f".{self._path.name}.new")
        with beside.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([self._COLUMNS, *self._rows])
        beside.replace(self._path)
        return best


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"

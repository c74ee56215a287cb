"""When a run ends, by its schedule or early, and the learning rates of its steps."""

from __future__ import annotations

import bisect
import dataclasses
import pathlib

from fomm_tf import checkpoint, config
from fomm_tf.training import reporting


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The plan of a run, in steps.

    Attributes:
      total: steps of the whole run.
      epoch: steps of an epoch.
      decay_steps: steps after which the learning rates are divided by ten, ascending.
    """

    total: int
    epoch: int
    decay_steps: tuple[int, ...]

    def factor(self, step: int) -> float:
        """The factor of the learning rates at `step`, counted from 0."""
        return 0.1 ** bisect.bisect_right(self.decay_steps, step)


def plan_schedule(settings: config.TrainConfig, epoch: int) -> Schedule:
    """The schedule of a config: in steps as in the paper, or in epochs as in the reference implementation.

    Args:
      settings: `steps` and `lr_decay_fractions`, or `epochs` and `milestones`.
      epoch: steps of an epoch, from `fomm_tf.data.pairs.steps_per_epoch`.
    """
    if settings.steps is not None:
        total, decay_steps = settings.steps, [round(share * settings.steps) for share in settings.lr_decay_fractions]
    else:
        total, decay_steps = settings.epochs * epoch, [milestone * epoch for milestone in settings.milestones]
    return Schedule(total, epoch, tuple(sorted(decay_steps)))


class LearningRates:
    """Sets the learning rates of a run by its schedule.

    Args:
      run: with optimizers.
      train: the initial learning rates.
      schedule: their decay.

    Attributes:
      scale: multiplies all of them.
    """

    def __init__(self, run: checkpoint.Run, train: config.TrainConfig, schedule: Schedule) -> None:
        self._run, self._train, self._schedule = run, train, schedule
        self.scale, self._applied = 1.0, None

    def initial(self, name: str) -> float:
        """The initial learning rate of the optimizer `name`."""
        return getattr(self._train, f"learning_rate_{name}")

    def apply(self, step: int) -> None:
        """Sets those of step `step`, counted from 0."""
        factor = self._schedule.factor(step) * self.scale
        if factor != self._applied:
            self._applied = factor
            for name, optimizer in self._run.optimizers.items():
                optimizer.learning_rate.assign(self.initial(name) * factor)


def describe_end(train: config.TrainConfig, folder: pathlib.Path) -> str | None:
    """Says that a run has ended, by its schedule or early; None if it has not, or has no checkpoint yet.

    Args:
      train: the schedule, and the patience.
      folder: the run directory.
    """
    if not (folder / "checkpoint").is_file():
        return None
    name, count = ("steps", train.steps) if train.steps is not None else ("epochs", train.epochs)
    done = checkpoint.read_count(folder, name.removesuffix("s"))
    if done < count:
        history = reporting.History(folder / "history.csv", checkpoint.read_count(folder, "step"))
        if history.is_exhausted(train.patience):
            return (
                f"{folder} ended early: {history.describe()}; to train longer, resume with train.patience="
                f"{history.since_best + train.patience} or null"
            )
        return None
    return (
        f"{folder} is finished: {name.removesuffix('s')} {done} of {count}; to train longer, resume with "
        f"train.{name}={2 * done} or another number"
    )

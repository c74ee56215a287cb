"""How long a run trains and with which learning rates."""

from __future__ import annotations

import bisect
import dataclasses

from fomm_tf import config


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The plan of a run, in steps.

    Attributes:
      total: steps of the whole run.
      epoch: steps of an epoch.
      drops: steps after which the learning rates are divided by ten, ascending.
    """

    total: int
    epoch: int
    drops: tuple[int, ...]

    def factor(self, step: int) -> float:
        """What the learning rates are multiplied by at `step`, counted from 0."""
        return 0.1 ** bisect.bisect_right(self.drops, step)


def plan(settings: config.TrainConfig, epoch: int) -> Schedule:
    """The schedule that a config asks for: in steps as the paper has it, or in epochs as the reference has it.

    Args:
      settings: `steps` and `drops`, or `epochs` and `milestones`.
      epoch: steps of an epoch, from `fomm_tf.data.pairs.steps_per_epoch`.
    """
    if settings.steps is not None:
        drops = (round(share * settings.steps) for share in settings.drops)
        return Schedule(settings.steps, epoch, tuple(sorted(drops)))
    drops = (milestone * epoch for milestone in settings.milestones)
    return Schedule(settings.epochs * epoch, epoch, tuple(sorted(drops)))

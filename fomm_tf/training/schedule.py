"""The length of a run and its learning rates."""

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
      decay_steps: steps after which the learning rates are divided by ten, ascending.
    """

    total: int
    epoch: int
    decay_steps: tuple[int, ...]

    def factor(self, step: int) -> float:
        """The factor of the learning rates at `step`, counted from 0."""
        return 0.1 ** bisect.bisect_right(self.decay_steps, step)


def plan(settings: config.TrainConfig, epoch: int) -> Schedule:
    """The schedule of a config: in steps as in the paper, or in epochs as in the reference.

    Args:
      settings: `steps` and `lr_decay_fractions`, or `epochs` and `milestones`.
      epoch: steps of an epoch, from `fomm_tf.data.pairs.steps_per_epoch`.
    """
    if settings.steps is not None:
        decay_steps = (round(share * settings.steps) for share in settings.lr_decay_fractions)
        return Schedule(settings.steps, epoch, tuple(sorted(decay_steps)))
    decay_steps = (milestone * epoch for milestone in settings.milestones)
    return Schedule(settings.epochs * epoch, epoch, tuple(sorted(decay_steps)))

"""The losses of the steps since they were last looked at: their means, and the first that is no number.

Losses stay on the device until they are looked at, so that a step does not wait for the one before it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from fomm_tf import errors
from fomm_tf.training.step import NORM


class Losses:
    """Collects what steps return.

    Args:
      scaled: whether the losses are scaled for float16. The scale is found by trying, and a step whose gradient
        overflows is left out: a gradient that is no number is nothing to stop for then.
    """

    def __init__(self, scaled: bool) -> None:
        self._scaled = scaled
        self._steps: list[tuple[int, Mapping[str, tf.Tensor]]] = []

    def add(self, step: int, losses: Mapping[str, tf.Tensor]) -> None:
        """Adds what step `step`, counted from 1, returned."""
        self._steps.append((step, losses))

    def take(self) -> dict[str, float]:
        """The means of what was added since the last call.

        Raises:
          errors.UserError: names the first step and term that is NaN or infinite.
        """
        taken, self._steps = self._steps, []
        values = {name: np.array([losses[name].numpy() for _, losses in taken]) for name in taken[0][1]}
        for position, (step, losses) in enumerate(taken):
            for name in losses:
                value = float(values[name][position])
                if not math.isfinite(value) and not (self._scaled and name.startswith(NORM)):
                    what = f"the gradient of the {name.removeprefix(NORM)}" if name.startswith(NORM) else f"loss {name}"
                    raise errors.UserError(
                        f"{what} is {value} at step {step}, so the weights are lost since; look at the frames or lower "
                        "the learning rates, then go on from the last good checkpoint with --resume."
                    )
        return {name: float(np.mean(found[np.isfinite(found)])) for name, found in values.items()}

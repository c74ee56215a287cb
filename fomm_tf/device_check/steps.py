"""The check of training: the losses of a recipe's first step against float64, and the time and memory of a step."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from fomm_tf import checkpoint, config
from fomm_tf.device_check import float64, timing
from fomm_tf.device_check.modes import Mode
from fomm_tf.device_check.report import FAILED, PASSED
from fomm_tf.losses import backbones
from fomm_tf.models import execution
from fomm_tf.ops import tps
from fomm_tf.training import step as steps
from fomm_tf.training.objective import Objective

# The largest relative difference of a loss. Losses of random weights amplify rounding; these are not derived.
_EXACT, _ROUNDED = 1e-3, 5e-2


class Training:
    """A recipe's model and losses with random weights, and the losses of its first step in float64 on the CPU.

    Args:
      settings: the recipe.
      batch_size: pairs a step.
    """

    def __init__(self, settings: config.Config, batch_size: int) -> None:
        train = dataclasses.replace(settings.train, batch_size=batch_size)
        self._settings = dataclasses.replace(settings, train=train)
        self._adversarial = train.loss_weights.generator_gan != 0
        frames = np.random.default_rng(0).random([2, batch_size, *settings.model.frame_size, 3], np.float32)
        self._batch = {"source": frames[0], "driving": frames[1]}
        tf.keras.utils.set_random_seed(train.seed)
        with tf.device(float64.DEVICE):
            self._start = checkpoint.build(self._settings, self._adversarial)
        self._exact = self._compute_exact_losses()

    def check(self, mode: Mode, rounds: int) -> tuple[str, str]:
        """Makes steps on the default device; returns the status, and time, memory and difference in words."""
        train = dataclasses.replace(self._settings.train, precision=mode.precision, xla=mode.xla)
        settings = dataclasses.replace(self._settings, train=train)
        with execution.mixed_precision_scope(mode.precision):
            run = checkpoint.build(settings, self._adversarial, optimizers=True)
        self._copy_weights(run)
        if mode.precision == "float16":
            run.optimizers = {name: steps.LossScaleOptimizer(inner) for name, inner in run.optimizers.items()}
        train_step = steps.compile_step(run, self._objective(run), train, tf.distribute.get_strategy())
        batch = {name: tf.constant(frames) for name, frames in self._batch.items()}
        losses, measured = timing.measure(lambda: train_step(batch, tf.constant(0, tf.int64)), rounds)
        difference = max(abs(losses[name] - exact) / abs(exact) for name, exact in self._exact.items())
        limit = _EXACT if mode.is_exact else _ROUNDED
        is_finite = all(np.isfinite(variable).all() for part in run.parts().values() for variable in part.get_weights())
        status = PASSED if difference <= limit and is_finite else FAILED
        text = f"{measured.describe(1, 'step')}; losses differ by {difference:.1e} (limit: {limit:.0e})"
        return status, text if is_finite else f"{text}; weights are NaN or infinite"

    def _compute_exact_losses(self) -> dict[str, float]:
        with float64.scope():
            run = checkpoint.build(self._settings, self._adversarial)
            self._copy_weights(run)
            objective = self._objective(run)
            source, driving = (tf.constant(frames, tf.float64) for frames in self._batch.values())
            drawn = steps.draw_transform(self._settings.train, tf.constant(0, tf.int64))
            transform = tps.Transform(*(tf.cast(part, tf.float64) for part in drawn))
            forward = objective.forward(source, driving, transform)
            losses = objective.generator_losses(driving, forward, transform)
            if self._adversarial:
                losses |= objective.discriminator_losses(driving, forward)
            return {name: float(tf.reduce_mean(loss)) for name, loss in losses.items()}

    def _copy_weights(self, run: checkpoint.Run) -> None:
        for name, part in run.parts().items():
            float64.copy_weights(self._start.parts()[name].weights, part.weights)

    def _objective(self, run: checkpoint.Run) -> Objective:
        return Objective(self._settings, run.model, run.discriminator, backbones.Vgg19.random())

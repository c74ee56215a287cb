"""One training step: the objective, its gradients, and the optimizers, in the order of the reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from fomm_tf import checkpoint, config, errors, models
from fomm_tf.models import execution
from fomm_tf.ops import tps
from fomm_tf.training.objective import Objective

# Prefix of the gradients' norms among the losses.
GRADIENT_NORM = "gradient_norm_"
# Mean absolute errors among the losses, which nothing minimizes: of the prediction, and of the source taken as one.
MEASURE = "measured_"
L1, SOURCE_COPY_L1 = f"{MEASURE}l1", f"{MEASURE}source_copy_l1"
LossScaleOptimizer = tf.keras.mixed_precision.LossScaleOptimizer


def freeze(model: models.AnimationModel, train: config.TrainConfig) -> None:
    """Freezes what `train` asks for.

    To be called when all weights have their values: it changes the order in which Keras lists them.
    """
    if train.freeze_detector:
        model.detector.trainable = False
    if train.freeze_statistics:
        execution.keep_statistics(model)


class TrainStep:
    """Updates the networks of a run; the same code for one replica and for many.

    Called inside a replica. Losses are divided by the GLOBAL batch here and nowhere else, so the optimizers' sum over
    replicas is the gradient of the mean.

    Args:
      run: with optimizers, and with a discriminator if the objective is adversarial. Networks whose `trainable` is
        False stay as they are.
      objective: the losses.
      global_batch: pairs per step, over all replicas.
      clip_norm: maximum norm of each optimizer's gradient; None does not clip.
    """

    def __init__(
        self, run: checkpoint.Run, objective: Objective, global_batch: int, clip_norm: float | None = None
    ) -> None:
        self._run, self._objective, self._global_batch, self._clip_norm = run, objective, global_batch, clip_norm

    def __call__(self, source: tf.Tensor, driving: tf.Tensor, transform: tps.Transform) -> dict[str, tf.Tensor]:
        """Makes one step.

        Args:
          source: `[b, H, W, 3]` float in [0, 1], this replica's share.
          driving: `[b, H, W, 3]`, other frames of the same videos.
          transform: b deformations for the equivariance losses.

        Returns:
          name -> this replica's share of each weighted loss, of `L1` and `SOURCE_COPY_L1`, and of the norm of each
          optimizer's gradient before clipping: their sum over replicas is that of the batch.
        """
        with tf.GradientTape() as tape:
            forward = self._objective.forward(source, driving, transform)
            losses = self._mean(self._objective.generator_losses(driving, forward, transform))
            total = self._total_loss("generator", losses)
        names = [name for name in ("generator", "detector") if self._run.trainable(name)]
        norms = self._apply(tape, total, names)
        if self._objective.adversarial:
            with tf.GradientTape() as tape:
                discriminator_losses = self._mean(self._objective.discriminator_losses(driving, forward))
                total = self._total_loss("discriminator", discriminator_losses)
            norms |= self._apply(tape, total, ("discriminator",))
            losses |= discriminator_losses
        images = {L1: forward.reconstruction.prediction, SOURCE_COPY_L1: source}
        measures = {name: tf.reduce_mean(tf.abs(image - driving), (1, 2, 3)) for name, image in images.items()}
        return losses | self._mean(measures) | norms

    def _mean(self, losses: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {name: tf.reduce_sum(loss) / self._global_batch for name, loss in losses.items()}

    def _total_loss(self, name: str, losses: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The total loss, the sum of the weighted terms (sec. 3.3), times the loss scale of the optimizer `name`."""
        total, optimizer = tf.add_n(list(losses.values())), self._run.optimizers[name]
        return optimizer.get_scaled_loss(total) if isinstance(optimizer, LossScaleOptimizer) else total

    def _apply(self, tape: tf.GradientTape, total: tf.Tensor, names: Sequence[str]) -> dict[str, tf.Tensor]:
        """Steps the optimizers `names` with the gradients of one backward pass; the first one scaled the loss."""
        variables = {name: self._run.trainable(name) for name in names}
        gradients, norms = tape.gradient(total, variables), {}
        first = self._run.optimizers[names[0]]
        for name in names:
            optimizer, inner, unscaled = self._run.optimizers[name], self._run.optimizers[name], gradients[name]
            if isinstance(first, LossScaleOptimizer):
                inner, unscaled = optimizer.inner_optimizer, first.get_unscaled_gradients(unscaled)
            summed = inner.aggregate_gradients(list(zip(unscaled, variables[name], strict=True)))
            norm = tf.linalg.global_norm([gradient for gradient, _ in summed])
            norms[GRADIENT_NORM + name] = norm / tf.distribute.get_strategy().num_replicas_in_sync
            if self._clip_norm is not None:
                scale = self._clip_norm / tf.maximum(norm, self._clip_norm)
                summed = [(gradient * scale, variable) for gradient, variable in summed]
            optimizer.apply_gradients(summed, skip_gradients_aggregation=True)
        return norms


def compile_step(
    run: checkpoint.Run, objective: Objective, train: config.TrainConfig, strategy: tf.distribute.Strategy
) -> Callable[[dict[str, tf.Tensor], tf.Tensor], dict[str, tf.Tensor]]:
    """The training step of all replicas as one `tf.function`, which both `fomm train` and `Model.fit` call.

    Args:
      run: see `TrainStep`.
      objective: see `TrainStep`.
      train: batch size, clipping, transforms, and whether XLA compiles the step.
      strategy: the devices.

    Returns:
      A function of the batch, {source, driving}, distributed by the strategy, and of the number of the step, counted
      from 0, scalar int64. It returns name -> the batch's loss, measure or gradient norm; see `TrainStep`.
    """
    step = TrainStep(run, objective, train.batch_size, train.clip_norm)
    names: list[str] = []

    def step_replica(batch: dict[str, tf.Tensor], transform: tps.Transform) -> tf.Tensor:
        losses = step(batch["source"], batch["driving"], transform)
        names[:] = losses
        # One vector, so that replicas exchange once.
        return tf.stack(list(losses.values()))

    if train.xla:
        step_replica = tf.function(step_replica, jit_compile=True, autograph=False)

    @tf.function(autograph=False)
    def train_step(batch: dict[str, tf.Tensor], number: tf.Tensor) -> dict[str, tf.Tensor]:
        # Drawn outside of XLA, which would draw other numbers from the same seed.
        transform = strategy.run(draw_transform, args=(train, number))
        summed = strategy.reduce("SUM", strategy.run(step_replica, args=(batch, transform)), axis=None)
        return dict(zip(names, tf.unstack(summed, num=len(names)), strict=True))

    return train_step


class LossAccumulator:
    """Averages the losses of steps, and stops the run at the first that is NaN or infinite.

    Losses stay on the device until `result`, so that a step does not wait for the previous one.

    Args:
      scaled: whether the losses are scaled for float16. The scale is adjusted by trial, and a step whose gradient
        overflows is skipped; an infinite gradient is no error then.
    """

    def __init__(self, scaled: bool) -> None:
        self._scaled = scaled
        self._steps: list[tuple[int, Mapping[str, tf.Tensor]]] = []

    def add(self, step: int, losses: Mapping[str, tf.Tensor]) -> None:
        """Adds the result of step `step`, counted from 1."""
        self._steps.append((step, losses))

    def result(self) -> dict[str, float]:
        """Returns the means since the last call, and starts over.

        Raises:
          errors.UserError: names the first step and term that is NaN or infinite.
        """
        steps, self._steps = self._steps, []
        values = {name: np.array([losses[name].numpy() for _, losses in steps]) for name in steps[0][1]}
        for position, (step, losses) in enumerate(steps):
            for name in losses:
                value, is_norm = float(values[name][position]), name.startswith(GRADIENT_NORM)
                if not math.isfinite(value) and not (self._scaled and is_norm):
                    what = f"the gradient of the {name.removeprefix(GRADIENT_NORM)}" if is_norm else f"loss {name}"
                    raise errors.UserError(
                        f"{what} is {value} at step {step}, and the weights are lost from there on; check the "
                        "frames or lower the learning rates, then continue from the last good checkpoint with `resume`."
                    )
        return {name: float(np.mean(array[np.isfinite(array)])) for name, array in values.items()}


def draw_transform(settings: config.TrainConfig, step: tf.Tensor) -> tps.Transform:
    """Draws the deformations of a step: a function of (seed, step), this replica's rows of the global batch.

    Args:
      settings: seed, batch size and the sizes of the deformations.
      step: scalar int64, counted from 0.

    Returns:
      As many deformations as this replica has pairs.
    """
    sizes = settings.transform
    seed = tf.random.experimental.stateless_fold_in(tf.constant([settings.seed, 0], tf.int64), step)
    whole = tps.sample(seed, settings.batch_size, sizes.sigma_affine, sizes.sigma_tps, sizes.points)
    replica = tf.distribute.get_replica_context()
    share = settings.batch_size // replica.num_replicas_in_sync
    start = tf.cast(replica.replica_id_in_sync_group, tf.int32) * share
    return tps.Transform(*(part[start : start + share] for part in whole))

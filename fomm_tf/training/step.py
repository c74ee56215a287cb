"""One training step: gradients, the mean over the global batch, the optimisers, in the reference's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from fomm_tf import checkpoint, config
from fomm_tf.ops import tps
from fomm_tf.training import objective as objectives

# The names under which the norms of the gradients stand among the losses.
NORM = "gradient_norm_"
LossScaleOptimizer = tf.keras.mixed_precision.LossScaleOptimizer


class TrainStep:
    """Steps a run's networks; the same code for one replica and for many.

    Called inside a replica. Losses are divided by the GLOBAL batch here and nowhere else, so the optimisers' sum over
    replicas is the gradient of the mean.

    Args:
      run: with optimisers, and with a discriminator if the objective is adversarial.
      objective: the losses.
      global_batch: pairs a step, over all replicas.
    """

    def __init__(self, run: checkpoint.Run, objective: objectives.Objective, global_batch: int) -> None:
        self._run, self._objective, self._global_batch = run, objective, global_batch

    def __call__(self, source: tf.Tensor, driving: tf.Tensor, transform: tps.Transform) -> dict[str, tf.Tensor]:
        """Steps once.

        Args:
          source: `[b, H, W, 3]` float in [0, 1], this replica's share.
          driving: likewise.
          transform: b deformations for the equivariance losses.

        Returns:
          name -> this replica's share of each weighted loss, and of the norm of each optimiser's gradient: their sum
          over replicas is that of the batch.
        """
        with tf.GradientTape() as tape:
            made = self._objective.forward(source, driving, transform)
            losses = self._mean(self._objective.generator_losses(driving, made, transform))
            total = self._scale("generator", losses)
        norms = self._apply(tape, total, ("generator", "detector"))
        if self._objective.adversarial:
            with tf.GradientTape() as tape:
                judged = self._mean(self._objective.discriminator_losses(driving, made))
                total = self._scale("discriminator", judged)
            norms |= self._apply(tape, total, ("discriminator",))
            losses |= judged
        return losses | norms

    def _mean(self, losses: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {name: tf.reduce_sum(loss) / self._global_batch for name, loss in losses.items()}

    def _scale(self, name: str, losses: Mapping[str, tf.Tensor]) -> tf.Tensor:
        total, optimizer = tf.add_n(list(losses.values())), self._run.optimizers[name]
        return optimizer.get_scaled_loss(total) if isinstance(optimizer, LossScaleOptimizer) else total

    def _apply(self, tape: tf.GradientTape, total: tf.Tensor, names: Sequence[str]) -> dict[str, tf.Tensor]:
        """Steps the optimisers `names`, whose gradients come of one backward pass scaled by the first one."""
        variables = {name: self._run.trainable(name) for name in names}
        gradients, norms = tape.gradient(total, variables), {}
        first = self._run.optimizers[names[0]]
        for name in names:
            optimizer, inner, found = self._run.optimizers[name], self._run.optimizers[name], gradients[name]
            if isinstance(first, LossScaleOptimizer):
                inner, found = optimizer.inner_optimizer, first.get_unscaled_gradients(found)
            summed = inner.aggregate_gradients(list(zip(found, variables[name], strict=True)))
            norm = tf.linalg.global_norm([gradient for gradient, _ in summed])
            norms[NORM + name] = norm / tf.distribute.get_strategy().num_replicas_in_sync
            optimizer.apply_gradients(summed, skip_gradients_aggregation=True)
        return norms


def draw_transform(settings: config.TrainConfig, step: tf.Tensor) -> tps.Transform:
    """The deformations of a step: a function of (seed, step), this replica's rows of those of the global batch.

    Args:
      settings: seed, batch size and the sizes of the deformations.
      step: scalar int64, counted from 0.

    Returns:
      As many deformations as this replica has pairs.
    """
    drawn = settings.transform
    seed = tf.random.experimental.stateless_fold_in(tf.constant([settings.seed, 0], tf.int64), step)
    whole = tps.sample(seed, settings.batch_size, drawn.sigma_affine, drawn.sigma_tps, drawn.points)
    replica = tf.distribute.get_replica_context()
    share = settings.batch_size // replica.num_replicas_in_sync
    begin = tf.cast(replica.replica_id_in_sync_group, tf.int32) * share
    return tps.Transform(*(part[begin : begin + share] for part in whole))

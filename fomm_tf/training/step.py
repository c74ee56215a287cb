"""One training step: gradients, the mean over the global batch, the optimisers, in the reference's order."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from fomm_tf import checkpoint
from fomm_tf.ops import tps
from fomm_tf.training import objective as objectives


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
          name -> this replica's share of each weighted loss: their sum over replicas is the loss of the batch.
        """
        names = ("generator", "detector")
        variables = {name: self._run.trainable(name) for name in names}
        with tf.GradientTape() as tape:
            made = self._objective.forward(source, driving, transform)
            losses = self._mean(self._objective.generator_losses(driving, made, transform))
            total = tf.add_n(list(losses.values()))
        gradients = tape.gradient(total, variables)
        for name in names:
            self._apply(name, gradients[name], variables[name])
        if self._objective.adversarial:
            weights = self._run.trainable("discriminator")
            with tf.GradientTape() as tape:
                judged = self._mean(self._objective.discriminator_losses(driving, made))
                total = tf.add_n(list(judged.values()))
            self._apply("discriminator", tape.gradient(total, weights), weights)
            losses |= judged
        return losses

    def _mean(self, losses: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {name: tf.reduce_sum(loss) / self._global_batch for name, loss in losses.items()}

    def _apply(self, name: str, gradients: list[tf.Tensor], variables: list[tf.Variable]) -> None:
        self._run.optimizers[name].apply_gradients(zip(gradients, variables, strict=True))

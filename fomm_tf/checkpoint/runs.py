"""A run in memory, and the parts that its checkpoints consist of."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import tensorflow as tf

from fomm_tf import config, models, optimizer

NETWORKS = ("detector", "dense_motion", "generator")
PARTS = (*NETWORKS, "discriminator")
# How long the weights were trained.
COUNTS = ("epoch", "step")


@dataclasses.dataclass
class Run:
    """The content of a run directory.

    Attributes:
      config: the whole resolved config.
      model: the model that animates.
      discriminator: None if the run has none.
      optimizers: `generator`, `detector` and, with a discriminator, `discriminator` -> its optimizer; empty if training
        cannot be resumed.
      epoch: how many epochs the weights were trained.
      step: how many steps; 0 if they were converted.
    """

    config: config.Config
    model: models.FirstOrderMotionModel
    discriminator: models.Discriminator | None = None
    optimizers: dict[str, optimizer.Adam] = dataclasses.field(default_factory=dict)
    epoch: int = 0
    step: int = 0

    def trainable(self, name: str) -> list[tf.Variable]:
        """The variables that the optimizer `name` updates, in the order of its moments."""
        if name == "generator":
            return self.model.dense_motion.trainable_variables + self.model.generator.trainable_variables
        return {"detector": self.model.detector, "discriminator": self.discriminator}[name].trainable_variables

    def parts(self) -> dict[str, tf.keras.Model]:
        """The networks by name, including the discriminator if there is one."""
        parts = {name: getattr(self.model, name) for name in NETWORKS}
        return parts if self.discriminator is None else parts | {"discriminator": self.discriminator}


def build(settings: config.Config, discriminator: bool = False, optimizers: bool = False) -> Run:
    """Builds a run with randomly initialized weights; on request with discriminator, and optimizers with moments."""
    run = Run(settings, models.FirstOrderMotionModel(settings.model))
    if discriminator:
        run.discriminator = models.Discriminator(settings.model)
    if optimizers:
        for name in ["generator", "detector"] + ["discriminator"] * discriminator:
            run.optimizers[name] = optimizer.Adam(getattr(settings.train, f"learning_rate_{name}"))
            run.optimizers[name].build(run.trainable(name))
    return run


def trackable(
    run: Run, parts: Collection[str] = PARTS, optimizers: Collection[str] | None = None
) -> tf.train.Checkpoint:
    """The object whose TensorFlow checkpoints a run directory holds.

    Args:
      run: what to save or restore.
      parts: which of its networks.
      optimizers: which of its optimizers; None is all.
    """
    objects: dict = {name: network for name, network in run.parts().items() if name in parts}
    chosen = {name: stepper for name, stepper in run.optimizers.items() if optimizers is None or name in optimizers}
    if chosen:
        objects["optimizers"] = tf.train.Checkpoint(**chosen)
    for name in COUNTS:
        objects[name] = tf.Variable(getattr(run, name), dtype=tf.int64, trainable=False)
    return tf.train.Checkpoint(**objects)

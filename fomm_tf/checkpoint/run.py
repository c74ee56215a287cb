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
    """What a run folder holds, in memory.

    Attributes:
      config: the whole resolved config.
      networks: the three networks that animate.
      discriminator: None if the run has none.
      optimizers: `generator`, `detector` and, with a discriminator, `discriminator` -> its optimiser; empty if the run
        cannot go on training where it stopped.
      epoch: how many epochs the weights were trained.
      step: how many steps; 0 if they were not trained here.
    """

    config: config.Config
    networks: models.Networks
    discriminator: models.Discriminator | None = None
    optimizers: dict[str, optimizer.Adam] = dataclasses.field(default_factory=dict)
    epoch: int = 0
    step: int = 0

    def trainable(self, name: str) -> list[tf.Variable]:
        """The variables that the optimiser `name` steps, in the order of its moments."""
        if name == "generator":
            return self.networks.dense_motion.trainable_variables + self.networks.generator.trainable_variables
        return {"detector": self.networks.detector, "discriminator": self.discriminator}[name].trainable_variables

    def parts(self) -> dict[str, tf.keras.Model]:
        """The networks by name, the discriminator among them if there is one."""
        parts = dict(zip(NETWORKS, self.networks, strict=True))
        return parts if self.discriminator is None else parts | {"discriminator": self.discriminator}


def build(settings: config.Config, discriminator: bool = False, optimizers: bool = False) -> Run:
    """A run with freshly drawn weights.

    Args:
      settings: the config.
      discriminator: build the discriminator too.
      optimizers: build the optimisers with their moments too.
    """
    run = Run(settings, models.build(settings.model))
    if discriminator:
        run.discriminator = models.build_discriminator(settings.model)
    if optimizers:
        rates = {
            "generator": settings.train.learning_rate_generator,
            "detector": settings.train.learning_rate_detector,
            "discriminator": settings.train.learning_rate_discriminator,
        }
        for name in ["generator", "detector"] + ["discriminator"] * discriminator:
            run.optimizers[name] = optimizer.Adam(rates[name])
            run.optimizers[name].build(run.trainable(name))
    return run


def trackable(
    run: Run, parts: Collection[str] = PARTS, optimizers: Collection[str] | None = None
) -> tf.train.Checkpoint:
    """The object whose checkpoints a run folder holds.

    Args:
      run: what to hold.
      parts: which of its networks.
      optimizers: which of its optimisers; None is all.
    """
    held: dict = {name: network for name, network in run.parts().items() if name in parts}
    chosen = {name: found for name, found in run.optimizers.items() if optimizers is None or name in optimizers}
    if chosen:
        held["optimizers"] = tf.train.Checkpoint(**chosen)
    for name in COUNTS:
        held[name] = tf.Variable(getattr(run, name), dtype=tf.int64, trainable=False)
    return tf.train.Checkpoint(**held)

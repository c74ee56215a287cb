"""A run in memory: its networks and optimizers, the parts that its checkpoints consist of."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import tensorflow as tf

from fomm_tf import config, models

NETWORKS = ("detector", "dense_motion", "generator")
PARTS = (*NETWORKS, "discriminator")
# How long the weights were trained.
COUNTS = ("epoch", "step")


class Adam(tf.keras.optimizers.Adam):
    """Adam as PyTorch computes it: epsilon is added after the bias correction; Keras adds it before.

    So training continues from a reference checkpoint's moments as in PyTorch. At a gradient of 1e-8 torch's first step
    is half the learning rate, Keras' a thirty-third of it.

    Args:
      learning_rate: a float.
      beta_1: decay of the first moment.
      beta_2: decay of the second moment.
      epsilon: added to the denominator after the bias correction.
    """

    def __init__(
        self,
        learning_rate: float = 2e-4,
        beta_1: float = 0.5,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        name: str = "adam",
        **kwargs,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, name=name, **kwargs)

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Updates one variable; the caller increments `iterations`."""
        first, second = self.moments(variable)
        kind = variable.dtype
        beta_1, beta_2 = tf.constant(self.beta_1, kind), tf.constant(self.beta_2, kind)
        step = tf.cast(self.iterations + 1, kind)
        power_1, power_2 = tf.pow(beta_1, step), tf.pow(beta_2, step)
        # One kernel instead of a dozen passes over the weights. It adds epsilon before it corrects the root of the
        # second moment by sqrt(1 - power_2); scaling torch's epsilon by that is equivalent. Its 1 - beta_2 is rounded
        # to float32: the second moment is 1.3e-5 smaller than torch's, but so is the correction, and the step agrees.
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=first.handle,
            v=second.handle,
            beta1_power=power_1,
            beta2_power=power_2,
            lr=tf.cast(self.learning_rate, kind),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=self.epsilon * tf.sqrt(1.0 - power_2),
            grad=gradient,
        )

    def moments(self, variable: tf.Variable) -> tuple[tf.Variable, tf.Variable]:
        """Returns the running means of the gradient of `variable` and of its square."""
        index = self._index_dict[self._var_key(variable)]
        return self._momentums[index], self._velocities[index]


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
    optimizers: dict[str, Adam] = dataclasses.field(default_factory=dict)
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
    add_training_parts(run, discriminator, optimizers)
    return run


def add_training_parts(run: Run, discriminator: bool, optimizers: bool = True) -> None:
    """Adds a randomly initialized discriminator, and optimizers with moments, on request."""
    if discriminator:
        run.discriminator = models.Discriminator(run.config.model)
    if optimizers:
        for name in ["generator", "detector"] + ["discriminator"] * discriminator:
            run.optimizers[name] = Adam(getattr(run.config.train, f"learning_rate_{name}"))
            run.optimizers[name].build(run.trainable(name))


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

"""Adam as torch computes it, so that a checkpoint's moments go on as they would have there."""

from __future__ import annotations

import tensorflow as tf


class Adam(tf.keras.optimizers.Adam):
    """Adam with epsilon added AFTER the bias correction; Keras adds it before.

    At a gradient of 1e-8 torch's first step is half the learning rate, Keras' a thirty-third of the learning rate.

    Args:
      learning_rate: a float.
      beta_1: decay of the first moment.
      beta_2: decay of the second moment.
      epsilon: as said above.
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
        """One step of one variable; the caller counts `iterations`."""
        first, second = self.moments(variable)
        step = tf.cast(self.iterations + 1, tf.float32)
        first.assign_add((gradient - first) * (1.0 - self.beta_1))
        second.assign_add((tf.square(gradient) - second) * (1.0 - self.beta_2))
        corrected = tf.sqrt(second / (1.0 - tf.pow(self.beta_2, step))) + self.epsilon
        rate = tf.cast(self.learning_rate, variable.dtype) / (1.0 - tf.pow(self.beta_1, step))
        variable.assign_sub(rate * first / corrected)

    def moments(self, variable: tf.Variable) -> tuple[tf.Variable, tf.Variable]:
        """The running means of `variable`'s gradient and of its square."""
        index = self._index_dict[self._var_key(variable)]
        return self._momentums[index], self._velocities[index]

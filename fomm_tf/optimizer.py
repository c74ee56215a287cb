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
        kind = variable.dtype
        beta_1, beta_2 = tf.constant(self.beta_1, kind), tf.constant(self.beta_2, kind)
        step = tf.cast(self.iterations + 1, kind)
        power_1, power_2 = tf.pow(beta_1, step), tf.pow(beta_2, step)
        # One kernel in place of a dozen passes over the weights. It adds its epsilon before the second moment's root is
        # corrected, by sqrt(1 - power_2): torch's epsilon times that comes to the same. Its 1 - beta_2 is of float32,
        # which makes the second moment 1.3e-5 smaller than torch's; the correction is so too, and the step is torch's.
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
        """The running means of `variable`'s gradient and of its square."""
        index = self._index_dict[self._var_key(variable)]
        return self._momentums[index], self._velocities[index]

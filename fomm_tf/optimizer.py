"""Adam as PyTorch computes it, so that training continues from a reference checkpoint's moments as in PyTorch."""

from __future__ import annotations

import tensorflow as tf


class Adam(tf.keras.optimizers.Adam):
    """Adam with epsilon added AFTER the bias correction; Keras adds it before.

    At a gradient of 1e-8 torch's first step is half the learning rate, Keras' a thirty-third of the learning rate.

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

"""Input validation inside the graph: invalid inputs are rejected by name before they reach a kernel.

A server passes tensors on without comparing them with the signature, and some TensorFlow kernels abort the process when
a rank is wrong. Hence `tf.ensure_shape`, whose error message contains the name of the input.
"""

from __future__ import annotations

import tensorflow as tf

Tensors = dict[str, tf.Tensor]


def check_batch(inputs: Tensors, specs: dict[str, tf.TensorSpec]) -> Tensors:
    """Checks ranks, sizes and batch sizes, and that no input is empty; returns the inputs.

    Raises:
      tf.errors.InvalidArgumentError: at run time, naming the input.
    """
    inputs = {name: tf.ensure_shape(tensor, specs[name].shape) for name, tensor in inputs.items()}
    first = next(iter(inputs))
    size = tf.shape(inputs[first])[0]
    assertions = []
    for name, tensor in inputs.items():
        assertions.append(require(tf.size(tensor) > 0, f"{name} is empty; give at least one."))
        same_batch = tf.shape(tensor)[0] == size
        assertions.append(require(same_batch, f"{name} and {first} must have the same batch (axis 0)."))
    # Without this order a convolution of an empty batch may fail first, with a message that names no input.
    with tf.control_dependencies(assertions):
        return {name: tf.identity(tensor) for name, tensor in inputs.items()}


def check_finite(inputs: Tensors) -> None:
    """Rejects NaN and infinity."""
    for name, tensor in inputs.items():
        if tensor.dtype.is_floating:
            require(tf.reduce_all(tf.math.is_finite(tensor)), f"{name} holds NaN or infinity.")


def check_frames(frames: tf.Tensor, name: str) -> None:
    """Rejects float frames with values outside [0, 1]."""
    inside = tf.logical_and(frames >= 0.0, frames <= 1.0)  # false for NaN
    require(tf.reduce_all(inside), f"{name} must lie in [0, 1] without NaN.")


def require(condition: tf.Tensor, message: str) -> tf.Operation:
    """An assertion for `tf.control_dependencies`; in a `tf.function` it also runs without them, in no fixed order."""
    return tf.debugging.Assert(condition, [message])

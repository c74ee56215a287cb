"""Checks inside the graph: what a server is sent is refused by name before a kernel sees it.

A server hands tensors over without comparing them with the signature: TensorFlow's own kernels abort the process at a
wrong rank. Hence `tf.ensure_shape`, whose message holds the input's name.
"""

from __future__ import annotations

import tensorflow as tf

Tensors = dict[str, tf.Tensor]


def check_batch(inputs: Tensors, specs: dict[str, tf.TensorSpec]) -> Tensors:
    """The inputs, once their ranks, sizes and batches are right and none is empty.

    Raises:
      tf.errors.InvalidArgumentError: when it runs, naming the input.
    """
    inputs = {name: tf.ensure_shape(tensor, specs[name].shape) for name, tensor in inputs.items()}
    first = next(iter(inputs))
    size = tf.shape(inputs[first])[0]
    for name, tensor in inputs.items():
        require(tf.size(tensor) > 0, f"{name} is empty; give at least one.")
        require(tf.shape(tensor)[0] == size, f"{name} and {first} must have the same batch (axis 0).")
    return inputs


def check_finite(inputs: Tensors) -> None:
    """Refuses NaN and infinity."""
    for name, tensor in inputs.items():
        if tensor.dtype.is_floating:
            require(tf.reduce_all(tf.math.is_finite(tensor)), f"{name} holds NaN or infinity.")


def check_frames(frames: tf.Tensor, name: str) -> None:
    """Refuses float frames that do not lie in [0, 1]."""
    inside = tf.logical_and(frames >= 0.0, frames <= 1.0)  # NaN is not
    require(tf.reduce_all(inside), f"{name} must lie in [0, 1] without NaN.")


def require(condition: tf.Tensor, message: str) -> tf.Operation:
    """An assertion for `tf.control_dependencies`; in a `tf.function` it runs without them too, at some time."""
    return tf.debugging.Assert(condition, [message])

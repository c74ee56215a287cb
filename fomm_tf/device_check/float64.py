"""Networks with float64 numbers, on the CPU: what the other precisions are compared with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import tensorflow as tf

from fomm_tf import models

DEVICE = "CPU:0"


@contextlib.contextmanager
def scope() -> Iterator[None]:
    """Networks built in the block have float64 variables, on the CPU."""
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("float64")
    try:
        with tf.device(DEVICE):
            yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def convert(model: models.AnimationModel) -> models.AnimationModel:
    """The same model with float64 variables."""
    with scope():
        exact = models.create(model.config)
        copy_weights(model.weights, exact.weights)
    return exact


def copy_weights(source: Sequence[tf.Variable], target: Sequence[tf.Variable]) -> None:
    """Assigns variables, cast to the dtypes of the target."""
    for old, new in zip(source, target, strict=True):
        new.assign(tf.cast(old, new.dtype))

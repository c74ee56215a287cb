"""How networks execute: their precision, and gradient checkpointing.

Gradient checkpointing trades the time of a second forward pass for memory: intermediate values are recomputed when the
gradient needs them, instead of being kept (Chen et al., "Training Deep Nets with Sublinear
Memory Cost", 2016).
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator

import tensorflow as tf

from fomm_tf import errors

_POLICIES = {"float32": "float32", "float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}
# One thread per replica: each is at its own point of the step.
_state = threading.local()


class Network(tf.keras.Model):
    """A part of `FirstOrderMotionModel`, whose config is that of the whole."""

    def get_config(self) -> dict:
        """The name, for Keras, which never builds a part of its own."""
        return {"name": self.name}


@contextlib.contextmanager
def mixed_precision_scope(precision: str) -> Iterator[None]:
    """Sets the precision in which networks built in the block compute: `float32`, `float16` or `bfloat16`.

    Variables, coordinates and predictions are float32 in each case.

    Raises:
      errors.UserError: if the precision is unknown.
    """
    if precision not in _POLICIES:
        raise errors.UserError(f"precision must be one of {', '.join(_POLICIES)}; got {precision!r}.")
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(_POLICIES[precision])
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def recompute_in_gradient(function: Callable, inputs: tf.Tensor) -> tf.Tensor | list[tf.Tensor]:
    """Computes `function(inputs)`, keeping only `inputs` for its gradient.

    Where `is_recomputing()` is true, `function` must not change variables.
    """
    calls = itertools.count()

    def run(inputs: tf.Tensor) -> tf.Tensor | list[tf.Tensor]:
        outer, _state.recomputing = is_recomputing(), next(calls) > 0
        try:
            return function(inputs)
        finally:
            _state.recomputing = outer

    return tf.recompute_grad(run)(inputs)


def enable_recompute(*networks: tf.Module) -> None:
    """Switches gradient checkpointing on in all parts of `networks` that have the attribute `recompute`."""
    for network in networks:
        for module in (network, *network.submodules):
            if hasattr(module, "recompute"):
                module.recompute = True


def keep_statistics(model: tf.Module) -> None:
    """Makes all layers of `model` normalize with their moving statistics in training too, and keep these."""
    for module in model.submodules:
        if hasattr(module, "keep_statistics"):
            module.keep_statistics = True


def is_recomputing() -> bool:
    """Whether a function is being computed a second time, for its gradient."""
    return getattr(_state, "recomputing", False)

"""Gradient checkpointing: less memory for the gradient, for the time of a second forward pass.

What a function computes on its way is not kept until the gradient needs it, but computed again then (Chen et al.,
"Training Deep Nets with Sublinear Memory Cost", 2016).
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

import tensorflow as tf

# A thread a replica: each of them is at its own place of the step.
_state = threading.local()


def recomputed(function: Callable, inputs: tf.Tensor) -> tf.Tensor | list[tf.Tensor]:
    """`function(inputs)`, with nothing kept for its gradient but `inputs`.

    What `function` does to variables beside reading them it must leave out where `is_recomputing` is true.
    """
    calls = itertools.count()

    def run(inputs: tf.Tensor) -> tf.Tensor | list[tf.Tensor]:
        outer, _state.recomputing = is_recomputing(), next(calls) > 0
        try:
            return function(inputs)
        finally:
            _state.recomputing = outer

    return tf.recompute_grad(run)(inputs)


def switch_on(*networks: tf.Module) -> None:
    """All parts of `networks` that know how, recompute from here on: those with an attribute `recompute`."""
    for network in networks:
        for module in (network, *network.submodules):
            if hasattr(module, "recompute"):
                module.recompute = True


def is_recomputing() -> bool:
    """Whether what is computed is computed for the second time."""
    return getattr(_state, "recomputing", False)

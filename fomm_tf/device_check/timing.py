"""How long a call takes, and how much of the GPU's memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

GPU = "GPU:0"


class Timing(NamedTuple):
    """The time of a call.

    Attributes:
      first: seconds of the first call, tracing and compilation included.
      quartiles: seconds of a later call: first quartile, median, third quartile.
      peak: bytes that tensors took on the GPU; None on a CPU.
    """

    first: float
    quartiles: tuple[float, float, float]
    peak: int | None

    def describe(self, count: int, unit: str) -> str:
        """In words, per unit; a call makes `count` of them."""
        low, median, high = (1000 * seconds / count for seconds in self.quartiles)
        text = f"{_short(median)} ms a {unit} ({_short(low)} to {_short(high)}); first call {self.first:.1f} s"
        return text if self.peak is None else f"{text}; at most {self.peak / 2**30:.2f} GiB"


def measure(call: Callable[[], object], rounds: int) -> tuple[object, Timing]:
    """Calls a function once, and then `rounds` times.

    Args:
      call: returns tensors, which are waited for.
      rounds: how many calls are timed.

    Returns:
      What the first call returned, as NumPy arrays, and the timing.
    """
    has_gpu = bool(tf.config.list_logical_devices("GPU"))
    if has_gpu:
        tf.config.experimental.reset_memory_stats(GPU)
    results, seconds = [], []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        result = tf.nest.map_structure(lambda tensor: tensor.numpy(), call())
        seconds.append(time.perf_counter() - begin)
        results = results or [result]
    peak = tf.config.experimental.get_memory_info(GPU)["peak"] if has_gpu else None
    return results[0], Timing(seconds[0], tuple(np.percentile(seconds[1:], [25, 50, 75])), peak)


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"

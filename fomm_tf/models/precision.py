"""What the networks compute in; their variables, coordinates and predictions are float32 whatever it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf

_POLICIES = {"float32": "float32", "float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}


@contextlib.contextmanager
def mixed_precision_scope(precision: str) -> Iterator[None]:
    """Networks that are built in the block compute in `float32`, `float16` or `bfloat16`."""
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(_POLICIES[precision])
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)

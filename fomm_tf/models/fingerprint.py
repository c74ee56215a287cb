"""A name for what a model has learnt."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import tensorflow as tf


def hash_weights(networks: Iterable[tf.keras.Model]) -> str:
    """SHA-256 of all weights, in the order of the networks and their layers."""
    digest = hashlib.sha256()
    for network in networks:
        for weight in network.get_weights():
            digest.update(weight.tobytes())
    return digest.hexdigest()

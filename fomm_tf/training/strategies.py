"""Where a run trains: one device, all GPUs of a machine, or several machines."""

from __future__ import annotations

import os

import tensorflow as tf

from fomm_tf import errors


def pick() -> tf.distribute.Strategy:
    """`MultiWorkerMirroredStrategy` where TF_CONFIG is set, else `MirroredStrategy` over all GPUs, or the CPU.

    Raises:
      errors.UserError: if TF_CONFIG is set and cannot be used.
    """
    if os.environ.get("TF_CONFIG"):
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except (KeyError, TypeError, ValueError, tf.errors.OpError) as error:
            reason = str(error).splitlines()[0]
            raise errors.UserError(
                f'TF_CONFIG cannot be used: {reason}; it reads {{"cluster": {{"worker": ["host:port", ...]}}, '
                '"task": {"type": "worker", "index": 0}}.'
            ) from error
    return tf.distribute.MirroredStrategy()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes."""
    resolver = strategy.cluster_resolver
    return resolver is None or not resolver.task_type or (resolver.task_type, resolver.task_id) == ("worker", 0)


def count_workers(strategy: tf.distribute.Strategy) -> int:
    """How many processes train together."""
    resolver = strategy.cluster_resolver
    return len(resolver.cluster_spec().as_dict().get("worker", [])) or 1 if resolver is not None else 1

"""Workers on several machines that train one run: who writes, what they agree on, what happens if one is lost.

Convention: every worker executes the same steps. Only the chief, worker 0, writes the run directory, which all read.
"""

from __future__ import annotations

import contextlib
import pathlib
import shlex
from collections.abc import Iterator

import tensorflow as tf

# In the message of every operation of several workers that waits for one that has ended.
_LOST_WORKER = "Collective ops is aborted"
# Other signs that a worker cannot be reached.
UNREACHABLE = (tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.AbortedError)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes."""
    resolver = strategy.cluster_resolver
    return resolver is None or not resolver.task_type or (resolver.task_type, resolver.task_id) == ("worker", 0)


def count_workers(strategy: tf.distribute.Strategy) -> int:
    """How many processes train together."""
    resolver = strategy.cluster_resolver
    return len(resolver.cluster_spec().as_dict().get("worker", [])) or 1 if resolver is not None else 1


def any_worker(strategy: tf.distribute.Strategy, value: bool) -> bool:
    """Whether `value` is true in one of the workers at least; waits for all of them, which must call it too."""
    if count_workers(strategy) == 1:
        return value
    votes = strategy.experimental_distribute_values_from_function(lambda _: tf.constant(float(value)))
    return bool(strategy.reduce("SUM", votes, axis=None) > 0)


def check_steps(strategy: tf.distribute.Strategy, step: int, folder: pathlib.Path) -> None:
    """Checks that all workers start at the same step: one may have read a checkpoint before the chief wrote another.

    Raises:
      KeyboardInterrupt: if they do not; its message says how to continue.
    """
    if count_workers(strategy) == 1:
        return
    steps = strategy.experimental_distribute_values_from_function(lambda _: tf.constant([step]))
    steps = sorted(set(strategy.gather(steps, axis=0).numpy().tolist()))
    if len(steps) > 1:
        raise KeyboardInterrupt(
            f"the workers have read checkpoints of different steps, {', '.join(map(str, steps))}; "
            f"{say_resume(folder)} in all of them"
        )


def say_resume(folder: pathlib.Path) -> str:
    """How to continue a run, for messages."""
    return f"continue with: {shlex.join(['fomm', 'train', '--run', str(folder), '--resume'])}"


@contextlib.contextmanager
def interrupt_without_workers(folder: pathlib.Path) -> Iterator[None]:
    """Ends the run as if interrupted when another worker is lost: none can continue alone.

    Raises:
      KeyboardInterrupt: if so; its message says how to continue.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if not (isinstance(error, UNREACHABLE) or _LOST_WORKER in error.message):
            raise
        message = f"another worker has ended; {say_resume(folder)} in all of them, from the last checkpoint"
        raise KeyboardInterrupt(message) from error

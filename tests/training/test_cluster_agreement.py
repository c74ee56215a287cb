"""What workers of one run agree on, and what is said when one is lost; the workers are faked."""

import pathlib
import types

import pytest
import tensorflow as tf

from fomm_tf.training import cluster

FOLDER = pathlib.Path("a run")
RESUME = "continue with: fomm train --run 'a run' --resume in all of them"


def fake_strategy(other):
    """Two workers, of which the other one has `other` to exchange; None is one process without a cluster."""
    spec = types.SimpleNamespace(as_dict=lambda: {"worker": ["one:1", "two:1"]})
    return types.SimpleNamespace(
        cluster_resolver=None if other is None else types.SimpleNamespace(cluster_spec=lambda: spec),
        experimental_distribute_values_from_function=lambda function: function(None),
        reduce=lambda operation, value, axis: value + other,
        gather=lambda value, axis: tf.concat([value, [other]], axis),
    )


@pytest.mark.parametrize("mine", [False, True])
@pytest.mark.parametrize("other", [None, 0.0, 1.0])
def test_any_worker_is_true_if_one_is(mine, other):
    assert cluster.any_worker(fake_strategy(other), mine) is (mine or other == 1.0)


def test_check_steps_accepts_the_same_step_only():
    cluster.check_steps(fake_strategy(None), 3, FOLDER)
    cluster.check_steps(fake_strategy(3), 3, FOLDER)
    with pytest.raises(KeyboardInterrupt) as caught:
        cluster.check_steps(fake_strategy(3), 12, FOLDER)
    assert str(caught.value) == f"the workers have read checkpoints of different steps, 3, 12; {RESUME}"


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (tf.errors.UnavailableError(None, None, "failed to connect"), True),
        (tf.errors.InternalError(None, None, "Collective ops is aborted by: a peer left"), True),
        (tf.errors.InternalError(None, None, "a bug"), False),
        (tf.errors.ResourceExhaustedError(None, None, "out of memory"), False),
    ],
)
def test_lost_worker_interrupts_and_other_errors_stay(error, is_lost):
    with pytest.raises(BaseException) as caught, cluster.interrupt_without_workers(FOLDER):
        raise error
    if is_lost:
        assert isinstance(caught.value, KeyboardInterrupt)
        assert str(caught.value) == f"another worker has ended; {RESUME}, from the last checkpoint"
    else:
        assert caught.value is error

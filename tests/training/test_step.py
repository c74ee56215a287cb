"""The deformations of a step; tests/parity compares its losses and gradients with the reference's."""

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import config
from fomm_tf.training import step

SETTINGS = config.TrainConfig(batch_size=4, seed=3)


def draw(strategy, number, settings=SETTINGS):
    """The deformations of all replicas, concatenated."""
    transform = strategy.run(lambda: step.draw_transform(settings, tf.constant(number, tf.int64)))
    parts = [strategy.experimental_local_results(part) for part in transform]
    return [np.concatenate([local.numpy() for local in part]) for part in parts]


def same(one, other):
    return all(np.array_equal(left, right) for left, right in zip(one, other, strict=True))


def test_draw_transform_is_a_function_of_seed_and_step(one_replica):
    first = draw(one_replica, 7)
    assert [part.shape for part in first] == [(4, 2, 3), (4, 25)]
    assert same(first, draw(one_replica, 7))
    assert not same(first, draw(one_replica, 8))
    assert not same(first, draw(one_replica, 7, config.TrainConfig(batch_size=4, seed=4)))


def test_draw_transform_of_two_replicas_equals_one(one_replica, two_replicas):
    assert same(draw(one_replica, 7), draw(two_replicas, 7))


def test_draw_transform_has_the_configured_sizes(one_replica):
    theta, weights = draw(one_replica, 0, config.TrainConfig(batch_size=4000))
    noise = theta - np.eye(2, 3)
    assert abs(noise.std() - 0.05) < 0.001 and abs(noise.mean()) < 0.002
    assert abs(weights.std() - 0.005) < 0.0001 and abs(weights.mean()) < 0.0001


def test_clip_norm_scales_gradients_down_to_it(one_replica):
    """With plain gradient descent and one variable, the step is the clipped gradient."""
    variable = tf.Variable([3.0, 4.0])

    class Run:
        optimizers = {"generator": tf.keras.optimizers.SGD(1.0)}  # noqa: RUF012

        def trainable(self, name):
            return [variable]

    for clip_norm, expected in ((None, [3.0, 4.0]), (10.0, [3.0, 4.0]), (1.0, [0.6, 0.8])):
        variable.assign([0.0, 0.0])
        train_step = step.TrainStep(Run(), None, 1, clip_norm)
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(variable * [3.0, 4.0])
        norms = train_step._apply(tape, total, ("generator",))
        np.testing.assert_allclose(-variable.numpy(), expected, rtol=1e-6)
        assert float(norms["gradient_norm_generator"]) == 5.0


def test_compile_step_compiles_with_xla_only_if_asked(one_replica, monkeypatch):
    """A function of Python is no part of a kernel that XLA compiles; what it can compile is the same without it."""

    def make(train, function):
        monkeypatch.setattr(step, "TrainStep", lambda *_: function)
        return step.compile_step(None, None, train, one_replica)

    def add(source, driving, transform):
        return {"sum": tf.reduce_sum(source * driving), "drawn": tf.reduce_sum(transform.theta)}

    def call_python(source, driving, transform):
        return {"sum": tf.numpy_function(np.sum, [source], tf.float32)}

    batch = {"source": tf.fill([4, 2, 2, 3], 0.5), "driving": tf.fill([4, 2, 2, 3], 0.25)}
    plain, xla = (config.TrainConfig(batch_size=4, seed=3, xla=xla) for xla in (False, True))
    expected, actual = (make(train, add)(batch, tf.constant(7, tf.int64)) for train in (plain, xla))
    assert float(expected["sum"]) == 6.0
    assert float(expected["drawn"]) == pytest.approx(draw(one_replica, 7)[0].sum(), rel=1e-6)
    assert {name: float(value) for name, value in actual.items()} == pytest.approx(
        {name: float(value) for name, value in expected.items()}, rel=1e-6
    )
    assert float(make(plain, call_python)(batch, tf.constant(7, tf.int64))["sum"]) == 24.0
    with pytest.raises(tf.errors.OpError):
        make(xla, call_python)(batch, tf.constant(7, tf.int64))

"""Adam: the trajectory of PyTorch, epsilon, graphs and replicas."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import checkpoint

OPS = np.load(pathlib.Path(__file__).parents[1] / "parity" / "data" / "ops.npz")
START, GRADIENTS, TRAJECTORY = OPS["adam_p0"], OPS["adam_grads"], OPS["adam_p"]


def assert_matches_torch(actual, expected):
    """One unit in the last place of the largest parameter is 2.4e-7."""
    np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "in a tf.function"])
def test_adam_trajectory_matches_torch(graph):
    stepper, parameters = checkpoint.Adam(), tf.Variable(START)
    stepper.build([parameters])

    def step(gradient):
        stepper.apply_gradients([(gradient, parameters)])

    step = tf.function(step) if graph else step
    for number, (gradient, expected) in enumerate(zip(GRADIENTS, TRAJECTORY, strict=True), start=1):
        step(tf.constant(gradient))
        assert_matches_torch(parameters.numpy(), expected)
        assert stepper.iterations == number


def test_adam_resumed_trajectory_matches_torch():
    first, parameters = checkpoint.Adam(), tf.Variable(START)
    for gradient in GRADIENTS[:3]:
        first.apply_gradients([(tf.constant(gradient), parameters)])
    second = checkpoint.Adam()
    second.build([parameters])
    for ours, theirs in zip(second.moments(parameters), first.moments(parameters), strict=True):
        ours.assign(theirs)
    second.iterations.assign(3)
    for gradient in GRADIENTS[3:]:
        second.apply_gradients([(tf.constant(gradient), parameters)])
    assert_matches_torch(parameters.numpy(), TRAJECTORY[-1])


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.25, 0.75)])
def test_adam_two_replicas_match_one(shares, two_replicas):
    with two_replicas.scope():
        stepper, parameters = checkpoint.Adam(), tf.Variable(START)
        stepper.build([parameters])

    @tf.function
    def step(gradient):
        def on_a_replica(share):
            stepper.apply_gradients([(share * gradient, parameters)])

        two_replicas.run(on_a_replica, [per_replica])

    per_replica = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.constant(shares[context.replica_id_in_sync_group])
    )
    assert two_replicas.num_replicas_in_sync == 2
    for gradient, expected in zip(GRADIENTS, TRAJECTORY, strict=True):
        step(tf.constant(gradient))
        for copy in two_replicas.experimental_local_results(parameters):
            assert_matches_torch(copy.numpy(), expected)
    assert stepper.iterations == len(GRADIENTS)


@pytest.mark.parametrize("sign", [1, -1])
def test_adam_adds_epsilon_after_bias_correction(sign):
    parameters, theirs = tf.Variable([0.0]), tf.Variable([0.0])
    gradient = tf.constant([sign * 1e-8])
    checkpoint.Adam(2e-4).apply_gradients([(gradient, parameters)])
    np.testing.assert_allclose(parameters.numpy(), -sign * 1e-4, rtol=1e-5)
    keras = tf.keras.optimizers.Adam(2e-4, 0.5, 0.999, 1e-8)
    keras.apply_gradients([(gradient, theirs)])
    np.testing.assert_allclose(theirs.numpy(), -sign * 6.1e-6, rtol=1e-2)


def test_adam_with_zero_gradient_changes_nothing():
    parameters = tf.Variable([3.0])
    stepper = checkpoint.Adam()
    for _ in range(3):
        stepper.apply_gradients([(tf.constant([0.0]), parameters)])
    assert parameters.numpy() == 3.0 and stepper.iterations == 3


def test_adam_with_zero_learning_rate_updates_only_moments():
    parameters = tf.Variable([3.0])
    stepper = checkpoint.Adam(0.0)
    stepper.apply_gradients([(tf.constant([2.0]), parameters)])
    assert parameters.numpy() == 3.0
    np.testing.assert_allclose(stepper.moments(parameters), [[1.0], [0.004]], rtol=2e-5)  # 1 - 0.999 in float32


def test_adam_learning_rate_can_change_between_graph_steps():
    parameters, stepper = tf.Variable([0.0]), checkpoint.Adam(2e-4)
    stepper.build([parameters])
    step = tf.function(lambda: stepper.apply_gradients([(tf.constant([1.0]), parameters)]))
    step()
    before = parameters.numpy()
    stepper.learning_rate = 2e-5
    step()
    np.testing.assert_allclose(before, -2e-4, rtol=1e-5)
    np.testing.assert_allclose(parameters.numpy() - before, -2e-5, rtol=1e-4)


def test_moments_returns_the_moments_of_the_variable():
    variables = [tf.Variable([[1.0, 2.0]]), tf.Variable(5.0), tf.Variable([[1.0, 2.0]])]
    stepper = checkpoint.Adam()
    stepper.build(variables)
    gradients = [tf.constant([[1.0, -2.0]]), tf.constant(3.0), tf.constant([[4.0, 8.0]])]
    stepper.apply_gradients(zip(gradients, variables, strict=True))
    for gradient, variable in zip(gradients, variables, strict=True):
        mean, square = stepper.moments(variable)
        np.testing.assert_allclose(mean, gradient * 0.5, rtol=1e-6)
        np.testing.assert_allclose(square, gradient**2 * 0.001, rtol=1e-4)
    with pytest.raises(KeyError):
        stepper.moments(tf.Variable(1.0))


def test_moments_are_initialized_with_zeros():
    variable = tf.Variable(tf.ones([2, 3]))
    stepper = checkpoint.Adam()
    stepper.build([variable])
    for moment in stepper.moments(variable):
        np.testing.assert_array_equal(moment, np.zeros([2, 3], "f4"))

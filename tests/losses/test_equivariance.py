"""The equivariance losses against loops (Eq. 11, 13), which deform and differentiate point by point."""

import math

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import structures
from fomm_tf.losses.terms import equivariance_jacobian_loss, equivariance_value_loss
from fomm_tf.ops import tps

BATCH, COUNT = 3, 4


def transform(seed=0):
    random = np.random.RandomState(seed)
    theta = np.eye(2, 3) + random.normal(0.0, 0.2, (BATCH, 2, 3))
    return tps.Transform(tf.constant(theta), tf.constant(random.normal(0.0, 0.05, (BATCH, 9))))


def points(seed):
    random = np.random.RandomState(seed)
    value = random.uniform(-0.8, 0.8, (BATCH, COUNT, 2))
    jacobian = np.eye(2) + random.normal(0.0, 0.3, (BATCH, COUNT, 2, 2))
    return structures.Keypoints(tf.constant(value), tf.constant(jacobian))


def deform(deformation, example, x, y):
    """T(z) of one point: an affine map, plus the same offset along both axes from a 3 x 3 grid of control points."""
    theta, weights = deformation.theta.numpy()[example], deformation.control_weights.numpy()[example]
    offset = 0.0
    for row in range(3):
        for column in range(3):
            distance = abs(x - (column - 1)) + abs(y - (row - 1))
            offset += weights[3 * row + column] * distance**2 * math.log(distance + 1e-6)
    return np.array([theta[i, 0] * x + theta[i, 1] * y + theta[i, 2] + offset for i in range(2)])


def derivatives(deformation, example, x, y, step=1e-6):
    """dT/dz of one point, by central differences; a column an input coordinate."""
    along_x = deform(deformation, example, x + step, y) - deform(deformation, example, x - step, y)
    along_y = deform(deformation, example, x, y + step) - deform(deformation, example, x, y - step)
    return np.stack([along_x, along_y], axis=1) / (2 * step)


def test_equivariance_value_loss_matches_loops():
    driving, transformed, deformation = points(1), points(2), transform()
    losses = equivariance_value_loss(driving, transformed, deformation)
    expected = []
    for example in range(BATCH):
        differences = []
        for k in range(COUNT):
            place = deform(deformation, example, *transformed.value.numpy()[example, k])
            differences += [abs(driving.value.numpy()[example, k, axis] - place[axis]) for axis in range(2)]
        expected.append(sum(differences) / len(differences))
    assert losses.shape == [BATCH]
    np.testing.assert_allclose(losses, expected, rtol=1e-12)


def test_equivariance_jacobian_loss_matches_loops():
    driving, transformed, deformation = points(1), points(2), transform()
    losses = equivariance_jacobian_loss(driving, transformed, deformation)
    expected = []
    for example in range(BATCH):
        differences = []
        for k in range(COUNT):
            (a, b), (c, d) = driving.jacobian.numpy()[example, k]
            inverse = np.array([[d, -b], [-c, a]]) / (a * d - b * c)
            slope = derivatives(deformation, example, *transformed.value.numpy()[example, k])
            product = inverse @ slope @ transformed.jacobian.numpy()[example, k]
            differences += [abs((i == j) - product[i, j]) for i in range(2) for j in range(2)]
        expected.append(sum(differences) / len(differences))
    assert losses.shape == [BATCH]
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


def test_equivariance_losses_are_zero_for_equivariant_keypoints():
    transformed, deformation = points(2), transform()
    driving = structures.Keypoints(
        tps.warp_points(deformation, transformed.value),
        tps.jacobian(deformation, transformed.value) @ transformed.jacobian,
    )
    np.testing.assert_allclose(equivariance_value_loss(driving, transformed, deformation), np.zeros(BATCH), atol=1e-12)
    np.testing.assert_allclose(
        equivariance_jacobian_loss(driving, transformed, deformation), np.zeros(BATCH), atol=1e-12
    )


@pytest.mark.parametrize("loss", [equivariance_value_loss, equivariance_jacobian_loss], ids=["value", "jacobian"])
def test_equivariance_gradients_match_numeric_gradients(loss):
    deformation, parts = transform(), [*points(1), *points(2)]

    def function(*parts):
        return loss(structures.Keypoints(*parts[:2]), structures.Keypoints(*parts[2:]), deformation)

    analytic, numeric = tf.test.compute_gradient(function, parts, delta=1e-6)
    assert sum(np.abs(slope).max() > 1e-3 for slope in numeric) == (2 if loss is equivariance_value_loss else 3)
    for ours, slope in zip(analytic, numeric, strict=True):
        np.testing.assert_allclose(ours, slope, atol=1e-6)


@pytest.mark.parametrize("without", ["driving", "transformed"])
def test_equivariance_jacobian_loss_rejects_missing_jacobians(without):
    both = {"driving": points(1), "transformed": points(2)}
    both[without] = both[without]._replace(jacobian=None)
    with pytest.raises(ValueError, match="needs keypoints with Jacobians"):
        equivariance_jacobian_loss(both["driving"], both["transformed"], transform())

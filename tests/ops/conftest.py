"""Numeric gradients."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture(scope="session")
def check_gradient() -> Callable:
    """Compares the gradient of a function with central differences, in float64."""

    def check(function: Callable, *inputs: np.ndarray, tolerance: float = 1e-6) -> None:
        tensors = [tf.constant(array, tf.float64) for array in inputs]
        traced = tf.function(function, autograph=False)  # differences call it for every entry
        analytic, numeric = tf.test.compute_gradient(traced, tensors, delta=1e-5)
        for ours, differences in zip(analytic, numeric, strict=True):
            assert ours.dtype == np.float64
            assert np.abs(differences).max() > 1e-3, "a function that does not move proves nothing"
            np.testing.assert_allclose(ours, differences, atol=tolerance, rtol=tolerance)

    return check

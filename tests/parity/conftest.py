"""Memory of the parity tests: models and gradients in float64 are shared within the package, and released with it."""

import pytest
import training_vectors


@pytest.fixture(scope="package", autouse=True)
def _release_training_vectors():
    yield
    training_vectors.first_step.cache_clear()
    training_vectors.random_vgg.cache_clear()

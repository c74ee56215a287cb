"""Gradients in float32 against those in float64, within bounds derived from the conditioning of the problem.

The gradients of the training losses are badly conditioned: an activation near a kink (ReLU, leaky ReLU, L1, a maximum
of VGG-19) takes the other slope after a change of its last digits, and norms over a few pixels amplify what is left. So
no constant bounds a correct float32 program on every CPU. The bound of each gradient is measured instead: frames and
weights are perturbed by what float32 rounds, in float64, and the gradient of the perturbed problem says how far a
correct program may be off. `ROUNDING` is the error of a float32 sum of as many products as the largest kernel has
(VGG-19's 9 x 512): sqrt(n) units of rounding, since a convolution makes that error in every activation. Which
activations cross their kink is chance, so the bound is three times the largest of a few draws.

Measured (largest error over bound / 3, over all gradients): 0.3 with oneDNN's AVX-512 kernels, 0.3 with AVX2, 0.2 with
SSE4.1, 0.9 with plain Eigen kernels (TF_ENABLE_ONEDNN_OPTS=0). A wrong sign or a swapped axis is off by the whole norm,
so a bound must be below half of it (the largest: 0.26, the first norm's bias with `align_corners=False`).
"""

import numpy as np
import pytest
import tensorflow as tf
import training_vectors

pytestmark = pytest.mark.slow
ROUNDING = 2.0**-24 * np.sqrt(9 * 512)
DRAWS = 3
# Biases before a norm: their true gradient is 0, and in float32 it is the rounding error of a sum that cancels.
ZERO, ZERO_GRADIENT_TOLERANCE = 1e-9, 5e-5


@pytest.mark.parametrize(
    "align_corners",
    [pytest.param(True, id="ac-true"), pytest.param(False, id="ac-false", marks=pytest.mark.conformance)],
)
def test_float32_gradients_are_within_measured_conditioning(align_corners):
    exact = training_vectors.first_step(align_corners, tf.float64).gradients
    rounded = training_vectors.first_step(align_corners, tf.float32).gradients
    perturbed = [
        training_vectors.take_first_step(align_corners, tf.float64, ROUNDING, seed).gradients for seed in range(DRAWS)
    ]
    assert exact.keys() == rounded.keys() and len(exact) > 100
    for name, gradient in exact.items():
        norm, error = np.linalg.norm(gradient), np.linalg.norm(rounded[name] - gradient)
        sensitivity = max(np.linalg.norm(draw[name] - gradient) for draw in perturbed)
        bound = 3 * sensitivity if norm > ZERO else ZERO_GRADIENT_TOLERANCE
        assert error <= bound, f"{name}: off by {error:.2e} of {norm:.2e}, bound {bound:.2e}"
        assert norm <= ZERO or bound < 0.5 * norm, f"{name}: the bound {bound:.2e} of {norm:.2e} says nothing"

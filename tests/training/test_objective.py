"""Gradient checkpointing of the objective; tests/parity compares its losses with the reference's."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import checkpoint
from fomm_tf.losses import backbones
from fomm_tf.models import blocks
from fomm_tf.ops import tps
from fomm_tf.training.objective import Objective


def compute_step(settings):
    """Losses, gradients and running statistics of one batch, and how often each block was computed."""
    tf.keras.utils.set_random_seed(0)
    run = checkpoint.build(settings)
    losses = Objective(settings, run.model, None, backbones.load("random"))
    variables = [variable for network in run.model.layers for variable in network.trainable_variables]
    rng = np.random.default_rng(0)
    source, driving = rng.random([2, 2, *settings.model.frame_size, 3], np.float32)
    computed = []
    for block in [
        block for network in run.model.layers for block in network.submodules if isinstance(block, blocks.Block)
    ]:
        compute = block.compute
        block.compute = lambda *rest, compute=compute, block=block, **named: (
            computed.append(block.name) or compute(*rest, **named)
        )

    @tf.function(autograph=False)
    def differentiate(source, driving):
        transform = tps.sample(tf.constant([0, 0]), 2)
        with tf.GradientTape() as tape:
            forward = losses.forward(source, driving, transform)
            terms = losses.generator_losses(driving, forward, transform)
            total = tf.add_n([tf.reduce_sum(term) for term in terms.values()])
        return terms, tape.gradient(total, variables)

    terms, gradients = tf.nest.map_structure(lambda value: value.numpy(), differentiate(source, driving))
    states = [weight.numpy() for network in run.model.layers for weight in network.non_trainable_variables]
    return terms, gradients, states, computed


@pytest.mark.slow
def test_recompute_keeps_losses_gradients_and_moving_statistics(make_config):
    settings = make_config("train.batch_size=2", "model.frame_size=[64,64]", "train.pyramid_scales=[1.0,0.5]")
    plain = compute_step(settings)
    saving = compute_step(dataclasses.replace(settings, train=dataclasses.replace(settings.train, recompute=True)))
    for name, value in plain[0].items():
        np.testing.assert_allclose(saving[0][name], value, rtol=1e-6, err_msg=name)
    largest = max(np.abs(gradient).max() for gradient in plain[1])
    for mine, other in zip(saving[1], plain[1], strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-5 * max(np.abs(other).max(), 1e-3 * largest))
    for mine, other in zip(saving[2], plain[2], strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-7)
    assert len(saving[3]) == 2 * len(plain[3])

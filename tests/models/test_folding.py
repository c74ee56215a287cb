"""Folding the normalisations changes no output beyond rounding, and says no to training."""

import model_list
import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import checkpoint, config, models
from fomm_tf.inference import animator
from fomm_tf.models import blocks, folding

pytestmark = pytest.mark.slow


def draw(settings):
    """Networks whose statistics, scales and offsets are far from trivial."""
    tf.keras.utils.set_random_seed(1)
    networks, random = models.build(settings), np.random.default_rng(2)
    for module in (module for network in networks for module in network.submodules):
        if isinstance(module, blocks.BatchNorm):
            for variable, low, high in (
                (module.gamma, -1.5, 1.5),
                (module.beta, -0.5, 0.5),
                (module.moving_mean, -0.3, 0.3),
                (module.moving_variance, 0.3, 3.0),
            ):
                variable.assign(random.uniform(low, high, variable.shape))
    networks.generator.final.kernel.assign(networks.generator.final.kernel * 20.0)  # else the frame is nearly grey
    return networks


def outputs_of(settings, networks, frames):
    model = animator.Animator(config.Config(model=settings), networks)
    found = model.detect(frames)
    rendering = model.render(model.encode_source(frames[0]), found, details=True)
    return {name: part for name, part in (found._asdict() | rendering._asdict()).items() if part is not None}


def assert_same(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert np.std(array) > 1e-3, name
        # On noise, a place that is off by one unit in the last place reads a colour that is off by 1e-5.
        np.testing.assert_allclose(
            found[name], array, atol=5 * tolerance if name == "deformed" else tolerance, err_msg=name
        )


@model_list.parametrize()
def test_folded_networks_give_what_they_gave(name):
    settings = model_list.MODELS[name]
    frames = np.random.default_rng(4).random([2, *settings.frame_size, 3], np.float32)
    networks = draw(settings)
    before = outputs_of(settings, networks, frames)
    folding.fold_batch_norms(model)
    norms = [m for network in networks for m in network.submodules if isinstance(m, blocks.BatchNorm)]
    assert len(norms) == settings.generator.num_residual_blocks  # the first of each residual block
    assert_same(outputs_of(settings, networks, frames), before, 1e-5)
    folding.fold_batch_norms(model)
    assert_same(outputs_of(settings, networks, frames), before, 1e-5)


@pytest.mark.conformance
def test_folded_networks_give_what_they_gave_at_the_size_of_vox():
    settings = config.load(config.recipes()["vox-256"]).model
    frames = np.random.default_rng(4).random([1, *settings.frame_size, 3], np.float32)
    networks = draw(settings)
    before = outputs_of(settings, networks, frames)
    folding.fold_batch_norms(model)
    assert_same(outputs_of(settings, networks, frames), before, 1e-4)


def test_what_is_folded_does_not_train():
    networks = draw(next(iter(model_list.MODELS.values())))
    folding.fold_batch_norms(model)
    size = next(iter(model_list.MODELS.values())).frame_size
    with pytest.raises(ValueError, match="A folded network does not train; load its run again"):
        networks.detector(tf.zeros([1, *size, 3]), training=True)


def test_the_animator_of_a_run_folder_is_folded(tmp_path):
    settings = next(iter(model_list.MODELS.values()))
    run = checkpoint.Run(config.Config(model=settings), draw(settings))
    frames = np.random.default_rng(4).random([2, *settings.frame_size, 3], np.float32)
    plain = animator.Animator(run.model, run.config).detect(frames).value
    checkpoint.save(tmp_path / "run", run, "test")
    model = animator.Animator.load(tmp_path / "run")
    assert any(isinstance(module, folding.Folded) for module in model.model.detector.submodules)
    np.testing.assert_allclose(model.detect(frames).value, plain, atol=1e-5)

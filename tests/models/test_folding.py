"""Rewrites of trained networks: equal outputs up to rounding, no training."""

import dataclasses

import model_list
import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import checkpoint, config, models
from fomm_tf.inference import animator
from fomm_tf.models import blocks, folding
from fomm_tf.ops import conv

pytestmark = pytest.mark.slow


def draw(settings):
    """A model whose statistics, scales and offsets are far from trivial."""
    tf.keras.utils.set_random_seed(1)
    model, random = models.FirstOrderMotionModel(settings), np.random.default_rng(2)
    for module in model.submodules:
        if isinstance(module, blocks.BatchNorm):
            for variable, low, high in (
                (module.gamma, -1.5, 1.5),
                (module.beta, -0.5, 0.5),
                (module.moving_mean, -0.3, 0.3),
                (module.moving_variance, 0.3, 3.0),
            ):
                variable.assign(random.uniform(low, high, variable.shape))
    model.generator.final.kernel.assign(model.generator.final.kernel * 20.0)  # else the frame is nearly gray
    return model


def compute_outputs(model, frames):
    compiled = animator.Animator(model)
    keypoints = compiled.detect(frames)
    rendering = compiled.render(compiled.encode_source(frames[0]), keypoints, details=True)
    return {name: part for name, part in (keypoints._asdict() | rendering._asdict()).items() if part is not None}


def assert_same(outputs, expected, tolerance, warped=("deformed",)):
    assert outputs.keys() == expected.keys()
    for name, array in expected.items():
        assert np.std(array) > 1e-3, name
        # On noise, a position that differs in its last bit samples a color that differs by 1e-5.
        np.testing.assert_allclose(
            outputs[name], array, atol=5 * tolerance if name in warped else tolerance, err_msg=name
        )


@model_list.parametrize()
def test_fold_batch_norms_preserves_outputs(name):
    settings = model_list.MODELS[name]
    frames = np.random.default_rng(4).random([2, *settings.frame_size, 3], np.float32)
    model = draw(settings)
    before = compute_outputs(model, frames)
    folding.fold_batch_norms(model)
    norms = [module for module in model.submodules if isinstance(module, blocks.BatchNorm)]
    assert len(norms) == settings.generator.num_residual_blocks  # the first of each residual block
    warped = ("deformed", "prediction") if settings.generator.blend_source else ("deformed",)
    assert_same(compute_outputs(model, frames), before, 1e-5, warped)
    folding.fold_batch_norms(model)
    assert_same(compute_outputs(model, frames), before, 1e-5, warped)


@pytest.mark.conformance
def test_fold_batch_norms_preserves_outputs_at_256():
    settings = config.load(config.recipes()["vox-256"]).model
    frames = np.random.default_rng(4).random([1, *settings.frame_size, 3], np.float32)
    model = draw(settings)
    before = compute_outputs(model, frames)
    folding.fold_batch_norms(model)
    assert_same(compute_outputs(model, frames), before, 1e-4)


def test_winograd_preserves_outputs_of_wide_residual_blocks(monkeypatch):
    # Features of 16x16 pixels, which 1,024 would exclude.
    monkeypatch.setattr(blocks.ResidualConvolution, "MIN_PIXELS", 256)
    calls, winograd = [], conv.winograd_conv2d
    monkeypatch.setattr(conv, "winograd_conv2d", lambda *args: calls.append(1) or winograd(*args))
    tiny = next(iter(model_list.MODELS.values()))
    wide = dataclasses.replace(tiny.generator, block_expansion=32, max_features=128)
    settings = dataclasses.replace(tiny, generator=wide)
    frames = np.random.default_rng(4).random([2, *settings.frame_size, 3], np.float32)
    model = draw(settings)
    before = compute_outputs(model, frames)
    folding.use_winograd(model)
    assert not calls
    assert_same(compute_outputs(model, frames), before, 1e-5)
    assert len(calls) == 2 * settings.generator.num_residual_blocks


def test_winograd_leaves_narrow_residual_blocks_alone():
    model = draw(next(iter(model_list.MODELS.values())))
    folding.use_winograd(model)
    layers = [module for module in model.submodules if isinstance(module, blocks.ResidualConvolution)]
    assert layers and all(layer.winograd_kernel is None for layer in layers)


def test_folded_network_rejects_training():
    model = draw(next(iter(model_list.MODELS.values())))
    folding.fold_batch_norms(model)
    size = next(iter(model_list.MODELS.values())).frame_size
    with pytest.raises(ValueError, match="training is True on a folded network; load the run again"):
        model.detector(tf.zeros([1, *size, 3]), training=True)


def test_animator_load_folds_the_model(tmp_path):
    settings = next(iter(model_list.MODELS.values()))
    run = checkpoint.Run(config.Config(model=settings), draw(settings))
    frames = np.random.default_rng(4).random([2, *settings.frame_size, 3], np.float32)
    plain = animator.Animator(run.model, run.config).detect(frames).value
    checkpoint.save(tmp_path / "run", run, "test")
    model = animator.Animator.load(tmp_path / "run")
    assert any(isinstance(module, folding.FoldedNorm) for module in model.model.detector.submodules)
    np.testing.assert_allclose(model.detect(frames).value, plain, atol=1e-5)

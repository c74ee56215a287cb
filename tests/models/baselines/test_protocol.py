"""What training, animation, evaluation and export rely on, of each kind of model."""

import functools

import model_list
import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import checkpoint, config, errors, models
from fomm_tf.models import folding
from fomm_tf.training.objective import Objective

KINDS = {"fomm": models.FirstOrderMotionModel, "monkey-net": models.MonkeyNet, "x2face": models.X2Face}
# Each network of a baseline once for `make test`.
EVERY_BASELINE = model_list.parametrize(tuple(model_list.BASELINES), ("monkey-net", "x2face"))


@functools.cache
def build(name):
    tf.keras.utils.set_random_seed(3)
    model = models.create(model_list.BASELINES[name])
    model_list.shake(model.weights)
    return model


def frames_of(name, count, seed=5):
    """Smooth images: in noise, a rounding error of a position is a large one of a color."""
    return tf.image.resize(
        tf.random.stateless_uniform([count, 5, 5, 3], [seed, 1]), model_list.BASELINES[name].frame_size
    )


def test_create_builds_the_class_of_the_kind():
    assert config.KINDS.keys() == KINDS.keys()
    for kind, expected in KINDS.items():
        settings = next(
            each for each in (*model_list.MODELS.values(), *model_list.BASELINES.values()) if each.kind == kind
        )
        assert models.model_class(settings) is expected and kind == expected.KIND
    assert config.ModelConfig().kind == "fomm"


def test_model_rejects_the_config_of_another_kind():
    with pytest.raises(errors.UserError, match=r"model\.kind must be fomm for FirstOrderMotionModel; got x2face"):
        models.FirstOrderMotionModel(model_list.BASELINES["x2face"])


@EVERY_BASELINE
def test_batch_equals_separate_frames(name):
    model, frames = build(name), frames_of(name, 3)
    source = model.encode_source(frames[0])
    together = model.render(source, model.detect(frames)).prediction
    assert together.shape == frames.shape
    assert float(tf.reduce_min(together)) >= 0 and float(tf.reduce_max(together)) <= 1
    for i in range(3):
        alone = model.render(source, model.detect(frames[i : i + 1])).prediction
        np.testing.assert_allclose(alone[0], together[i], atol=5e-5)


@EVERY_BASELINE
def test_forward_pass_of_training_equals_detect_encode_and_render(name):
    model, source, driving = build(name), frames_of(name, 2), frames_of(name, 2, seed=6)
    found = model({"source": source, "driving": driving})
    rendering = model.render(model.encode_source(source), model.detect(driving), details=True)
    np.testing.assert_allclose(found.prediction, rendering.prediction, atol=1e-5)
    np.testing.assert_allclose(found.motion.deformation, rendering.deformation, atol=1e-5)


@EVERY_BASELINE
def test_gradients_reach_every_trainable_variable(name):
    tf.keras.utils.set_random_seed(3)
    model = models.create(model_list.BASELINES[name])
    model_list.shake(model.weights)
    source, driving = frames_of(name, 2), frames_of(name, 2, seed=6)
    with tf.GradientTape() as tape:
        prediction = model({"source": source, "driving": driving}, training=True).prediction
        loss = tf.reduce_mean(tf.abs(prediction - driving))
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None and np.isfinite(gradient).all(), variable.name
        assert np.any(gradient), variable.name
    run = checkpoint.Run(config.Config(model=model.config), model)
    trained = [variable.ref() for name in model.TRAINED_BY for variable in run.trainable(name)]
    assert len(trained) == len(set(trained)) and set(trained) == {each.ref() for each in model.trainable_variables}


@EVERY_BASELINE
def test_folded_norms_and_packaged_weights_change_nothing(name, tmp_path):
    model, frames = build(name), frames_of(name, 2)
    run = checkpoint.Run(config.Config(model=model.config), model, step=7)
    checkpoint.save(tmp_path / "run", run, "test")
    loaded = checkpoint.load(tmp_path / "run")
    assert loaded.step == 7 and loaded.model.weights_sha256() == model.weights_sha256()
    copied = type(model).from_config(model.get_config())
    copied.set_weights(model.get_weights())
    folding.fold_batch_norms(loaded.model)
    inputs = {"source": frames, "driving": frames[::-1]}
    expected = model(inputs).prediction
    np.testing.assert_array_equal(copied(inputs).prediction, expected)
    np.testing.assert_allclose(loaded.model(inputs).prediction, expected, atol=2e-4)
    checkpoint.pack(tmp_path / "packed", run, "test")
    packed = checkpoint.load(tmp_path / "packed").model
    for mine, other in zip(packed.weights, model.weights, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("monkey-net", "model.occlusion=true", "model.occlusion must be False for model.kind monkey-net; got True"),
        ("monkey-net", "model.generator.warp_skips=false", "model.generator.warp_skips must be True for model.kind"),
        ("x2face", "model.jacobian=true", "model.jacobian must be False for model.kind x2face; got True"),
        ("x2face", "model.kind=x3face", "model.kind must be fomm | monkey-net | x2face; got 'x3face'"),
    ],
)
def test_config_rejects_what_a_kind_does_not_have(name, change, message):
    settings = config.Config(model=model_list.BASELINES[name])
    with pytest.raises(errors.UserError) as caught:
        config.override(settings, [change])
    assert message in str(caught.value)


def test_objective_rejects_equivariance_of_what_a_model_does_not_find():
    settings = config.Config(model=model_list.BASELINES["x2face"])
    with pytest.raises(errors.UserError, match=r"equivariance_value must be 0 for model\.kind x2face; got 10"):
        Objective(settings, build("x2face"), None, None)
    settings = config.override(
        config.Config(model=model_list.BASELINES["monkey-net"]), ["train.loss_weights.equivariance_value=0.0"]
    )
    with pytest.raises(errors.UserError, match=r"equivariance_jacobian must be 0 for model\.kind monkey-net; got 10"):
        Objective(settings, build("monkey-net"), None, None)


def test_objective_rejects_weights_without_a_comparison_of_frames():
    weights = ("equivariance_value", "equivariance_jacobian", "pixel")
    changes = [f"train.loss_weights.{name}=0.0" for name in weights]
    settings = config.override(config.Config(model=model_list.BASELINES["x2face"]), changes)
    with pytest.raises(errors.UserError, match="perceptual, pixel and generator_gan are all 0; set one of them"):
        Objective(settings, build("x2face"), None, None)


def test_options_that_compare_keypoints_are_refused_without_keypoints():
    model_list.BASELINES["monkey-net"].check_has_keypoints("adapt_scale", True)
    model_list.BASELINES["x2face"].check_has_keypoints("adapt_scale", False)
    with pytest.raises(errors.UserError, match="`adapt_scale`: got True; a model of kind x2face has no keypoints"):
        model_list.BASELINES["x2face"].check_has_keypoints("adapt_scale", True)

"""The composed model: presets, weights, configuration and the forward pass."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

import fomm_tf
from fomm_tf import checkpoint, config, errors, fetch, models
from fomm_tf.models import execution

SMALL = config.load(pathlib.Path(__file__).parents[1] / "training" / "small.yaml")
DATA = pathlib.Path(__file__).parents[1] / "parity" / "data"


@pytest.fixture(scope="module")
def model():
    tf.keras.utils.set_random_seed(5)
    return models.FirstOrderMotionModel(SMALL.model)


def draw_images(count, size=SMALL.model.frame_size):
    return np.random.default_rng(3).integers(0, 256, [count, *size, 3], np.uint8)


def assert_same_weights(one, other):
    for weight, expected in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_call_equals_detect_encode_render(model):
    images = draw_images(4)
    outputs = model({"source": images[:2], "driving": images[2:]})
    rendering = model.render(model.encode_source(images[:2]), model.detect(images[2:]))
    np.testing.assert_allclose(outputs.prediction, rendering.prediction, atol=1e-6)
    np.testing.assert_allclose(outputs.source_keypoints.value, model.detect(images[:2]).value, atol=1e-6)


def test_one_source_serves_all_driving_frames(model):
    images = draw_images(4)
    keypoints = model.detect(images[1:])
    one, repeated = (model.encode_source(each) for each in (images[0], np.repeat(images[:1], 3, axis=0)))
    np.testing.assert_allclose(
        model.render(one, keypoints).prediction, model.render(repeated, keypoints).prediction, atol=1e-6
    )


def test_images_may_be_uint8_or_float(model):
    images = draw_images(2)
    as_floats = model.detect(images / np.float32(255))
    np.testing.assert_allclose(model.detect(images).value, as_floats.value, atol=1e-6)


def test_detect_rejects_wrong_rank_and_size(model):
    with pytest.raises(ValueError, match="frames"):
        model.detect(draw_images(1)[0])
    with pytest.raises(ValueError, match="multiple of"):
        model.detect(draw_images(1, (33, 32)))


def test_render_rejects_keypoints_of_another_model(model):
    source = model.encode_source(draw_images(1))
    with pytest.raises(errors.UserError, match=r"must be \[N, 3, 2\] for this model; got shape \[1, 7, 2\]"):
        model.render(source, fomm_tf.Keypoints(tf.zeros([1, 7, 2]), None))
    with pytest.raises(errors.UserError, match="needs keypoints with Jacobians"):
        model.render(source, fomm_tf.Keypoints(tf.zeros([1, 3, 2]), None))


def test_layers_are_the_networks_in_the_order_of_checkpoints(model):
    assert [layer.name for layer in model.layers] == ["detector", "dense_motion", "generator"] == list(model.NETWORKS)


def test_get_config_round_trip(model):
    again = models.FirstOrderMotionModel.from_config(model.get_config())
    assert again.config == model.config and again.name == model.name


def test_save_weights_round_trip(model, tmp_path):
    model.save_weights(tmp_path / "weights")
    other = models.FirstOrderMotionModel(SMALL.model)
    assert other.weights_sha256() != model.weights_sha256()
    other.load_weights(tmp_path / "weights").assert_existing_objects_matched()
    assert_same_weights(other, model)
    assert other.weights_sha256() == model.weights_sha256()


def test_load_weights_reads_a_run_directory(tmp_path):
    run = checkpoint.build(SMALL, discriminator=True, optimizers=True)
    run.step = 5
    checkpoint.save(tmp_path / "run", run, "a test")
    other = models.FirstOrderMotionModel(SMALL.model)
    other.load_weights(checkpoint.newest(tmp_path / "run")).expect_partial().assert_existing_objects_matched()
    assert_same_weights(other, run.model)


def test_from_preset_loads_a_run_directory(tmp_path):
    run = checkpoint.build(SMALL)
    checkpoint.save(tmp_path / "run", run, "a test")
    assert_same_weights(fomm_tf.FirstOrderMotionModel.from_preset(tmp_path / "run"), run.model)


def test_from_preset_loads_a_bundled_model():
    assert "people-256" in fetch.bundled()
    model = fomm_tf.FirstOrderMotionModel.from_preset("people-256")
    assert_same_weights(model, checkpoint.load(checkpoint.BUNDLED).model)


def test_from_preset_loads_a_reference_checkpoint():
    model = fomm_tf.FirstOrderMotionModel.from_preset(
        DATA / "tiny-checkpoint.pth.tar", reference_config=str(DATA / "tiny.yaml"), precision="float16"
    )
    assert model.config.num_keypoints == 5
    assert model.generator.compute_dtype == "float16" and model.generator.final.kernel.dtype == "float32"


def test_from_preset_rejects_unknown_name():
    with pytest.raises(errors.UserError, match=r"'absent' is not the name of a model; .*puppets-128.*run directory"):
        fomm_tf.FirstOrderMotionModel.from_preset("absent")


def test_detect_traces_images_of_any_size(model):
    signature = [tf.TensorSpec([None, None, None, 3], tf.uint8)]
    detect = tf.function(model.detect, input_signature=signature, autograph=False)
    for size in ((32, 32), (64, 32)):
        images = draw_images(1, size)
        np.testing.assert_allclose(detect(images).value, model.detect(images).value, atol=1e-5)


def test_mixed_precision_scope_rejects_unknown_precision():
    before = tf.keras.mixed_precision.global_policy()
    message = r"^precision must be one of float32, .*; got 'float8'\.$"
    with pytest.raises(errors.UserError, match=message), execution.mixed_precision_scope("float8"):
        pass
    assert tf.keras.mixed_precision.global_policy() is before


def test_discriminator_of_keypoints_rejects_images_alone():
    discriminator = models.Discriminator(SMALL.model)
    with pytest.raises(ValueError, match=r"keypoint_values is None; this discriminator \(use_keypoints\) expects"):
        discriminator({1.0: tf.zeros([1, 32, 32, 3])})

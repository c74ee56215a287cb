"""Cross-cutting properties of all models of `model_list`."""

import functools
import math

import model_list
import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import checkpoint, config, models, structures, torch_import, weights
from fomm_tf.inference import animator
from fomm_tf.ops import resample

# Each model is built and traced, which takes seconds; `make quick` has parity/test_networks.py.
pytestmark = pytest.mark.slow
EVERY_MODEL = model_list.parametrize()


@functools.cache
def build(name):
    tf.keras.utils.set_random_seed(3)
    model = models.FirstOrderMotionModel(model_list.MODELS[name])
    for network in model.layers:
        model_list.shake(network.weights)
    return animator.Animator(model)


def frames_of(name, count, seed=5):
    return tf.random.stateless_uniform([count, *model_list.MODELS[name].frame_size, 3], [seed, 1])


def animate(model, frames, details=False):
    return model.render(model.encode_source(frames[:1]), model.detect(frames), details=details)


@EVERY_MODEL
def test_outputs_have_documented_shapes_and_ranges(name):
    settings, model = model_list.MODELS[name], build(name)
    frames = frames_of(name, 3)
    detected = model.detect(frames)
    count = settings.num_keypoints
    assert detected.value.shape == (3, count, 2) and np.abs(detected.value).max() <= 1
    assert (None if detected.jacobian is None else detected.jacobian.shape) == (
        (3, count, 2, 2) if settings.jacobian else None
    )
    rendering = animate(model, frames, details=True)
    height, width = settings.frame_size
    reduced = [math.ceil(size * settings.motion_scale) for size in (height, width)]
    assert rendering.prediction.shape == rendering.deformed.shape == (3, height, width, 3)
    assert rendering.deformation.shape == (3, *reduced, 2)
    assert rendering.mask.shape == (3, *reduced, count + 1)
    assert rendering.sparse_deformed.shape == (3, count + 1, *reduced, 3)
    np.testing.assert_allclose(tf.reduce_sum(rendering.mask, -1), 1, atol=1e-5)
    if settings.occlusion:
        assert rendering.occlusion.shape == (3, *reduced, 1)
        assert float(tf.reduce_min(rendering.occlusion)) >= 0 and float(tf.reduce_max(rendering.occlusion)) <= 1
    else:
        assert rendering.occlusion is None
    assert float(tf.reduce_min(rendering.prediction)) >= 0 and float(tf.reduce_max(rendering.prediction)) <= 1
    assert animate(model, frames).mask is None


@EVERY_MODEL
def test_batch_equals_separate_frames(name):
    model, frames = build(name), frames_of(name, 3)
    source, together = model.encode_source(frames[0]), animate(model, frames)
    for i in range(3):
        alone = model.render(source, model.detect(frames[i : i + 1]))
        np.testing.assert_allclose(alone.prediction[0], together.prediction[i], atol=2e-5)


@EVERY_MODEL
def test_one_source_equals_a_batch_of_copies(name):
    networks, frames = build(name).model, frames_of(name, 2)
    copies = tf.repeat(frames[:1], 2, axis=0)
    detected = networks.detector(frames)
    motion = networks.dense_motion(networks.dense_motion.downsample(copies), networks.detector(copies), detected)
    expected = networks.generator(copies, motion)
    np.testing.assert_allclose(animate(build(name), frames).prediction, expected, atol=2e-5)


def assert_graph_agrees_with_eager(name, **options):
    model, frames = build(name), frames_of(name, 2)

    def run(images):
        detector, dense_motion, generator = model.model.layers
        detected = detector(images)
        motion = dense_motion(dense_motion.downsample(images), detected, detected)
        return detected.value, motion.deformation, generator(images, motion)

    for eager, graph in zip(run(frames), tf.function(run, **options)(frames), strict=True):
        np.testing.assert_allclose(eager, graph, atol=5e-5)


@EVERY_MODEL
def test_graph_with_unknown_sizes_agrees_with_eager(name):
    assert_graph_agrees_with_eager(name, input_signature=[tf.TensorSpec([None, None, None, 3])])


@model_list.parametrize(kept=["tiny"])
def test_xla_agrees_with_eager(name):
    assert_graph_agrees_with_eager(name, jit_compile=True)


@EVERY_MODEL
def test_run_directory_round_trip(name, tmp_path):
    model = build(name)
    run = checkpoint.Run(model.config, model.model, models.Discriminator(model.config.model))
    checkpoint.save(tmp_path / "run", run, "test")
    loaded = checkpoint.load(tmp_path / "run", training=True)
    assert loaded.config == run.config
    pairs = zip(run.parts().values(), loaded.parts().values(), strict=True)
    for mine, theirs in pairs:
        for variable, other in zip(mine.weights, theirs.weights, strict=True):
            np.testing.assert_array_equal(variable.numpy(), other.numpy())


@model_list.parametrize(
    [name for name, model in model_list.MODELS.items() if not model.generator.blend_source],
    kept=["tiny", "zeroth-order-no-occlusion", "single-jacobian-map-two-scales"],
)
def test_reference_format_round_trip(name, tmp_path):
    model = build(name)
    run = checkpoint.Run(model.config, model.model, models.Discriminator(model.config.model))
    model_list.shake(run.discriminator.weights)
    weights.save(tmp_path / "model.pth.tar", torch_import.export_checkpoint(run))
    recipe = tmp_path / "config.yaml"
    recipe.write_text(config.dump(run.config))
    corners = run.config.model.align_corners
    back = torch_import.import_checkpoint(weights.load(tmp_path / "model.pth.tar"), str(recipe), corners, "test")
    assert back.config == run.config
    pairs = zip(run.parts().values(), back.parts().values(), strict=True)
    for mine, theirs in pairs:
        for variable, other in zip(mine.weights, theirs.weights, strict=True):
            np.testing.assert_array_equal(variable.numpy(), other.numpy())


@model_list.parametrize([name for name, model in model_list.MODELS.items() if model.jacobian])
@pytest.mark.parametrize("value", [0.0, 1e-20], ids=["singular", "near-singular"])
def test_render_is_finite_for_singular_driving_jacobian(name, value):
    model, frames = build(name), frames_of(name, 2)
    detected = model.detect(frames)
    singular = structures.Keypoints(detected.value, tf.ones_like(detected.jacobian) * value)
    rendering = model.render(model.encode_source(frames[0]), singular, details=True)
    for array in (rendering.prediction, rendering.deformed, rendering.deformation, rendering.sparse_deformed):
        assert np.isfinite(array).all()


@EVERY_MODEL
def test_gradients_reach_every_trainable_variable(name):
    tf.keras.utils.set_random_seed(3)
    model = models.FirstOrderMotionModel(model_list.MODELS[name])
    detector, dense_motion, generator = model.layers
    for network in model.layers:
        model_list.shake(network.weights)
    source, driving = frames_of(name, 2), frames_of(name, 2, seed=6)
    with tf.GradientTape() as tape:
        motion = dense_motion(
            dense_motion.downsample(source),
            detector(source, training=True),
            detector(driving, training=True),
            training=True,
        )
        loss = tf.reduce_mean(tf.abs(generator(source, motion, training=True) - driving))
    variables = [variable for network in model.layers for variable in network.trainable_variables]
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        assert gradient is not None, variable.name
        assert np.isfinite(gradient).all(), variable.name


@EVERY_MODEL
def test_discriminator_scores_each_scale(name):
    settings = model_list.MODELS[name]
    discriminator = models.Discriminator(settings)
    pyramid = resample.pyramid(frames_of(name, 2), settings.discriminator.scales)
    outputs = discriminator(pyramid, tf.zeros([2, settings.num_keypoints, 2]), training=True)
    assert list(outputs) == list(settings.discriminator.scales)
    for output in outputs.values():
        assert len(output.features) == settings.discriminator.num_blocks
        assert output.prediction.shape[-1] == 1 and output.prediction.shape[0] == 2


@pytest.mark.parametrize(
    "policy", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.bfloat16_kernels)]
)
@pytest.mark.parametrize("name", ["tiny", "zeroth-order", "single-jacobian-map"])
def test_motion_is_float32_under_mixed_precision(name, policy):
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        mixed = models.FirstOrderMotionModel(model_list.MODELS[name])
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    exact = build(name).model
    for mine, theirs in zip(mixed.layers, exact.layers, strict=True):
        for variable, other in zip(mine.weights, theirs.weights, strict=True):
            variable.assign(other)
    frames = frames_of(name, 2)
    detected = mixed.detector(frames)
    motion = mixed.dense_motion(mixed.dense_motion.downsample(frames), detected, detected)
    features = mixed.generator.encode(frames)
    prediction = mixed.generator(frames, motion)
    assert features.dtype == tf.as_dtype(policy.removeprefix("mixed_"))
    for tensor in (detected.value, detected.jacobian, motion.deformation, motion.mask, prediction):
        assert tensor is None or tensor.dtype == tf.float32
    tolerance = 0.01 if policy == "mixed_float16" else 0.08
    np.testing.assert_allclose(detected.value, exact.detector(frames).value, atol=tolerance)
    exact_motion = exact.dense_motion(exact.dense_motion.downsample(frames), *[exact.detector(frames)] * 2)
    np.testing.assert_allclose(prediction, exact.generator(frames, exact_motion), atol=tolerance)


def test_detect_rejects_indivisible_sizes():
    with pytest.raises(ValueError, match=r"\[60, 64\] times model.motion_scale 0.25 is \[15, 16\].*multiple of 8"):
        build("tiny").model.detect(np.zeros([1, 60, 64, 3], np.float32))


def test_model_animates_frames_of_another_size():
    model = build("tiny").model
    frames = tf.random.stateless_uniform([2, 96, 128, 3], [1, 2])
    assert animate(model, frames).prediction.shape == (2, 96, 128, 3)

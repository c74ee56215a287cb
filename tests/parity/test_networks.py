"""The networks, with the reference's checkpoints, against its outputs, with both values of `align_corners`.

Tolerances: what the issue asks for, and five times what float32 allows (`noise.json`: the reference in float32 against
itself in float64) where that is known.
"""

import functools
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import fomm_tf
from fomm_tf import models, torch_import, weights
from fomm_tf.inference import animator
from fomm_tf.ops import resample
from fomm_tf.torch_import import tensor_names

DATA = pathlib.Path(__file__).parent / "data"
NOISE = {
    "tiny": json.loads((DATA / "noise.json").read_text())["float32_minus_float64_max_abs"],
    **json.loads((DATA / "variants-noise.json").read_text()),
}
TOLERANCES = {"kp": 1e-5, "mask": 5e-5, "occlusion_map": 5e-5, "prediction": 2e-4}
MODELS = ("tiny", "zero-order", "single-jacobian", "wide")
CORNERS = pytest.mark.parametrize("align_corners", [True, False])


@functools.cache
def vectors(model):
    if model == "tiny":
        return dict(np.load(DATA / "inference.npz"))
    with np.load(DATA / "variants.npz") as data:
        return {key.split("/")[1]: data[key] for key in data.files if key.startswith(f"{model}/")}


@functools.cache
def load(model, align_corners, file=None):
    tree = weights.load(DATA / f"{file or model}-checkpoint.pth.tar")
    run = torch_import.import_checkpoint(tree, str(DATA / f"{model}.yaml"), align_corners, model)
    return animator.Animator(run.model, run.config)


def tolerance(model, what, align_corners):
    name = what if what.startswith("kp") else f"{what}_ac_{str(align_corners).lower()}"
    required = TOLERANCES["kp" if what.startswith("kp") else what]
    return min(required, 5 * NOISE[model].get(name, np.inf))


def nhwc(array):
    return np.moveaxis(array, 1, -1)


def expected_transfer(data, suffix):
    jacobian = data.get(f"{suffix}_jacobian")
    return fomm_tf.Keypoints(tf.constant(data[f"{suffix}_value"]), None if jacobian is None else tf.constant(jacobian))


@pytest.mark.parametrize("file", ["tiny", "tiny-legacy-cuda"])
def test_detector_of_both_checkpoint_formats_matches_reference(file):
    detected = load("tiny", True, file).detect(vectors("tiny")["driving"])
    np.testing.assert_allclose(detected.value, vectors("tiny")["kp_driving_value"], atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("frame", ["source", "driving"])
def test_keypoints_and_jacobians_match_reference(model, frame):
    data = vectors(model)
    frames = data[frame] if frame == "driving" else data[frame][np.newaxis]
    detected = load(model, True).detect(frames)
    np.testing.assert_allclose(detected.value, data[f"kp_{frame}_value"], atol=tolerance(model, "kp_value", True))
    if detected.jacobian is None:
        assert f"kp_{frame}_jacobian" not in data
        return
    atol = tolerance(model, "kp_jacobian", True)
    np.testing.assert_allclose(detected.jacobian, data[f"kp_{frame}_jacobian"], atol=atol)


@pytest.mark.parametrize("motion", ["absolute", "relative"])
@pytest.mark.parametrize("model", MODELS)
@CORNERS
def test_renderings_match_reference(model, motion, align_corners):
    data, corners = vectors(model), f"ac_{str(align_corners).lower()}"
    model_under_test = load(model, align_corners)
    prefix = "kp_driving" if motion == "absolute" else "kp_relative"
    rendering = model_under_test.render(
        model_under_test.encode_source(data["source"]), expected_transfer(data, prefix), details=True
    )
    checked = 0
    for name, array, atol in (
        ("prediction", rendering.prediction, tolerance(model, "prediction", align_corners)),
        ("deformed", rendering.deformed, 5e-5),
        ("mask", rendering.mask, tolerance(model, "mask", align_corners)),
        ("occlusion_map", rendering.occlusion, tolerance(model, "occlusion_map", align_corners)),
        ("sparse_deformed", rendering.sparse_deformed, 5e-5),
        ("deformation", rendering.deformation, 5e-5),
    ):
        key = f"{motion}_{name}_{corners}"
        if key not in data:
            continue
        expected = data[key]
        if name == "sparse_deformed":
            expected = np.moveaxis(expected, 2, -1)
        elif name != "deformation":
            expected = nhwc(expected)
        np.testing.assert_allclose(array, expected, atol=atol, err_msg=name)
        checked += 1
    assert checked >= 3
    assert (rendering.occlusion is None) == (model == "zero-order")


def ways_of_transfer():
    for model in ("tiny", "zero-order", "single-jacobian"):
        for key in vectors(model):
            if key.startswith("norm_") and key.endswith("_value"):
                yield model, key.removesuffix("_value")


@pytest.mark.parametrize(("model", "suffix"), ways_of_transfer())
def test_transfer_modes_match_reference(model, suffix):
    data = vectors(model)
    adapt, relative, jacobian = (f"{switch}1" in suffix for switch in ("adapt", "rel", "jac"))
    driving = expected_transfer(data, "kp_driving")
    initial = fomm_tf.Keypoints(*(None if part is None else part[:1] for part in driving))
    moved = fomm_tf.transfer(
        expected_transfer(data, "kp_source"),
        driving,
        initial,
        mode="relative" if relative else "absolute",
        relative_jacobian=jacobian,
        adapt_scale=adapt,
    )
    np.testing.assert_allclose(moved.value, data[f"{suffix}_value"], atol=2e-6)
    if moved.jacobian is not None:
        np.testing.assert_allclose(moved.jacobian, data[f"{suffix}_jacobian"], atol=1e-5, rtol=1e-5)


@CORNERS
def test_network_activations_match_reference(align_corners, monkeypatch):
    data, corners = vectors("tiny"), f"ac_{str(align_corners).lower()}"
    networks = load("tiny", align_corners).model
    source = tf.constant(data["source"][np.newaxis])
    features = networks.detector.hourglass(networks.detector.antialias(source))
    np.testing.assert_allclose(features, nhwc(data["tapsrc_kp_features"]), atol=5e-5)
    np.testing.assert_allclose(networks.detector.keypoint_head(features), nhwc(data["tapsrc_kp_logits"]), atol=5e-5)

    seen = {}
    hourglass = networks.dense_motion.hourglass

    def listen(inputs, training, call=hourglass.call):
        seen["hourglass_in"], seen["hourglass_out"] = inputs, call(inputs, training=training)
        return seen["hourglass_out"]

    monkeypatch.setattr(hourglass, "call", listen)
    motion = networks.dense_motion(
        networks.dense_motion.downsample(source),
        expected_transfer(data, "kp_source"),
        expected_transfer({key: value[1:2] for key, value in data.items() if "kp_driving" in key}, "kp_driving"),
    )
    encoded = networks.generator.encode(source)
    seen["bottleneck_in"] = hidden = networks.generator.warp_features(encoded, motion)
    for block in networks.generator.bottleneck:
        hidden = block(hidden)
    seen["encoded"], seen["bottleneck_out"] = encoded, hidden
    for i, block in enumerate(networks.generator.up_blocks):
        seen[f"up{i}"] = hidden = block(hidden)
    stored = {key: key.removeprefix("tap1_").removesuffix(f"_{corners}") for key in data if key.startswith("tap1_")}
    stored = {key: name for key, name in stored.items() if key.endswith(corners)}
    assert len(stored) >= 3
    for key, name in stored.items():
        np.testing.assert_allclose(seen[name], nhwc(data[key]), atol=5e-5, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(("file", "name"), [("tiny", "disc_sn_kp"), ("tiny-disc2", "disc_multiscale")])
def test_discriminator_outputs_match_reference(file, name):
    data = np.load(DATA / "discriminator.npz")
    tree = weights.load(DATA / f"{file}-checkpoint.pth.tar")
    settings = torch_import.choose_config(tree, str(DATA / f"{file}.yaml"), file).model
    discriminator = models.Discriminator(settings)
    torch_import.restore_state(tensor_names.discriminator_entries(discriminator), tree["discriminator"], file)
    pyramid = resample.pyramid(tf.constant(data["disc_input"]), settings.discriminator.scales)
    outputs = discriminator(pyramid, tf.constant(data["disc_kp"]))
    for scale, output in outputs.items():
        for i, features in enumerate(output.features):
            np.testing.assert_allclose(features, nhwc(data[f"{name}_feature_maps_{scale:g}_{i}"]), atol=5e-5)
        np.testing.assert_allclose(output.prediction, nhwc(data[f"{name}_prediction_map_{scale:g}"]), atol=5e-5)


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.25])
def test_prediction_pyramid_matches_reference(scale):
    data = np.load(DATA / "discriminator.npz")
    pyramid = resample.pyramid(tf.constant(nhwc(data["pyr_prediction_1"])), (1.0, 0.5, 0.25))
    np.testing.assert_allclose(pyramid[scale], nhwc(data[f"pyr_prediction_{scale:g}"]), atol=5e-6)

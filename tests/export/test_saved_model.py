"""SavedModels against the Keras networks, as servers use them: batches, invalid inputs, repeated requests."""

import io
import json
import re
import subprocess

import drawn_heads
import model_list
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import fomm_tf
from fomm_tf import checkpoint, cli, errors, structures, video
from fomm_tf.export import examples, module, saved_model
from fomm_tf.inference import animator

pytestmark = pytest.mark.slow
FORMS = ("", "_uint8", "_jpeg")
SIGNATURES = [f"{name}{form}" for name in ("detect", "encode_source", "animate") for form in FORMS]
SIGNATURES += ["transfer", "render", "render_details", "metadata", "serving_default"]
CONFORMANCE = pytest.mark.conformance
MODELS = [
    pytest.param(["tiny", "zeroth-order-no-occlusion-blend-skips"], id="tiny"),
    pytest.param(
        [
            "zeroth-order-no-occlusion",
            "blend-source",
            "warp-skips",
            "align-corners-false",
            "tall",
            "one-keypoint",
            "third-scale",
        ],
        id="others",
        marks=CONFORMANCE,
    ),
    pytest.param(list(model_list.REFERENCE), id="reference", marks=CONFORMANCE),
    pytest.param(["512"], id="512", marks=CONFORMANCE),
    pytest.param(["vox-256"], id="vox-256", marks=CONFORMANCE),
]


def decoded(value):
    """A signature's output as numbers: JPEG bytes as images."""
    if value.dtype != tf.string:
        return np.float32(value)
    if value.numpy().flat[0].startswith(b"{"):
        return np.float32([len(text) for text in value.numpy().flat])
    return np.float32([np.asarray(Image.open(io.BytesIO(each))) for each in value.numpy().flat])


@pytest.fixture(scope="module")
def server(saved):
    """Calls a signature as a server does, without comparing the inputs with the signature first."""
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(saved))
    session._extend_graph()

    def output(info):
        return session.graph.get_tensor_by_name(info.name)._as_tf_output()

    def call(name, inputs):
        signature = loaded.signature_def[name]
        fed = {output(signature.inputs[key]): value for key, value in inputs.items()}
        values = session._call_tf_sessionrun(None, fed, [output(info) for info in signature.outputs.values()], [], None)
        return dict(zip(signature.outputs, values, strict=True))

    yield call
    session.close()


@pytest.mark.parametrize("names", MODELS)
def test_saved_model_equals_keras_model(names, run_folder, files_of):
    for name in names:
        _, printed = files_of(name, "saved_model")
        differences = re.findall(r"(\S+): differs by at most (\S+) from the Keras", printed)
        worst = {output: float(value) for output, value in differences}
        assert {"detect.value", "transfer.value", "render.mask", "render.deformation", "animate.prediction"} <= set(
            worst
        )
        assert ("detect.jacobian" in worst) == checkpoint.read_config(run_folder(name)).model.jacobian, name
        for output, value in worst.items():
            assert value <= (2e-4 if output.endswith(("prediction", "deformed")) else 1e-5), (name, output)
        assert float(re.search(r"animation: (\S+) dB", printed)[1]) > 70, name


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature_is_independent_of_batching(name, served, random_request):
    signature = served.signatures[name]
    inputs = random_request(signature, 3)
    together = signature(**inputs)
    for part in (slice(0, 1), slice(1, 3)):
        alone = signature(**{key: value[part] for key, value in inputs.items()})
        for key, value in alone.items():
            atol = {tf.uint8: 1, tf.string: 8}.get(value.dtype, 2e-5)
            np.testing.assert_allclose(decoded(value), decoded(together[key][part]), atol=atol, err_msg=key)


def test_saved_model_answers_its_warm_up_requests(saved, served):
    from tensorflow_serving.apis import prediction_log_pb2

    signatures, answered = served.signatures, []
    for record in tf.data.TFRecordDataset(str(saved / "assets.extra" / "tf_serving_warmup_requests")):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        name = request.model_spec.signature_name
        inputs = {key: tf.constant(tf.make_ndarray(proto)) for key, proto in request.inputs.items()}
        assert all(np.isfinite(decoded(value)).all() for value in signatures[name](**inputs).values())
        answered.append(name)
    assert sorted(answered) == sorted(SIGNATURES) == sorted(signatures)


def test_metadata_describes_model_and_weights(run_folder, saved, served):
    signature = served.signatures["metadata"]
    metadata = json.loads(signature(request=tf.constant(["", ""]))["metadata"].numpy()[1])
    assert metadata == json.loads((saved / "assets.extra" / "metadata.json").read_text())
    assert (metadata["name"], metadata["frame_size"], metadata["num_keypoints"]) == ("run", [64, 64], 5)
    assert metadata["config"]["model"]["generator"]["block_expansion"] == 8
    run = checkpoint.load(run_folder("tiny"))
    assert run.model.weights_sha256() == metadata["weights_sha256"]
    bias = run.model.generator.final.bias
    bias.assign(bias + 1e-6)
    assert run.model.weights_sha256() != metadata["weights_sha256"]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert metadata["commit"].removesuffix("-dirty") == commit


@pytest.fixture(scope="module")
def files(run_folder, tmp_path_factory):
    """An image and a clip of other sizes than the model's, and the frames that `fomm animate` writes."""
    place = tmp_path_factory.mktemp("files")
    video.write_image(place / "source.png", drawn_heads.draw_image(100))
    with video.write_video(place / "driving.mp4", 25) as writer:
        for frame in drawn_heads.draw_clip(96, 6):
            writer.write(frame[:80])
    line = ["animate", "--run", run_folder("tiny"), "--source", place / "source.png"]
    line += ["--driving", place / "driving.mp4", "--out", place / "frames", "--on-cut", "continue", "--quiet"]
    assert cli.main([str(part) for part in line]) == 0
    frames = np.stack([video.read_image(path) for path in sorted((place / "frames").glob("*.png"))])
    assert frames.shape == (6, 64, 64, 3)
    return place, frames.astype(np.int16)


@pytest.mark.parametrize("form", ["_uint8", "_jpeg"])
def test_animate_equals_fomm_animate(form, files, served, random_request):
    place, expected = files
    source, clip = video.read_image(place / "source.png"), list(video.open_video(place / "driving.mp4"))
    assert source.shape != clip[0].shape
    if form == "_uint8":
        source, *clip = (video.resize(frame, (64, 64)) for frame in (source, *clip))
    else:
        source, *clip = (tf.io.encode_png(frame).numpy() for frame in (source, *clip))
    signature = served.signatures["animate" + form]
    images = {"source": tf.constant(np.array([source])), "driving": tf.constant(np.array([clip]))}
    switches = {"use_initial": False, "relative": True, "adapt_scale": False}
    inputs = random_request(signature, 1) | images | {key: tf.constant([value]) for key, value in switches.items()}
    name = "frames" if form == "_uint8" else "frames_bytes"
    actual = decoded(signature(**inputs)[name]).reshape(expected.shape)
    if form == "_uint8":
        assert np.abs(actual - expected).max() <= 1
    else:  # the result is encoded as JPEG once more
        assert np.abs(actual - expected).mean() < 1


def test_animate_in_two_parts_equals_animator(run_folder, served):
    model = animator.Animator.load(run_folder("tiny"))
    frames = examples.draw((64, 64), 6)
    whole = np.stack(list(model.animate(frames[2], iter(frames))))
    switches = {"relative": [True], "adapt_scale": [False]}
    given, parts, use = {"initial_value": np.zeros([1, 5, 2]), "initial_jacobian": np.zeros([1, 5, 2, 2])}, [], False
    for clip in (frames[:2], frames[2:]):
        answer = served.signatures["animate_uint8"](
            source=tf.constant(frames[2:3]),
            driving=tf.constant(clip[np.newaxis]),
            use_initial=tf.constant([use]),
            **{key: tf.constant(value) for key, value in switches.items()},
            **{key: tf.constant(value, tf.float32) for key, value in given.items()},
        )
        parts.append(answer.pop("frames")[0])
        given, use = answer, True
    assert np.abs(np.int16(np.concatenate(parts)) - whole).max() <= 1


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("adapt_scale", [True, False])
def test_transfer_switches_equal_fomm_tf_transfer(relative, adapt_scale, served, random_request):
    signature = served.signatures["transfer"]
    inputs = random_request(signature, 1) | {
        "relative": tf.constant([relative]),
        "adapt_scale": tf.constant([adapt_scale]),
    }
    actual = signature(**inputs)
    points = [
        {part: inputs[f"{owner}_{part}"].numpy() for part in ("value", "jacobian")}
        for owner in ("source", "driving", "initial")
    ]
    points[1] = {part: value[0] for part, value in points[1].items()}
    expected = fomm_tf.transfer(
        *(structures.Keypoints(**each) for each in points),
        mode="relative" if relative else "absolute",
        adapt_scale=adapt_scale,
    )
    np.testing.assert_allclose(actual["value"][0], expected.value, atol=1e-5)
    np.testing.assert_allclose(actual["jacobian"][0], expected.jacobian, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("detect", {"frames": np.full([1, 64, 64, 3], np.nan)}, "frames must lie in"),
        ("detect", {"frames": np.full([1, 64, 64, 3], 2.0)}, "frames must lie in"),
        ("detect", {"frames": np.zeros([0, 64, 64, 3])}, "frames is empty"),
        ("encode_source", {"source": np.full([1, 64, 64, 3], -1.0)}, "source must lie in"),
        ("transfer", {"initial_jacobian": np.full([1, 5, 2, 2], np.inf)}, "initial_jacobian holds NaN"),
        ("transfer", {"relative": np.zeros([2])}, "relative and .* must have the same batch"),
        ("render", {"value": np.full([1, 3, 5, 2], np.nan)}, "value holds NaN"),
        (
            "render",
            {"value": np.zeros([1, 0, 5, 2]), "jacobian": np.zeros([1, 0, 5, 2, 2])},
            "value is empty|jacobian is empty",
        ),
        ("animate", {"driving": np.zeros([1, 0, 64, 64, 3])}, "driving is empty"),
        ("animate", {"initial_value": np.full([1, 5, 2], np.nan)}, "initial_value holds NaN"),
        ("animate_uint8", {"driving": np.zeros([1, 0, 64, 64, 3])}, "driving is empty"),
        ("detect_uint8", {"frames": np.zeros([64, 64, 3])}, "frames.*64,64,3"),
        ("encode_source_uint8", {"source": np.zeros([0, 64, 64, 3])}, "source is empty"),
        ("detect", {"frames": np.zeros([1, 64, 64, 4])}, "frames.*1,64,64,4"),
        ("encode_source", {"source": np.zeros([1, 32, 64, 3])}, "source.*1,32,64,3"),
        ("animate", {"source": np.zeros([64, 64, 3])}, "source.*64,64,3"),
        ("animate", {"relative": np.zeros([])}, "relative"),
        ("transfer", {"driving_value": np.zeros([1, 3, 4, 2])}, "driving_value.*1,3,4,2"),
        ("render", {"features": np.zeros([1, 16, 16])}, "features.*1,16,16"),
        ("render_details", {"value": np.full([1, 3, 5, 2], np.inf)}, "value holds NaN"),
        ("detect_jpeg", {"frames": np.array([b"nonsense"])}, "frames is neither a JPEG nor a PNG"),
        ("encode_source_jpeg", {"source": np.array([b"\xff\xd8\xff"])}, "source"),
        ("animate_jpeg", {"driving": np.array([[b""]])}, "driving is neither a JPEG nor a PNG"),
        ("animate_jpeg", {"driving": np.array([b""])}, "driving"),
        ("metadata", {"request": np.zeros([0], "S1")}, "request is empty"),
        ("metadata", {"request": np.zeros([], "S1")}, "request"),
    ],
)
def test_signature_rejects_invalid_input_and_keeps_serving(name, change, message, served, server, random_request):
    good = {key: tensor.numpy() for key, tensor in random_request(served.signatures[name], 1).items()}
    bad = good | {key: value.astype(good[key].dtype) for key, value in change.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        server(name, bad)
    expected = served.signatures[name](**{key: tf.constant(value) for key, value in good.items()})
    for key, actual in server(name, good).items():
        atol = {tf.uint8: 1, tf.string: 8}.get(expected[key].dtype, 2e-5)
        np.testing.assert_allclose(decoded(tf.constant(actual)), decoded(expected[key]), atol=atol)


def test_export_writes_the_bundled_model_by_default(bundled_files):
    place, printed = bundled_files("saved_model")
    assert "animate.prediction" in printed and f"{place / '1'}: " in printed
    assert [path.name for path in place.iterdir()] == ["1"]
    metadata = json.loads((place / "1" / "assets.extra" / "metadata.json").read_text())
    assert (metadata["name"], metadata["frame_size"], metadata["num_keypoints"]) == ("people-256", [256, 256], 17)


def test_check_prints_what_the_export_printed(run_folder, files_of, capsys):
    place, printed = files_of("tiny", "saved_model")
    assert cli.main(["export", "--run", str(run_folder("tiny")), "--check", str(place / "1")]) == 0
    assert capsys.readouterr().out == printed[: printed.rindex(str(place))]


@CONFORMANCE
def test_float16_keeps_psnr_of_bundled_model(export, tmp_path):
    printed = export(["--to", "saved_model", "--out", tmp_path / "fomm", "--precision", "float16"])
    assert float(re.search(r"animation: (\S+) dB", printed)[1]) > 45


def test_lower_precision_is_checked_by_psnr_and_becomes_next_version(run_folder, tmp_path, capsys):
    run = str(run_folder("smallest"))
    (tmp_path / "6").mkdir()
    assert (
        cli.main(["export", "--run", run, "--to", "saved_model", "--out", str(tmp_path), "--precision", "float16"]) == 0
    )
    assert (tmp_path / "7" / "saved_model.pb").is_file()
    assert "animation: " in capsys.readouterr().out


def test_check_rejects_a_model_of_another_run(run_folder, saved, capsys):
    assert cli.main(["export", "--run", str(run_folder("align-corners-false")), "--check", str(saved)]) == 2
    assert "from the Keras model; expected at most" in capsys.readouterr().err


def test_export_saved_model_over_tolerance_leaves_nothing(run_folder, tmp_path, capsys, monkeypatch):
    difference = saved_model.Difference("animate.prediction", 0.5, 1e-5)
    monkeypatch.setattr(saved_model, "compare", lambda run, saved: saved_model.Comparison([difference], 80.0))
    monkeypatch.setattr(saved_model, "_warmup_requests", lambda *_: [])
    monkeypatch.setattr(module, "_FORMS", {"": tf.float32})  # the fewest signatures
    line = ["--run", str(run_folder("smallest")), "--to", "saved_model", "--out", str(tmp_path)]
    assert cli.main(["export", *line]) == 2
    assert "animate.prediction: differs by 0.5 from the Keras model; expected at most" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("psnr", [30.0, float("nan")])
def test_check_tolerances_rejects_low_psnr(psnr):
    with pytest.raises(errors.UserError, match=rf"bfloat16: PSNR against the Keras model is {psnr:.1f} dB"):
        saved_model.check_tolerances(saved_model.Comparison([], psnr), "bfloat16")
    saved_model.check_tolerances(saved_model.Comparison([], 45.0), "bfloat16")

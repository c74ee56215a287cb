"""SavedModels against the Keras networks, as servers meet them: batched, fed nonsense, asked again."""

import functools
import json
import os
import subprocess
import sys

import model_list
import numpy as np
import pytest
import tensorflow as tf

import fomm_tf
from export import __main__ as command
from export import module, saved_model, verify
from fomm_tf import checkpoint, config, errors
from fomm_tf.inference import animator
from fomm_tf.ops import keypoints

pytestmark = pytest.mark.slow
NAMES = ("tiny", "align-corners-false", "tall", "one-keypoint", "zeroth-order-no-occlusion", "third-scale")
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Writes a run of a model of the list, and its SavedModel, once."""

    @functools.cache
    def make(name):
        tf.keras.utils.set_random_seed(3)
        run = checkpoint.build(config.Config(model=model_list.MODELS[name]))
        for number, variable in enumerate(v for network in run.networks for v in network.weights):
            if variable.dtype.is_floating and "anti_alias" not in variable.name:
                noise = tf.random.stateless_normal(variable.shape, [7, number], stddev=0.05)
                variable.assign(tf.abs(variable + noise) if "variance" in variable.name else variable + noise)
        place = tmp_path_factory.mktemp(name)
        checkpoint.save(place / "run", run, "for a test")
        saved_model.write(module.load(place / "run"), place / "saved")
        return place

    return make


@pytest.fixture(scope="module")
def served(folder):
    return tf.saved_model.load(str(folder("tiny") / "saved" / "1"))


def examples(signature, count):
    """Random inputs for a signature, `count` examples of three driving frames; Jacobians near the identity."""
    inputs = {}
    for name, spec in signature.structured_input_signature[1].items():
        shape = [count, *(3 if size is None else size for size in spec.shape[1:])]
        if spec.dtype == tf.bool:
            value = RNG.random(shape) < 0.5
        elif spec.dtype == tf.uint8:
            value = RNG.integers(0, 256, shape)
        elif name.endswith("jacobian"):
            value = np.eye(2) + RNG.normal(0, 0.1, shape)
        else:
            value = RNG.uniform(0, 1, shape)
        inputs[name] = tf.constant(value, spec.dtype)
    return inputs


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_keras_model(name, folder):
    report = verify.compare(folder(name) / "run", folder(name) / "saved" / "1")
    named = {difference.name for difference in report.differences}
    assert {"detect.value", "transfer.value", "render.mask", "render.deformation", "animate.prediction"} <= named
    assert ("detect.jacobian" in named) == model_list.MODELS[name].jacobian
    verify.judge(report, "float32")
    assert report.psnr > 70


@pytest.mark.parametrize(
    "name",
    ["detect", "detect_uint8", "encode_source", "transfer", "render", "render_details", "animate", "animate_uint8"],
)
def test_two_requests_in_one_batch_are_answered_as_alone(name, served):
    signature = served.signatures[name]
    inputs = examples(signature, 3)
    together = signature(**inputs)
    for part in (slice(0, 1), slice(1, 3)):
        alone = signature(**{key: value[part] for key, value in inputs.items()})
        for key, value in alone.items():
            np.testing.assert_allclose(
                np.float32(value),
                np.float32(together[key][part]),
                atol=1 if value.dtype == tf.uint8 else 2e-5,
                err_msg=key,
            )


def test_a_clip_in_two_parts_is_the_clip_and_what_the_animator_makes(folder, served):
    model = animator.Animator.load(folder("tiny") / "run")
    frames = (verify.draw(model_list.MODELS["tiny"].frame_size, 6) * 255).astype(np.uint8)
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
def test_the_switches_are_those_of_transfer(relative, adapt_scale, served):
    signature = served.signatures["transfer"]
    inputs = examples(signature, 1) | {"relative": tf.constant([relative]), "adapt_scale": tf.constant([adapt_scale])}
    made = signature(**inputs)
    points = [
        {part: inputs[f"{owner}_{part}"].numpy() for part in ("value", "jacobian")}
        for owner in ("source", "driving", "initial")
    ]
    points[1] = {part: value[0] for part, value in points[1].items()}
    expected = fomm_tf.transfer(
        *(keypoints.Keypoints(**each) for each in points),
        mode="relative" if relative else "absolute",
        adapt_scale=adapt_scale,
    )
    np.testing.assert_allclose(made["value"][0], expected.value, atol=1e-5)
    np.testing.assert_allclose(made["jacobian"][0], expected.jacobian, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
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
    ],
)
def test_nonsense_is_refused_by_name_and_the_next_request_is_answered(name, change, complaint, served):
    signature = served.signatures[name]
    good = examples(signature, 1)
    bad = good | {key: tf.constant(value, good[key].dtype) for key, value in change.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match=complaint):
        signature(**bad)
    assert all(np.isfinite(np.float32(value)).all() for value in signature(**good).values())


def test_the_command_exports_the_bundled_model(tmp_path):
    line = [sys.executable, "-m", "export", "--to", "saved_model", "--out", str(tmp_path / "fomm")]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "animate.prediction" in done.stdout and f"{tmp_path / 'fomm' / '1'}: " in done.stdout
    assert [path.name for path in (tmp_path / "fomm").iterdir()] == ["1"]
    told = tf.saved_model.load(str(tmp_path / "fomm" / "1")).signatures["metadata"]()["metadata"]
    metadata = json.loads(told.numpy()[0])
    assert (metadata["name"], metadata["frame_size"], metadata["num_keypoints"]) == ("puppets-128", [128, 128], 10)


def test_lower_precision_is_judged_by_its_pictures_and_becomes_the_next_version(folder, tmp_path, capsys):
    run = str(folder("tiny") / "run")
    (tmp_path / "6").mkdir()
    assert command.main(["--run", run, "--to", "saved_model", "--out", str(tmp_path), "--precision", "float16"]) == 0
    assert (tmp_path / "7" / "saved_model.pb").is_file()
    assert "animation: " in capsys.readouterr().out


def test_a_difference_over_tolerance_leaves_nothing(folder, tmp_path, capsys, monkeypatch):
    real = verify.compare

    def elsewhere(run, saved):
        return real(folder("align-corners-false") / "run", saved)

    monkeypatch.setattr(verify, "compare", elsewhere)
    line = ["--run", str(folder("tiny") / "run"), "--to", "saved_model", "--out", str(tmp_path)]
    assert command.main(line) == 2
    assert "from the Keras model's, over" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_pictures_too_far_apart_are_refused():
    with pytest.raises(errors.UserError, match=r"bfloat16 model's frames are 30.0 dB"):
        verify.judge(verify.Report([], 30.0), "bfloat16")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (["--to", "caffe", "--out", "x"], "invalid choice: 'caffe'"),
        (["--to", "saved_model"], "required: --out"),
        (["--run", "nowhere", "--to", "saved_model", "--out", "x"], "nowhere"),
    ],
)
def test_mistakes_are_one_line(line, complaint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command.main(line) == 2
    message = capsys.readouterr().err.strip()
    assert complaint in message and "\n" not in message
    assert list(tmp_path.iterdir()) == []

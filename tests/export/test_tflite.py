"""TFLite files against the Keras networks, stage by stage, and what they do with nonsense."""

import json

import model_list
import numpy as np
import pytest

from export import VARIANTS, examples, litert_runner, report, stages, tflite
from export import __main__ as command
from fomm_tf import checkpoint
from fomm_tf.inference import animator

pytestmark = pytest.mark.slow
MODELS = ["tiny", "align-corners-false", "tall", "one-keypoint", "zeroth-order-no-occlusion", *model_list.REFERENCE]


@pytest.fixture(scope="module")
def phone(run_folder, export, tmp_path_factory):
    """The tiny model's files in every variant."""
    place = tmp_path_factory.mktemp("phone") / "files"
    export("--run", run_folder("tiny"), "--to", "tflite", "--out", place)
    return place


@pytest.fixture(scope="module")
def bundled(export, tmp_path_factory):
    """The bundled model's files, and what the command printed."""
    place = tmp_path_factory.mktemp("bundled") / "files"
    return place, export("--to", "tflite", "--out", place)


def cells(text):
    """The rows of a text's tables."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]


@pytest.mark.parametrize("name", MODELS)
def test_every_stage_in_float32_is_the_keras_network_s(name, run_folder, export, tmp_path):
    line = ["--run", run_folder(name), "--to", "tflite", "--variants", "float32", "--out", tmp_path / "files"]
    (row,) = (row for row in cells(export(*line)) if row[0] == "float32")
    assert float(row[2]) > 70
    rows = cells((tmp_path / "files" / "report.md").read_text())
    worst = {row[0]: float(row[1]) for row in rows if len(row) == 2 and "." in row[0]}
    settings = checkpoint.read_config(run_folder(name)).model
    assert {"detector.value", "motion.deformation", "warp.warped", "renderer.prediction"} <= set(worst)
    assert ("detector.jacobian" in worst, "motion.occlusion" in worst) == (settings.jacobian, settings.occlusion)
    assert max(worst.values()) <= 1e-4


def test_the_command_s_table_of_the_bundled_model(bundled):
    place, printed = bundled
    table = {row[0]: [float(cell) for cell in row[1:]] for row in cells(printed)[1:]}
    assert list(table) == list(VARIANTS)
    for name, psnr in {"float32": 70, "float16": 45, "dynamic": 35, "int8": 30}.items():
        assert table[name][1] >= psnr and table[name][2] <= 0.5
    written = (place / "report.md").read_text()
    assert "# puppets-128" in written and "renderer-int8.tflite" in written


def test_convolutions_hold_nothing_that_a_gpu_refuses(bundled):
    place, _ = bundled
    for stage in stages.CONVOLUTIONS:
        count, refused = report.analyse(place / f"{stage}-float32.tflite")
        assert count > 3 and refused == []
    assert report.analyse(place / "warp-float32.tflite")[1] != []


def test_a_clip_comes_out_as_the_animator_makes_it(bundled):
    place, _ = bundled
    source, clip = examples.draw((128, 128), 2, 7)[1], examples.draw((128, 128), 5, 9)
    expected = np.stack(list(animator.Animator.bundled().animate(source, clip))).astype(np.int16)
    made = np.stack(list(litert_runner.Pipeline(place).animate(source, clip)))
    assert made.dtype == np.uint8
    assert np.abs(made - expected).max() <= 1


@pytest.mark.parametrize("variant", VARIANTS)
def test_nonsense_never_ends_the_process_and_the_next_frame_is_good(variant, phone):
    pipeline = litert_runner.Pipeline(phone, variant)
    clip = np.float32(examples.draw((64, 64), 2)) / 255
    expected = list(pipeline.animate(clip[0], clip))[1]
    encoded, good = pipeline.encode_source(clip[0]), pipeline.detect(clip[1])
    for odd in (np.nan, np.inf, -np.inf, 1e30, -5.0, 0.0):
        odd_points = {name: np.full_like(value, odd) for name, value in good.items()}
        for driving, initial in ((odd_points, good), (good, odd_points), (odd_points, odd_points)):
            for adapt_scale in (True, False):
                frame = pipeline.render(encoded, driving, initial, True, adapt_scale)
                assert frame.shape == (64, 64, 3)
        pipeline.run("detector", {"frame": np.full([1, 64, 64, 3], odd, np.float32)})
    again = list(pipeline.animate(clip[0], clip))[1]
    np.testing.assert_array_equal(again, expected)


def test_a_batch_of_any_size_on_request(run_folder, export, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    place = tmp_path / "files"
    line = ["--run", run_folder("tiny"), "--to", "tflite", "--variants", "float32", "--batch", "0", "--out", place]
    export(*line)
    clip = np.float32(examples.draw((64, 64), 3)) / 255
    one_by_one = np.concatenate([litert_runner.Pipeline(place).detect(frame)["value"] for frame in clip])
    interpreter = Interpreter(str(place / "detector-float32.tflite"))
    (frame,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(frame["index"], clip.shape)
    interpreter.allocate_tensors()
    np.testing.assert_allclose(interpreter.get_signature_runner("detector")(frame=clip)["value"], one_by_one, atol=1e-5)


@pytest.mark.parametrize(
    ("picture", "complaint"),
    [
        (np.zeros([64, 32, 3], np.uint8), r"the source must be \[64, 64, 3\]; got \[64, 32, 3\]"),
        (np.full([64, 64, 3], np.nan, np.float32), "float in .0, 1. without NaN"),
        (np.full([64, 64, 3], 255, np.int32), "uint8, or float .* got int32"),
    ],
)
def test_the_runner_refuses_what_is_no_picture(picture, complaint, phone):
    with pytest.raises(ValueError, match=complaint):
        litert_runner.Pipeline(phone).encode_source(picture)


def test_a_variant_that_was_not_written_is_named(run_folder, tmp_path):
    place = tflite.write(run_folder("tiny"), tmp_path / "files", ["float32"])
    with pytest.raises(ValueError, match=r"variant is 'int8'; .* has float32"):
        litert_runner.Pipeline(place, "int8")
    assert json.loads((place / "pipeline.json").read_text())["stages"]["renderer"]["inputs"]["warped"]["shape"][0] == 1


def test_a_stage_over_tolerance_leaves_nothing(run_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(report, "TOLERANCE", 1e-12)
    line = ["--run", str(run_folder("tiny")), "--to", "tflite", "--variants", "float32"]
    assert command.main([*line, "--out", str(tmp_path / "files")]) == 2
    assert "from the Keras model's, over 1e-12" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

"""TFLite files: GPU compatibility, hostile inputs, and the runner."""

import json

import hostile_inputs
import numpy as np
import pytest
import reports

from fomm_tf import cli
from fomm_tf.export import VARIANTS, examples, report, runner, stages

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def phone(files_of):
    """The bundled model's files in every variant."""
    return files_of("bundled", "tflite")[0]


@pytest.fixture(scope="module")
def any_batch(run_folder, tmp_path_factory):
    """The smallest model's float32 files for any number of frames."""
    place = tmp_path_factory.mktemp("any_batch") / "files"
    line = ["--run", run_folder("smallest"), "--to", "tflite", "--variants", "float32", "--batch", 0, "--out", place]
    assert cli.main(["export", *map(str, line)]) == 0
    return place


def test_export_tflite_bundled_model_psnr(files_of):
    place, printed = files_of("bundled", "tflite")
    table = {row[0]: [float(cell) for cell in row[1:]] for row in reports.cells(printed)[1:]}
    assert list(table) == list(VARIANTS["tflite"])
    for name, psnr in {"float32": 70, "float16": 45, "dynamic": 35, "int8": 30}.items():
        assert table[name][1] >= psnr and table[name][2] <= 0.5
    written = (place / "report.md").read_text()
    assert "# people-256" in written and "renderer-int8.tflite" in written


def test_convolution_stages_are_gpu_compatible(files_of):
    place, _ = files_of("bundled", "tflite")
    for stage in stages.CONVOLUTIONS:
        count, refused = report.analyze_gpu_compatibility(place / f"{stage}-float32.tflite")
        assert count > 3 and refused == []
    assert report.analyze_gpu_compatibility(place / "warp-float32.tflite")[1] != []


@pytest.mark.parametrize("variant", VARIANTS["tflite"])
def test_pipeline_survives_hostile_keypoints(variant, phone):
    hostile_inputs.check_survives(runner.Pipeline(phone, variant))


def test_export_tflite_batch_0_accepts_any_batch(any_batch):
    from ai_edge_litert.interpreter import Interpreter

    clip = np.float32(examples.draw((32, 32), 3)) / 255
    one_by_one = np.concatenate([runner.Pipeline(any_batch).detect(frame)["value"] for frame in clip])
    interpreter = Interpreter(str(any_batch / "detector-float32.tflite"))
    (frame,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(frame["index"], clip.shape)
    interpreter.allocate_tensors()
    np.testing.assert_allclose(interpreter.get_signature_runner("detector")(frame=clip)["value"], one_by_one, atol=1e-5)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros([256, 64, 3], np.uint8), r"source: got shape \[256, 64, 3\]; expected \[256, 256, 3\]"),
        (np.full([256, 256, 3], np.nan, np.float32), "float in .0, 1. without NaN"),
        (np.full([256, 256, 3], 255, np.int32), "got int32; expected uint8, or float"),
    ],
)
def test_pipeline_rejects_invalid_source(image, message, phone):
    with pytest.raises(ValueError, match=message):
        runner.Pipeline(phone).encode_source(image)


def test_pipeline_rejects_missing_variant(any_batch):
    with pytest.raises(ValueError, match=r"variant: got 'int8'; expected one of float32"):
        runner.Pipeline(any_batch, "int8")


@pytest.mark.parametrize(("place", "batch"), [("phone", 1), ("any_batch", None)])
def test_pipeline_json_holds_the_batch_size(place, batch, request):
    description = json.loads((request.getfixturevalue(place) / "pipeline.json").read_text())
    assert description["stages"]["renderer"]["inputs"]["warped"]["shape"][0] == batch


def test_export_tflite_over_tolerance_leaves_nothing(run_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(report, "TOLERANCE", 1e-12)
    line = ["--run", str(run_folder("smallest")), "--to", "tflite", "--variants", "float32"]
    assert cli.main(["export", *line, "--out", str(tmp_path / "files")]) == 2
    assert "from the Keras model; expected at most 1e-12" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

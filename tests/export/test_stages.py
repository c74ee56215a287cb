"""Exported files of every format against the Keras networks, stage by stage, on many models."""

import faces
import model_list
import numpy as np
import pytest
import reports

from fomm_tf import checkpoint, cli, video
from fomm_tf.export import runner

pytestmark = pytest.mark.slow
CONFORMANCE = pytest.mark.conformance
ZEROTH_ORDER = "zeroth-order-no-occlusion-blend-skips"
OTHERS = ["zeroth-order-no-occlusion", "blend-source", "warp-skips", "align-corners-false", "tall", "one-keypoint"]
GATHERS = ["zeroth-order-no-occlusion", *OTHERS[2:], "512", "bundled"]
FILES = [
    pytest.param("tflite", ["bundled"], id="tflite-bundled"),
    pytest.param("tflite-float32", [ZEROTH_ORDER], id="tflite-zeroth-order"),
    pytest.param("onnx", ["tiny"], id="onnx-tiny"),
    pytest.param("onnx-float32", [ZEROTH_ORDER], id="onnx-zeroth-order"),
    pytest.param("onnx-gathers", ["tiny"], id="onnx-gathers-tiny"),
    pytest.param("tflite", ["tiny"], id="tflite-tiny", marks=CONFORMANCE),
    pytest.param("tflite-float32", [*OTHERS, *model_list.REFERENCE], id="tflite-others", marks=CONFORMANCE),
    pytest.param("onnx-float32", [*OTHERS, *model_list.REFERENCE, "512"], id="onnx-others", marks=CONFORMANCE),
    # Differs from the line before in the warps alone, which these models cover.
    pytest.param("onnx-gathers", GATHERS, id="onnx-gathers-others", marks=CONFORMANCE),
]


@pytest.mark.parametrize(("form", "models"), FILES)
def test_float32_stage_equals_keras_network(form, models, run_folder, files_of):
    for name in models:
        place, printed = files_of(name, form)
        (psnr,) = (float(row[2]) for row in reports.cells(printed) if row[0] == "float32")
        assert psnr > 70
        worst = reports.worst((place / "report.md").read_text())
        settings = checkpoint.read_config(checkpoint.BUNDLED if name == "bundled" else run_folder(name)).model
        assert {"detector.value", "motion.deformation", "warp.warped", "renderer.prediction"} <= set(worst), name
        assert ("detector.jacobian" in worst, "motion.occlusion" in worst) == (settings.jacobian, settings.occlusion)
        assert ("animate.prediction" in worst) == form.startswith("onnx")
        assert max(worst.values()) <= 1e-4, (name, worst)


@pytest.mark.network
@pytest.mark.parametrize(
    ("form", "model", "motion"),  # levels
    [("tflite", "bundled", 20), ("onnx", "tiny", 2), pytest.param("onnx", "bundled", 20, marks=CONFORMANCE)],
)
def test_pipeline_equals_fomm_animate_on_real_clip(form, model, motion, run_folder, files_of, tmp_path):
    run = checkpoint.BUNDLED if model == "bundled" else run_folder(model)
    driving, size = faces.faces()["franck.mp4"], checkpoint.read_config(run).model.frame_size
    frames = [video.resize(frame, size) for frame in video.open_video(driving, duration=1.0)]
    video.write_image(tmp_path / "source.png", frames[-1])
    line = [
        "animate",
        "--run",
        run,
        "--source",
        tmp_path / "source.png",
        "--driving",
        driving,
        "--duration",
        1,
        "--adapt-scale",
    ]
    assert cli.main([*(str(part) for part in line), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    expected = [video.read_image(file) for file in sorted((tmp_path / "out").glob("*.png"))]
    actual = list(runner.Pipeline(files_of(model, form)[0]).animate(frames[-1], frames, adapt_scale=True))
    assert len(actual) == len(expected) > 10 and actual[0].dtype == np.uint8
    assert np.abs(np.int16(actual) - np.int16(expected)).max() <= 1
    assert np.abs(np.int16(actual[5]) - np.int16(actual[0])).max() > motion

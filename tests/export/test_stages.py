"""Files of every form against the Keras networks, stage by stage, on many models."""

import faces
import model_list
import numpy as np
import pytest
import reports

from export import runner
from fomm_tf import checkpoint, cli, video

pytestmark = pytest.mark.slow
CONFORMANCE = pytest.mark.conformance
TINY = ["tiny", "zeroth-order-no-occlusion", "blend-source"]
OTHERS = ["align-corners-false", "tall", "one-keypoint"]
FORMS = {"tflite": ["--to", "tflite"], "onnx": ["--to", "onnx"], "gathers": ["--to", "onnx", "--no-grid-sample"]}
LINES = [
    pytest.param(FORMS["tflite"], TINY, id="tflite"),
    pytest.param(FORMS["onnx"], TINY, id="onnx"),
    pytest.param(FORMS["gathers"], ["tiny"], id="onnx-gathers"),
    pytest.param(FORMS["tflite"], OTHERS + list(model_list.REFERENCE), id="tflite-others", marks=CONFORMANCE),
    pytest.param(FORMS["onnx"], [*OTHERS, *model_list.REFERENCE, "512"], id="onnx-others", marks=CONFORMANCE),
    # Differs from the line before in the warps alone, which meet all that they can in these.
    pytest.param(FORMS["gathers"], [TINY[1], *OTHERS, "512", "bundled"], id="gathers-others", marks=CONFORMANCE),
]


@pytest.mark.parametrize(("line", "models"), LINES)
def test_float32_stage_equals_keras_network(line, models, run_folder, export, tmp_path):
    # In the forms without gathers the fixture `bundled_files` refuses differences.
    runs = {name: checkpoint.BUNDLED if name == "bundled" else run_folder(name) for name in models}
    places = {name: tmp_path / str(number) for number, name in enumerate(runs)}
    lines = (["--run", run, *line, "--variants", "float32", "--out", places[name]] for name, run in runs.items())
    psnr = [float(row[2]) for row in reports.cells(export(*lines)) if row[0] == "float32"]
    assert len(psnr) == len(runs) and min(psnr) > 70
    for name, place in places.items():
        worst = reports.worst((place / "report.md").read_text())
        settings = checkpoint.read_config(runs[name]).model
        assert {"detector.value", "motion.deformation", "warp.warped", "renderer.prediction"} <= set(worst), name
        assert ("detector.jacobian" in worst, "motion.occlusion" in worst) == (settings.jacobian, settings.occlusion)
        assert ("animate.prediction" in worst) == ("onnx" in line)
        assert max(worst.values()) <= 1e-4, (name, worst)


@pytest.mark.network
@pytest.mark.parametrize("form", ["tflite", "onnx"])
def test_pipeline_equals_fomm_animate_on_real_clip(form, bundled_files, tmp_path):
    driving, size = faces.faces()["franck.mp4"], (128, 128)
    frames = [video.resize(frame, size) for frame in video.open_video(driving, duration=1.0)]
    video.write_image(tmp_path / "source.png", frames[-1])
    line = ["animate", "--source", tmp_path / "source.png", "--driving", driving, "--duration", 1, "--adapt-scale"]
    assert cli.main([*(str(part) for part in line), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    expected = [video.read_image(file) for file in sorted((tmp_path / "out").glob("*.png"))]
    made = list(runner.Pipeline(bundled_files(form)[0]).animate(frames[-1], frames, adapt_scale=True))
    assert len(made) == len(expected) > 10 and made[0].dtype == np.uint8
    assert np.abs(np.int16(made) - np.int16(expected)).max() <= 1
    assert np.abs(np.int16(made[5]) - np.int16(made[0])).max() > 20

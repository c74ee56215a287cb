"""Files of every form against the Keras networks, stage by stage, on many models."""

import model_list
import numpy as np
import pytest
import reports

from export import examples, runner
from fomm_tf import checkpoint
from fomm_tf.inference import animator

pytestmark = pytest.mark.slow
MODELS = ["tiny", "align-corners-false", "tall", "one-keypoint", "zeroth-order-no-occlusion", *model_list.REFERENCE]
LINES = {
    "tflite": ["--to", "tflite"],
    "onnx": ["--to", "onnx"],
    "onnx with gathers": ["--to", "onnx", "--no-grid-sample"],
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_every_stage_in_float32_is_the_keras_network_s(line, run_folder, export, tmp_path):
    names = [*MODELS, *(["512"] if "onnx" in line else [])]
    places = {name: tmp_path / str(number) for number, name in enumerate(names)}
    export(*(["--run", run_folder(name), *line, "--variants", "float32", "--out", places[name]] for name in names))
    for name, place in places.items():
        worst = reports.worst((place / "report.md").read_text())
        settings = checkpoint.read_config(run_folder(name)).model
        assert {"detector.value", "motion.deformation", "warp.warped", "renderer.prediction"} <= set(worst), name
        assert ("detector.jacobian" in worst, "motion.occlusion" in worst) == (settings.jacobian, settings.occlusion)
        assert ("animate.prediction" in worst) == ("onnx" in line)
        assert max(worst.values()) <= 1e-4, (name, worst)


@pytest.mark.parametrize("form", ["tflite", "onnx"])
def test_a_clip_comes_out_as_the_animator_makes_it(form, bundled_files):
    source, clip = examples.draw((128, 128), 2, 7)[1], examples.draw((128, 128), 5, 9)
    expected = np.stack(list(animator.Animator.bundled().animate(source, clip))).astype(np.int16)
    made = np.stack(list(runner.Pipeline(bundled_files(form)[0]).animate(source, clip)))
    assert made.dtype == np.uint8
    assert np.abs(made - expected).max() <= 1

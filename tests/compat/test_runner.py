"""The exported files of the bundled model in environments with numpy and the newest of one runtime alone."""

import environments
import numpy as np
import pytest

from fomm_tf.export import VARIANTS, examples
from fomm_tf.inference import animator


@pytest.mark.conformance
@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize(
    ("form", "environment", "package", "major"),
    [("tflite", ".venv-litert", "ai-edge-litert", 2), ("onnx", ".venv-onnxruntime", "onnxruntime", 1)],
)
def test_runner_animates_the_bundled_model_with_the_newest_runtime(
    form, environment, package, major, bundled_files, tmp_path
):
    place, _ = bundled_files(form)
    image, clip = examples.draw((128, 128), 2, 7)[1], examples.draw((128, 128), 4, 9)
    expected = np.stack(list(animator.Animator.bundled().animate(image, clip)))
    np.savez(tmp_path / "answers.npz", image=image, clip=clip, expected=expected)
    printed = environments.run(environment, "runner_answers.py", place, tmp_path / "answers.npz", package)
    assert all(f"{variant}: " in printed for variant in VARIANTS[form]) and f"{package} {major}." in printed

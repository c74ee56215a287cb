"""The TFLite files of the bundled model in an environment with the newest ai-edge-litert and numpy alone."""

import environments
import numpy as np
import pytest

from export import examples, tflite
from fomm_tf import checkpoint
from fomm_tf.inference import animator


@pytest.mark.slow
@pytest.mark.network
def test_the_bundled_model_animates_in_the_newest_litert(tmp_path):
    place = tflite.write(checkpoint.BUNDLED, tmp_path / "files")
    picture, clip = examples.draw((128, 128), 2, 7)[1], examples.draw((128, 128), 4, 9)
    expected = np.stack(list(animator.Animator.bundled().animate(picture, clip)))
    np.savez(tmp_path / "answers.npz", picture=picture, clip=clip, expected=expected)
    printed = environments.run(".venv-litert", "litert_answers.py", place, tmp_path / "answers.npz")
    assert "int8: " in printed and "ai-edge-litert 2." in printed

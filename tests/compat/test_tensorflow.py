"""What was exported by TensorFlow 2.15 in an environment with today's, without this project's packages."""

import environments
import numpy as np
import pytest
import tensorflow as tf

from fomm_tf.export import examples


@pytest.mark.conformance
@pytest.mark.slow
@pytest.mark.network
def test_saved_model_answers_in_the_newest_tensorflow(bundled_files, tmp_path):
    version = bundled_files("saved_model")[0] / "1"
    signatures = tf.saved_model.load(str(version)).signatures
    stored = {}
    for name, inputs in examples.make(signatures, count=3).items():
        sides = {"in": inputs, "out": signatures[name](**inputs)}
        for side, tensors in sides.items():
            for key, tensor in tensors.items():
                value = tensor.numpy()
                stored[f"{name}|{side}|{key}"] = value.astype("S") if value.dtype == object else value
    np.savez(tmp_path / "answers.npz", **stored)
    printed = environments.run(".venv-tensorflow", "saved_model_answers.py", version, tmp_path / "answers.npz")
    assert "TensorFlow 2.21" in printed

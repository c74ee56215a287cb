"""What was exported by TensorFlow 2.15 in an environment with today's, without this project's packages."""

import pathlib
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from export import examples, module, saved_model
from fomm_tf import checkpoint

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = ".venv-tensorflow"


@pytest.mark.slow
@pytest.mark.network
def test_the_bundled_model_answers_in_today_s_tensorflow(tmp_path):
    made = subprocess.run(["make", f"{ENVIRONMENT}/done"], cwd=ROOT, capture_output=True, text=True, check=False)
    if "No matching distribution" in made.stderr or "Connection" in made.stderr:
        pytest.skip(f"today's TensorFlow cannot be installed here: {made.stderr.strip().splitlines()[-1]}")
    assert made.returncode == 0, made.stderr
    version = saved_model.write(module.load(checkpoint.BUNDLED), tmp_path / "saved")
    signatures = tf.saved_model.load(str(version)).signatures
    stored = {}
    for name, inputs in examples.make(signatures, count=3).items():
        sides = {"in": inputs, "out": signatures[name](**inputs)}
        for side, tensors in sides.items():
            for key, tensor in tensors.items():
                value = tensor.numpy()
                stored[f"{name}|{side}|{key}"] = value.astype("S") if value.dtype == object else value
    np.savez(tmp_path / "answers.npz", **stored)
    script = ROOT / "tests" / "compat" / "saved_model_answers.py"
    line = [ROOT / ENVIRONMENT / "bin" / "python", "-P", script, version, tmp_path / "answers.npz"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "TensorFlow 2.21" in done.stdout

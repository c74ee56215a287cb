"""The project itself on today's TensorFlow with tf-keras and without tensorflow-addons."""

import subprocess

import environments
import pytest

ROOMS = ("ops", "models", "losses", "inference", "training", "parity")


@pytest.mark.conformance
@pytest.mark.slow
@pytest.mark.network
def test_the_fast_tests_of_inference_and_training_pass_on_today_s_tensorflow(tmp_path):
    line = [
        environments.python(".venv-tensorflow"),
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow and not conformance",
    ]
    line += ["--basetemp", tmp_path / "inner", *(f"tests/{room}" for room in ROOMS)]
    done = subprocess.run(line, cwd=environments.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    print(done.stdout.splitlines()[-1])

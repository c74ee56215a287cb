"""The project on the current TensorFlow with tf-keras and without tensorflow-addons."""

import subprocess

import environments
import pytest

PACKAGES = ("ops", "models", "losses", "inference", "training", "parity")


@pytest.mark.conformance
@pytest.mark.slow
@pytest.mark.network
def test_fast_tests_pass_on_current_tensorflow(tmp_path):
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
    line += ["--basetemp", tmp_path / "inner", *(f"tests/{package}" for package in PACKAGES)]
    done = subprocess.run(line, cwd=environments.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    print(done.stdout.splitlines()[-1])

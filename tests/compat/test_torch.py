"""Checkpoints written without torch, in an environment with torch."""

import environments
import numpy as np
import pytest

from fomm_tf import checkpoint, cli, weights

pytestmark = [pytest.mark.conformance, pytest.mark.slow, pytest.mark.network]
_REFERENCE = environments.ROOT / "tests" / "parity" / "data"


def convert(*line):
    assert cli.main(["convert", *(str(part) for part in line)]) == 0


def test_reference_checkpoint_round_trip(tmp_path):
    original = _REFERENCE / "tiny-step5-checkpoint.pth.tar"
    convert(original, "--config", _REFERENCE / "tiny.yaml", "--out", tmp_path / "run")
    convert(tmp_path / "run", "--to-torch", tmp_path / "back.pth.tar")
    printed = environments.run(".venv-torch", "torch_loads.py", tmp_path, "back.pth.tar", original)
    assert "Adam resumes from its moments" in printed


def test_bundled_model_loads_in_torch(tmp_path):
    convert(checkpoint.BUNDLED, "--to-torch", tmp_path / "bundled.pth.tar")
    tree = weights.load(tmp_path / "bundled.pth.tar")
    tensors = {f"{part}/{name}": value for part in ("generator", "kp_detector") for name, value in tree[part].items()}
    np.savez(tmp_path / "tensors.npz", **tensors)
    printed = environments.run(".venv-torch", "torch_tensors.py", tmp_path, "bundled.pth.tar", "tensors.npz")
    assert f"{len(tensors)} tensors equal" in printed and "torch 2.13" in printed

"""Runs in an environment with torch: loads a checkpoint of this project and compares its tensors.

python torch_tensors.py FOLDER CHECKPOINT TENSORS.npz

TENSORS.npz holds `network/name`.
"""

import pathlib
import sys

import numpy as np
import torch

folder, checkpoint, tensors = sys.argv[1:]
tree = torch.load(pathlib.Path(folder) / checkpoint, weights_only=True)
loaded = {f"{part}/{name}": tensor for part in tree if part != "epoch" for name, tensor in tree[part].items()}
with np.load(pathlib.Path(folder) / tensors) as expected:
    assert set(loaded) == set(expected.files)
    for name, tensor in loaded.items():
        assert torch.equal(tensor, torch.from_numpy(expected[name])), name
print(f"torch {torch.__version__}: loads with weights_only=True, {len(loaded)} tensors equal")

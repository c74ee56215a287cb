"""Runs in an environment with torch: loads a checkpoint of this project and compares it with the original.

python torch_loads.py FOLDER OURS ORIGINAL
"""

import pathlib
import sys

import torch


def compare(ours, theirs, path=""):
    """Counts equal tensors; raises if any differs."""
    if isinstance(theirs, torch.Tensor):
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs), path
        return 1
    if isinstance(theirs, dict):
        return sum(compare(ours[key], value, f"{path}/{key}") for key, value in theirs.items() if key in ours)
    if isinstance(theirs, list) and len(theirs) == len(ours):
        return sum(compare(a, b, f"{path}[{i}]") for i, (a, b) in enumerate(zip(ours, theirs, strict=True)))
    assert ours == theirs, (path, ours, theirs)
    return 0


def main():
    ours, theirs = (torch.load(pathlib.Path(sys.argv[1]) / path, weights_only=True) for path in sys.argv[2:])
    for network in ("generator", "kp_detector", "discriminator"):
        assert list(ours[network]) == list(theirs[network]), f"{network}: other tensors or another order"
    equal = compare(ours, theirs)
    expected = compare(theirs, theirs)
    assert equal == expected, f"{equal} of {expected} tensors are there"
    buffers = ("running_mean", "running_var", "num_batches_tracked", "down.weight")
    weights = [tensor for name, tensor in ours["kp_detector"].items() if not name.endswith(buffers)]
    parameters = [torch.nn.Parameter(tensor.clone()) for tensor in weights]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.Adam(parameters)
    optimizer.load_state_dict(ours["optimizer_kp_detector"])
    optimizer.step()
    assert optimizer.state[parameters[0]]["step"] == 6, "Adam did not go on from step 5"
    print(
        f"torch {torch.__version__}: loads with weights_only=True, {equal} tensors equal, Adam resumes from its moments"
    )


main()

"""A run of the reference's checkpoints, and the contents of its directory."""

import pathlib

import numpy as np

from fomm_tf import torch_import, weights

DATA = pathlib.Path(__file__).parent / "parity" / "data"
PROVENANCE = "Converted from a test."


def make_run(name="tiny-step5", settings="tiny"):
    tree = weights.load(DATA / f"{name}-checkpoint.pth.tar")
    return torch_import.import_checkpoint(tree, str(DATA / f"{settings}.yaml"), True, name)


def leaves(tree, path=""):
    if isinstance(tree, (dict, list)):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from leaves(value, f"{path}/{key}")
    else:
        yield path, tree


def assert_same_state(left, right):
    ones, others = (dict(leaves(torch_import.export_checkpoint(run))) for run in (left, right))
    assert list(ones) == list(others)
    for path, one in ones.items():
        np.testing.assert_array_equal(one, others[path], err_msg=path)

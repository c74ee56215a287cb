"""Checkpoints of the reference, and their import with the config that belongs to them."""

import json
import pathlib

import pytest

from fomm_tf import errors, torch_import, weights

DATA = pathlib.Path(__file__).parent.parent / "parity" / "data"
RELEASED = json.loads((DATA / "released-shapes.json").read_text())
WHOLE = {
    "tiny": "tiny",
    "tiny-step5": "tiny",
    "tiny-legacy-cuda": "tiny",
    "single-jacobian": "single-jacobian",
    "wide": "wide",
    "zero-order": "zero-order",
}
STATES = ("generator", "kp_detector", "discriminator")
OPTIMIZERS = ("optimizer_generator", "optimizer_kp_detector", "optimizer_discriminator")


def load(name):
    return weights.load(DATA / f"{name}-checkpoint.pth.tar")


def yaml_of(name):
    return DATA / f"{WHOLE.get(name, name)}.yaml"


def import_tree(tree, name="tiny"):
    return torch_import.import_checkpoint(tree, str(yaml_of(name)), True, "cpk.pth.tar")


def import_error(tree, name="tiny"):
    """Imports a tree that must be rejected, and returns the message."""
    with pytest.raises(errors.UserError) as caught:
        import_tree(tree, name)
    message = str(caught.value)
    assert message.startswith("cpk.pth.tar") and "\n" not in message
    return message


def assert_bit_equal(left, right):
    assert list(left) == list(right)
    for key, array in left.items():
        assert (array.dtype, array.shape) == (right[key].dtype, right[key].shape), key
        assert array.tobytes() == right[key].tobytes(), key

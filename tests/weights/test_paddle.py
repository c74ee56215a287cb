"""PaddlePaddle's .pdparams files, written with pickle as its own writer does."""

import os
import pickle

import numpy as np
import pytest

from fomm_tf import errors, weights

STATE = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "norm._mean": np.float32([1, 2]),
    "norm._variance": np.float32([3, 4]),
}


class _Tensor:
    """Pickled as `paddle.save` writes a tensor: a pair of its name and its array."""

    def __init__(self, name, array):
        self.pair = (name, array)

    def __reduce__(self):
        return (tuple, (self.pair,))


class _Array:
    """An array with another state than its own."""

    def __init__(self, *state):
        self.state = state

    def __reduce__(self):
        return (*np.zeros(0).__reduce__()[:2], self.state)


def write(path, tree, protocol=4):
    path.write_bytes(pickle.dumps(tree, protocol))
    return path


def load_error(path):
    with pytest.raises(errors.UserError) as caught:
        weights.load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("as_tensors", [True, False])
def test_load_reads_pdparams(tmp_path, protocol, as_tensors):
    state = {name: _Tensor(name, value) if as_tensors else value for name, value in STATE.items()}
    tree = {"generator": state, "kp_detector": {}, "epoch": 3, "StructuredToParameterName@@": {"a": "b"}}
    path = write(tmp_path / "a.pdparams", tree, protocol)
    loaded = weights.load(path)
    assert list(loaded) == ["generator", "kp_detector", "epoch"]
    assert list(loaded["generator"]) == ["conv.weight", "norm.running_mean", "norm.running_var"]
    for value, expected in zip(loaded["generator"].values(), STATE.values(), strict=True):
        np.testing.assert_array_equal(value, expected)
        assert value.dtype == np.float32
    assert weights.describe(path) == "paddle"


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_load_executes_nothing_in_pdparams(tmp_path, protocol):
    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path}/marker",))

    path = write(tmp_path / "a.pdparams", {"generator": Evil()}, protocol)
    assert "system', as no checkpoint does; nothing was executed" in load_error(path)
    assert os.listdir(tmp_path) == ["a.pdparams"]


@pytest.mark.parametrize(
    "state",
    [
        (1, (3,), np.dtype("f4"), False, b"x" * 8),
        (1, (2**59, 2**59), np.dtype("f4"), False, b""),
        (1, (-1,), np.dtype("f4"), False, b""),
        (1, (1,), np.dtype("O"), False, b"x" * 8),
        (1, (1,), np.dtype("O"), False, [[]]),
        (1, [1], np.dtype("f4"), False, b"xxxx"),
        (1, (1,), "f4", False, b"xxxx"),
        (1, (1,), np.dtype("f4"), False),
    ],
)
def test_load_rejects_arrays_of_another_form(tmp_path, state):
    assert "is not a readable torch checkpoint" in load_error(write(tmp_path / "a.pdparams", {"a": _Array(*state)}))


@pytest.mark.parametrize("size", [3, 20, 200])
def test_load_rejects_truncated_pdparams(tmp_path, size):
    path = write(tmp_path / "a.pdparams", {"generator": STATE})
    path.write_bytes(path.read_bytes()[:size])
    load_error(path)

"""Hand-made checkpoint files, and what their tests compare and measure."""

import contextlib
import pathlib
import struct
import tracemalloc

import numpy as np
import pytest
import torch_files

from fomm_tf import errors, weights

DATA = pathlib.Path(__file__).parent.parent / "parity" / "data"
CONTAINERS = ("zip", "legacy")
ORDERED = b"ccollections\nOrderedDict\n"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
FLOATS = np.arange(6, dtype="<f4").tobytes()
TUPLE_NEST = b")" + b"q\x00h\x00\x86" * 60  # its hash takes 2**60 steps
SHALLOW_NEST = b")" + b"q\x00h\x00\x86" * 28  # 2**28 tuples if it is traversed
OPCODES, CALLS, MARKS = "more than 150000 opcodes", "more than 30000 calls", "more than 40 levels deep"
DEEP = "contains itself, or is much deeper"


def write(container, path, body, storage=FLOATS, keys=("0",)):
    """Writes a given pickle with at most one storage."""
    if container == "zip":
        torch_files.write_zip(path, body, {f"data/{key}": storage for key in keys})
    else:
        storages = [struct.pack("<q", len(storage) // 4) + storage for _ in keys]
        path.write_bytes(torch_files.pack_legacy(body, keys) + b"".join(storages))


def load_error(path):
    """Loads a file that must be rejected, and returns the message."""
    with pytest.raises(errors.UserError) as caught:
        weights.load(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and len(message) < len(str(path)) + 400
    return message


@contextlib.contextmanager
def trace_memory():
    """Traces allocations; yields a function that returns their peak in bytes."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def assert_equal(left, right):
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert list(left) == list(right)
        for key in left:
            assert_equal(left[key], right[key])
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_equal(one, other)
    elif isinstance(left, np.ndarray):
        assert (left.dtype, left.shape) == (right.dtype, right.shape)
        assert left.tobytes() == right.tobytes()
    else:
        assert left == right


def make_tree():
    random = np.random.default_rng(0)
    return {
        "generator": {
            "first.conv.weight": random.standard_normal((4, 3, 2, 2)).astype("f4"),
            "first.norm.num_batches_tracked": np.array(12345678901, "i8"),
            "empty": np.zeros((0, 3), "f4"),
        },
        "optimizer": {
            "state": {0: {"step": np.array(5, "f4"), "exp_avg": random.standard_normal(7)}, 94030040710544: {}},
            "param_groups": [
                {"lr": 2e-4, "betas": (0.5, 0.999), "foreach": None, "amsgrad": False, "fused": True, "params": [0, -1]}
            ],
        },
        "all": [np.array([0, 1, 1]).astype(kind) for kind in ("f4", "f8", "f2", "i8", "i4", "i2", "i1", "u1", "?")],
        "name": "vöx",
        "nothing": ((), [], {}),
        "epoch": 100,
        "large": (2**40, -(2**40), 2**31 - 1, -(2**31)),
    }

"""Limits of pickles: bounds of tensors, numbers of memo entries, depth, opcodes, and names of storages."""

import numpy as np
import pytest
import torch_files
from weight_files import CONTAINERS, DEEP, OPCODES, TUPLE_NEST, load_error, trace_memory, write

from fomm_tf import weights


@pytest.mark.parametrize(("size", "stride", "offset"), [((2, 3), (3, 2), 0), ((6,), (1,), 1), ((), (), 6)])
def test_load_rejects_tensor_that_exceeds_its_storage(size, stride, offset, tmp_path):
    write("zip", tmp_path / "a", torch_files.pickle_dict(x=torch_files.pickle_tensor(size, stride, offset)))
    numbers = f"a tensor of {np.prod(size, dtype=int)} elements up to index {6 if len(size) < 2 else 7}"
    assert f"{numbers} in a storage of 6" in load_error(tmp_path / "a")


@pytest.mark.parametrize("container", CONTAINERS)
def test_load_rejects_memo_index_of_four_billion(container, tmp_path):
    write(container, tmp_path / "a", b"\x80\x02}r\xff\xff\xff\xff.", keys=())
    with trace_memory() as get_peak:
        assert "memo entries are out of order: got number 4294967295 after 0 entries" in load_error(tmp_path / "a")
        assert get_peak() < 1 << 20


@pytest.mark.parametrize("container", CONTAINERS)
def test_load_accepts_memo_entries_numbered_from_1(container, tmp_path):
    # As Python 2's cPickle numbers them.
    write(container, tmp_path / "a", b"\x80\x02}q\x01X\x01\x00\x00\x00aq\x02h\x02s.", keys=())
    assert weights.load(tmp_path / "a") == {"a": "a"}


@pytest.mark.parametrize("container", CONTAINERS)
def test_load_accepts_32_levels_and_rejects_33(container, tmp_path):
    nested = torch_files.pickle_tensor((2,), (1,))
    for _ in range(31):
        nested = b"](" + nested + b"e"
    write(container, tmp_path / "a", torch_files.pickle_dict(x=nested))
    leaf = weights.load(tmp_path / "a")["x"]
    while isinstance(leaf, list):
        (leaf,) = leaf
    assert leaf.tolist() == [0, 1]
    write(container, tmp_path / "a", torch_files.pickle_dict(x=b"](" + nested + b"e"))
    assert DEEP in load_error(tmp_path / "a")


def test_load_counts_opcodes_of_all_pickles_in_legacy_file(tmp_path):
    many = [""] * 60_000
    for name, body, system in (
        ("two", torch_files.pickle_dict(x=torch_files.put(many)), {"little_endian": True, "x": 1}),
        ("three", torch_files.pickle_dict(x=torch_files.put(many)), {"little_endian": True, "x": many}),
    ):
        (tmp_path / name).write_bytes(torch_files.pack_legacy(body, many, system))
    # 60,000 strings take 60,000 opcodes when they share a memo entry, and as many when they do not.
    assert "list of storages does not match" in load_error(tmp_path / "two")
    assert OPCODES in load_error(tmp_path / "three")


@pytest.mark.parametrize("container", CONTAINERS)
def test_load_checks_storage_names_before_hashing(container, tmp_path):
    for kind, key in ((TUPLE_NEST, b"N"), (b"N", TUPLE_NEST), (torch_files.put("IntStorage"), TUPLE_NEST)):
        pid = b"(" + torch_files.put("storage") + kind + key + b"NK\x01tQ"
        write(container, tmp_path / "a", torch_files.pickle_dict(x=pid))
        assert "without name, kind or length" in load_error(tmp_path / "a")


def test_load_rejects_storage_declared_twice_differently(tmp_path):
    first = torch_files.pickle_tensor((1,), (1,))
    for count, kind in ((6, "IntStorage"), (5, "FloatStorage")):
        second = torch_files.pickle_tensor((1,), (1,), count=count, kind=kind)
        write("zip", tmp_path / "a", torch_files.pickle_dict(x=first, y=second))
        assert "storage '0' is declared twice" in load_error(tmp_path / "a")

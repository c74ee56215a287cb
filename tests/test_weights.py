"""PyTorch checkpoint files: reading, writing, and rejecting malicious ones without executing or allocating anything."""

import contextlib
import gc
import io
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch_files
from hypothesis import given, settings
from hypothesis import strategies as st

from fomm_tf import errors, weights
from fomm_tf.weights import containers, unpickling

DATA = pathlib.Path(__file__).parent / "parity" / "data"
CONTAINERS = ("zip", "legacy")
ORDERED = b"ccollections\nOrderedDict\n"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
FLOATS = np.arange(6, dtype="<f4").tobytes()
TUPLE_NEST = b")" + b"q\x00h\x00\x86" * 60  # its hash takes 2**60 steps
SHALLOW_NEST = b")" + b"q\x00h\x00\x86" * 28  # 2**28 tuples if it is traversed
ADAM = {"lr", "betas", "eps", "weight_decay", "amsgrad", "maximize", "foreach", "capturable", "differentiable", "fused",
        "decoupled_weight_decay", "params"}  # fmt: skip


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


@pytest.mark.parametrize(
    ("name", "container", "counts", "epoch"),
    [
        ("tiny", "zip", {"generator": 112, "kp_detector": 47, "discriminator": 26}, 0),
        ("tiny-step5", "zip", {"generator": 112, "kp_detector": 47, "discriminator": 26}, 5),
        ("tiny-legacy-cuda", "legacy", {"generator": 112, "kp_detector": 47}, 0),
        ("tiny-disc2", "zip", {"discriminator": 24}, 0),
        ("single-jacobian", "zip", {"generator": 112, "kp_detector": 47}, 0),
        ("wide", "zip", {"generator": 70, "kp_detector": 33}, 0),
        ("zero-order", "zip", {"generator": 110, "kp_detector": 45}, 0),
    ],
)
def test_load_reads_reference_checkpoints(name, container, counts, epoch):
    path = DATA / f"{name}-checkpoint.pth.tar"
    tree = weights.load(path)
    assert weights.describe(path) == container
    assert {key: len(part) for key, part in tree.items() if key != "epoch" and "optimizer" not in key} == counts
    assert tree["epoch"] == epoch
    for part in counts:
        for key, array in tree[part].items():
            counter = key.endswith("num_batches_tracked")
            assert array.dtype == ("i8" if counter else "f4")
            assert (array.ndim == 0) == counter
            assert np.isfinite(array).all() and array.flags.writeable


def test_load_keeps_shapes_of_torch():
    tree = weights.load(DATA / "tiny-checkpoint.pth.tar")
    assert tree["generator"]["dense_motion_network.hourglass.encoder.down_blocks.0.conv.weight"].shape == (16, 24, 3, 3)
    assert tree["discriminator"]["discs.1.down_blocks.0.conv.weight_u"].shape == (16,)
    assert tree["kp_detector"]["predictor.encoder.down_blocks.0.norm.num_batches_tracked"].shape == ()


def test_load_reads_optimizer_moments():
    tree = weights.load(DATA / "tiny-step5-checkpoint.pth.tar")
    for name, count in (("generator", 66), ("discriminator", 16), ("kp_detector", 28)):
        optimizer = tree[f"optimizer_{name}"]
        assert list(optimizer) == ["state", "param_groups"]
        assert list(optimizer["state"]) == list(range(count))
        shapes = [moments["exp_avg"].shape for moments in optimizer["state"].values()]
        assert sorted(shapes) == sorted(
            array.shape for key, array in tree[name].items()
            if not key.endswith(("running_mean", "running_var", "num_batches_tracked", "down.weight", "_u", "_v"))
        )  # fmt: skip
        for moments in optimizer["state"].values():
            assert list(moments) == ["step", "exp_avg", "exp_avg_sq"]
            assert moments["step"].shape == () and moments["step"] == 5
            assert moments["exp_avg"].shape == moments["exp_avg_sq"].shape
        (group,) = optimizer["param_groups"]
        assert set(group) == ADAM and group["betas"] == (0.5, 0.999) and group["params"] == list(range(count))


def test_load_reads_same_tree_from_both_containers():
    legacy = weights.load(DATA / "tiny-legacy-cuda-checkpoint.pth.tar")
    today = weights.load(DATA / "tiny-checkpoint.pth.tar")
    for part in ("generator", "kp_detector"):
        assert_equal(legacy[part], today[part])


@pytest.mark.parametrize("name", ["tiny-step5", "tiny-legacy-cuda"])
def test_save_keeps_reference_checkpoints(name, tmp_path):
    tree = weights.load(DATA / f"{name}-checkpoint.pth.tar")
    weights.save(tmp_path / "again.pth.tar", tree)
    assert_equal(weights.load(tmp_path / "again.pth.tar"), tree)


def test_load_returns_what_save_wrote_bit_for_bit(tmp_path):
    weights.save(tmp_path / "a.pth.tar", make_tree())
    assert_equal(weights.load(tmp_path / "a.pth.tar"), make_tree())
    assert os.listdir(tmp_path) == ["a.pth.tar"]


def test_save_is_deterministic(tmp_path):
    weights.save(tmp_path / "a.pth", make_tree())
    weights.save(tmp_path / "b.pth", make_tree())
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_load_reads_files_of_torch_1_0_bit_for_bit(device, tmp_path):
    torch_files.write_legacy(tmp_path / "a.pth.tar", make_tree(), device)
    assert weights.describe(tmp_path / "a.pth.tar") == "legacy"
    assert_equal(weights.load(tmp_path / "a.pth.tar"), make_tree())


def test_save_converts_views_byte_orders_and_scalars(tmp_path):
    array = np.arange(24, dtype="f4").reshape(2, 3, 4)
    views = {"t": array.T, "back": array[:, ::-2]}
    weights.save(tmp_path / "a.pth", views | {"big": array.astype(">f4"), "n": np.float32(3), "flag": np.bool_(True)})
    plain = views | {"big": array, "n": np.array(3, "f4"), "flag": np.array(True)}
    assert_equal(weights.load(tmp_path / "a.pth"), plain)


@pytest.mark.parametrize("container", CONTAINERS)
def test_load_follows_strides_offsets_and_shared_storages(container, tmp_path):
    first = torch_files.pickle_tensor((2, 3), (1, 2))
    second = torch_files.pickle_tensor((2,), (3,), offset=1)
    scalar = torch_files.pickle_tensor((), (), offset=5)
    void = torch_files.pickle_tensor((0, 4), (4, 1), offset=99)
    write(container, tmp_path / "a", torch_files.pickle_dict(a=first, b=second, c=scalar, d=void))
    tree = weights.load(tmp_path / "a")
    np.testing.assert_array_equal(tree["a"], [[0, 2, 4], [1, 3, 5]])
    np.testing.assert_array_equal(tree["b"], [1, 4])
    assert tree["c"] == 5 and tree["c"].shape == () and tree["d"].shape == (0, 4)
    assert np.shares_memory(tree["a"], tree["b"])


@pytest.mark.parametrize("container", CONTAINERS)
def test_load_converts_bfloat16_to_float32(container, tmp_path):
    halves = (np.array([1, -2.5, np.inf, 3.140625], "<f4").view("<u4") >> 16).astype("<u2")
    body = torch_files.pickle_dict(a=torch_files.pickle_tensor((2, 2), (1, 2), count=4, kind="BFloat16Storage"))
    if container == "zip":
        torch_files.write_zip(tmp_path / "a", body, {"data/0": halves.tobytes()})
    else:
        (tmp_path / "a").write_bytes(torch_files.pack_legacy(body, ["0"]) + struct.pack("<q", 4) + halves.tobytes())
    array = weights.load(tmp_path / "a")["a"]
    assert array.dtype == "f4"
    np.testing.assert_array_equal(array, [[1, np.inf], [-2.5, 3.140625]])


def test_load_follows_legacy_views_of_storages(tmp_path):
    body = torch_files.pickle_dict(a=torch_files.pickle_tensor((2,), (1,), offset=1, view=("7", 2, 3)))
    write("legacy", tmp_path / "a", body)
    np.testing.assert_array_equal(weights.load(tmp_path / "a")["a"], [3, 4])
    body = torch_files.pickle_dict(a=torch_files.pickle_tensor((2,), (1,), view=("7", 5, 2)))
    write("legacy", tmp_path / "b", body)
    assert "a view exceeds its storage" in load_error(tmp_path / "b")


@pytest.mark.parametrize("container", CONTAINERS)
def test_load_reads_parameters_sizes_and_metadata(container, tmp_path):
    tensor = torch_files.pickle_tensor((2,), (1,))
    parameter = b"ctorch._utils\n_rebuild_parameter\n(" + tensor + b"\x88" + ORDERED + b")RtR"
    old = tensor.replace(REBUILD, b"ctorch._utils\n_rebuild_tensor\n").replace(b"\x89" + ORDERED + b")R", b"")
    size = b"ctorch\nSize\n" + torch_files.put(((1, 2),)) + b"R"
    metadata = torch_files.put({"_metadata": {"": {"version": 1}}})
    state = ORDERED + b")R(" + torch_files.put("w") + tensor + b"u" + metadata + b"b"
    write(container, tmp_path / "a", torch_files.pickle_dict(p=parameter, o=old, n=size, s=state))
    tree = weights.load(tmp_path / "a")
    assert tree["n"] == (1, 2) and list(tree["s"]) == ["w"]
    assert tree["p"].tolist() == tree["o"].tolist() == tree["s"]["w"].tolist() == [0, 1]


# Malicious files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
@pytest.mark.parametrize("container", CONTAINERS)
def test_load_rejects_command_in_pickle_without_executing_it(container, protocol, tmp_path):
    marker = tmp_path / "marker"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {marker}",)

    write(container, tmp_path / "evil.pth.tar", pickle.dumps({"x": Evil()}, protocol), keys=())
    message = load_error(tmp_path / "evil.pth.tar")
    assert (
        "is not allowed in a checkpoint" in message
        if protocol in (0, 4)
        else "system', as no checkpoint does" in message
    )
    assert not marker.exists()
    pickle.loads(pickle.dumps(Evil(), protocol))
    assert marker.exists(), "the pickle of this test executes nothing"


def test_load_rejects_command_in_bare_pickle(tmp_path):
    (tmp_path / "a.pth").write_bytes(torch_files.pickle_call("os.system", f"touch {tmp_path}/marker"))
    assert "refers to 'os.system', as no checkpoint does; nothing was executed" in load_error(tmp_path / "a.pth")
    assert os.listdir(tmp_path) == ["a.pth"]


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(
    "name",
    ["os.system", "builtins.eval", "builtins.getattr", "torch.load", "torch.nn.modules.linear.Linear",
     "torch._utils._rebuild_tensor_v3", "numpy.core.multiarray._reconstruct", "fomm_tf.weights.save", "a.\x1b[31mb"],
)  # fmt: skip
def test_load_names_rejected_global(container, name, tmp_path):
    write(container, tmp_path / "a", torch_files.pickle_call(name, "x"), keys=())
    assert f"refers to {name!a}, as no checkpoint does; nothing was executed" in load_error(tmp_path / "a")


def call(function, arguments):
    return b"\x80\x02}" + torch_files.put("x") + function + arguments + b"Rs."


def repeat(opcodes, size=1 << 19):
    """Repeats opcodes to fill `size` bytes: at one byte each, several times the limit."""
    return opcodes * (size // len(opcodes))


def find_collisions(count, bits):
    """Finds keys for CPython's `dict`, whose next probe is slot `5 * slot + (key >> 5 * probe) + 1`.

    Returns:
      `count` keys that fill a sequence of such slots in a table of `1 << bits`, and a key that probes most of them.
    """
    mask, slot, positions = (1 << bits) - 1, 0, {}
    for position in range(count):
        positions[slot] = position
        slot = (5 * slot + 1) & mask
    random = np.random.default_rng(0)
    while True:
        key = int(random.integers(unpickling.LARGEST_INTEGER))
        slot, rest = key & mask, key
        while rest and slot in positions:
            rest >>= 5
            slot = (5 * slot + rest + 1) & mask
        if positions.get(slot, count) < count // 10:
            return list(positions), key


OPCODES, CALLS, MARKS = "more than 150000 opcodes", "more than 30000 calls", "more than 40 levels deep"
DEEP = "contains itself, or is much deeper"
PID = torch_files.pickle_tensor((), ()).removeprefix(REBUILD + b"(").partition(b"Q")[0] + b"Q"
MALICIOUS = {
    "attributes of a function": (torch_files.pickle_dict(x=REBUILD + torch_files.put({"__code__": 1}) + b"b"),
                                 "sets attributes"),
    "attributes of a tensor": (torch_files.pickle_dict(x=torch_files.pickle_tensor((), ()) + b"}b"), "sets attributes"),
    "a function as a value": (torch_files.pickle_dict(x=REBUILD), "it holds a function"),
    "a storage as a value": (torch_files.pickle_dict(x=PID), "it holds a Storage"),
    "a list that contains itself": (torch_files.pickle_dict(x=b"]q\x00h\x00a"), DEEP),
    "a dictionary that contains itself": (b"\x80\x02}q\x00" + torch_files.put("x") + b"h\x00s.", DEEP),
    "2**28 tuples": (torch_files.pickle_dict(x=SHALLOW_NEST), DEEP),
    "half a million nested lists": (torch_files.pickle_dict(x=b"]" * 500_000 + b"a" * 499_999), OPCODES),
    "a million values": (torch_files.pickle_dict(x=b"](" + b"N" * 10**6 + b"e"), OPCODES),
    "a key that takes forever to hash": (b"\x80\x02}" + TUPLE_NEST + b"Ns.", "neither a string nor an integer"),
    "keys that take forever to hash": (b"\x80\x02}(" + TUPLE_NEST + b"Nu.", "neither a string nor an integer"),
    "keys that collide": (b"\x80\x02}(\x8a\x09" + (2**61 - 1).to_bytes(9, "little") + b"Nu.", "neither a string nor"),
    "items set on a list": (torch_files.pickle_dict(x=b"]NaK\x00K\x01s"), "neither a string nor an integer"),
    "a dictionary copied from arguments": (call(ORDERED, torch_files.put(({},))), "TypeError"),
    "a call with a tensor for arguments": (call(ORDERED, torch_files.pickle_tensor((6,), (1,))), "not a tuple"),
    "a call with a dictionary for arguments": (call(ORDERED, torch_files.put({"x": 1})), "not a tuple"),
    "a call with a string for arguments": (call(ORDERED, torch_files.put("x")), "not a tuple"),
    "a call of a string": (call(torch_files.put("x"), b")"), "TypeError"),
    "a size made of a list": (call(b"ctorch\nSize\n", torch_files.put(([1],))), "torch.Size"),
    "a string of four GB": (b"\x80\x02}X\xff\xff\xff\xffx.", "Error"),
    "a whole module": (torch_files.pickle_dict(x=torch_files.put(("module", "a", "b", "c")) + b"Q"), "a whole module"),
    "a list at the top": (b"\x80\x02].", "it holds a list, not a dictionary"),
    "None at the top": (b"\x80\x02N.", "it holds a NoneType, not a dictionary"),
    "an empty stack": (b"\x80\x02.", "IndexError"),
    "nothing": (b"", ""),
    "an unknown protocol": (b"\x80\x63}.", "ValueError"),
    "an unknown memo": (b"\x80\x02h\x99.", "Memo"),
    "bytes": (b"\x80\x03}U\x01xC\x00s.", "is not allowed in a checkpoint"),
    "a string that is not UTF-8": (b"\x80\x02}X\x01\x00\x00\x00\xffNs.", "UnicodeDecodeError"),
    "stride 0": ((10**6, 10**6), (0, 0)),
    "stride 0, seven times": ((7,), (0,)),
    "overlapping strides": ((7, 7), (0, 1)),
    "one stride too far": ((2, 3), (3, 2)),
    "an offset too far": ((6,), (1,), 1),
    "more strides than sizes": ((6,), (1, 1)),
    "thirty-three dimensions": ((1,) * 33, (1,) * 33),
    "a negative size": ((-6,), (1,)),
    "a negative stride": ((6,), (-1,), 5),
    "a negative offset": ((1,), (1,), -1),
    "a size that is a float": ((6.0,), (1,)),
    "a size that is a bool": ((True,), (1,)),
    "a size that is a string": (("6",), (1,)),
    "an empty tensor of absurd size": ((0, 2**59, 2**59), (1, 1, 1)),
    "a storage of a PB": ((1,), (1,), 0, 2**48),
    "a storage of a negative length": ((0,), (1,), 0, -1),
    "a storage a little too large": ((6,), (1,), 0, 7),
    "a storage a little too small": ((5,), (1,), 0, 5),
    "a storage of another kind": ((5,), (1,), 0, 6, "DoubleStorage"),
    "a storage of no kind": ((5,), (1,), 0, 6, "Size"),
    "a missing storage": ((5,), (1,), 0, 6, "FloatStorage", None, "../0"),
    "a storage named by a number": ((5,), (1,), 0, 6, "FloatStorage", None, 0),
}  # fmt: skip


FUNCTION, STORAGE, ONES = REBUILD + b"q\x00", PID.removesuffix(b"Q"), torch_files.pickle_tensor((1,) * 32, (1,) * 32)
VIEW = STORAGE.removesuffix(b"t") + torch_files.put(("1", 0, 1)) + b"t"
KEYS, COLLIDING_KEY = find_collisions(5000, bits=13)
# Every way to nest objects or to create many of them, as the value of `x` in a dictionary. Nesting is possible with
# containers that stay on the stack (APPEND, SETITEM) or at a mark, with tuples of the last value (TUPLE1 to 3), and
# with memo entries.
BOMBS = {
    "lists nested by APPENDS": (repeat(b"]("), MARKS),
    "dictionaries nested by SETITEM": (repeat(b"}X\x00\x00\x00\x00", 1 << 20), OPCODES),
    "dictionaries nested by SETITEMS": (repeat(b"}(X\x00\x00\x00\x00"), MARKS),
    "tuples nested by TUPLE": (repeat(b"("), MARKS),
    "tuples nested by TUPLE1": (b")" + repeat(b"\x85"), OPCODES),
    "tuples nested by TUPLE2": (b")" + repeat(b"N\x86"), OPCODES),
    "tuples nested by TUPLE3": (b")" + repeat(b"NN\x87"), OPCODES),
    "calls nested by REDUCE": (b"ctorch\nSize\nq\x00" + repeat(b"h\x00") + repeat(b"\x85R"), OPCODES),
    "lists nested from the outside in": (b"]q\x00(" + repeat(b"h\x00]q\x00a") + b"e", OPCODES),
    "lists that contain themselves": (b"](" + repeat(b"]q\x00h\x00a") + b"e", OPCODES),
    # Below the limit of opcodes: the nested object is complete when it is rejected, and is then destroyed.
    "70,000 nested lists": (b"]" * 70_000 + b"a" * 69_999, DEEP),
    "140,000 nested tuples": (b")" + b"\x85" * 140_000, DEEP),
    "40,000 nested dictionaries": (b"}" + b"X\x00\x00\x00\x00}" * 40_000 + b"s" * 40_000, DEEP),
    "20,000 lists in tuples in dictionaries": (b"}X\x00\x00\x00\x00]" * 20_000 + b"N" + b"a\x85s" * 20_000, DEEP),
    "20,000 lists nested from the outside in": (b"]q\x00](" + b"h\x00]q\x00a" * 20_000 + b"ea", DEEP),
    "a wide tuple in a wide list": (b"]((" + b"N" * 400 + b"tq\x00" + b"h\x00" * 90_000 + b"e", DEEP),
    "120,000 values": (b"](" + b"N" * 120_000 + b"e", DEEP),
    # Many objects.
    "numbers": (b"](" + repeat(b"G" + bytes(8), 3 << 19) + b"e", OPCODES),
    "strings": (b"](" + repeat(b"X" + bytes(4), 1 << 20) + b"e", OPCODES),
    "empty lists": (b"](" + repeat(b"]") + b"e", OPCODES),
    "empty dictionaries": (b"](" + repeat(b"}") + b"e", OPCODES),
    "empty tuples": (b"](" + repeat(b"(t") + b"e", OPCODES),
    "memo entries": (b"N" + b"".join(b"r" + struct.pack("<I", index) for index in range(160_000)), OPCODES),
    "memo entries replaced": (b"N" + repeat(b"q\x00"), OPCODES),
    "memo entries used": (b"]q\x00(" + repeat(b"h\x00") + b"e", OPCODES),
    "protocols": (repeat(b"\x80\x02") + b"N", OPCODES),
    "attributes": (b"}" + repeat(b"Nb"), OPCODES),
    # Many calls. A memo entry stores the arguments, of any length.
    "names": (b"](" + repeat(b"ctorch\nSize\n") + b"e", CALLS),
    "calls of OrderedDict": (b"](" + ORDERED + b"q\x00)q\x01" + repeat(b"h\x00h\x01R") + b"e", CALLS),
    "tensors": (b"](" + FUNCTION + ONES.removeprefix(REBUILD)[:-1] + b"q\x01" + repeat(b"h\x00h\x01R") + b"e", CALLS),
    "storages": (b"](" + STORAGE + b"q\x00" + repeat(b"h\x00Q") + b"e", CALLS),
    "views of storages": (b"](" + VIEW + b"q\x00" + repeat(b"h\x00Q") + b"e", CALLS),
    "a call with a long tuple for arguments": (ORDERED + b"(" + b"N" * 140_000 + b"tR", "TypeError"),
    "a long tuple for storages": (
        b"](" + STORAGE[:-1] + b"N" * 50_000 + b"tq\x00" + repeat(b"h\x00Q") + b"e",
        "without name, kind or length",
    ),
    # Keys whose hashes collide.
    "an integer key that collides": (
        b"}(" + b"".join(b"J" + struct.pack("<i", key) + b"N" for key in KEYS) + b"u"
        b"\x8a\x08" + struct.pack("<q", COLLIDING_KEY) + b"q\x00Ns" + repeat(b"h\x00Ns", 1 << 20),
        "more than 10000 integer keys",
    ),
    "one key set again and again": (b"}K\x00q\x00Ns" + repeat(b"h\x00Ns"), "more than 10000 integer keys"),
    "memo entries that collide": (b"N" + b"".join(b"r" + struct.pack("<I", key) for key in KEYS),
                                  "out of order: got number 6 after 2 entries"),
}  # fmt: skip
MALICIOUS |= {case: (torch_files.pickle_dict(x=body), reason) for case, (body, reason) in BOMBS.items()}


class CountingOpcodes(type(unpickling.Unpickler.dispatch)):
    """Counts the opcodes that are executed."""

    count = 0

    def __getitem__(self, code):
        self.count += 1
        return super().__getitem__(code)


def count_opcodes(monkeypatch):
    opcodes = CountingOpcodes(unpickling.Unpickler.dispatch)
    monkeypatch.setattr(unpickling.Unpickler, "dispatch", opcodes)
    return opcodes


def measure_cpu(function, *arguments):
    """Returns the seconds of CPU time in this thread, without garbage collection of other tests."""
    gc.freeze()
    start = time.thread_time()
    try:
        function(*arguments)
        return time.thread_time() - start
    finally:
        gc.unfreeze()


@pytest.fixture(scope="module")
def reference():
    """The cost of loading a checkpoint of the tiny model with three optimizers: (opcodes, seconds of CPU time)."""
    path = DATA / "tiny-step5-checkpoint.pth.tar"
    with pytest.MonkeyPatch.context() as monkeypatch:
        opcodes = count_opcodes(monkeypatch)
        weights.load(path)
    return opcodes.count, min(measure_cpu(weights.load, path) for _ in range(5))


@pytest.mark.parametrize(
    # Both containers use the same unpickler, so that one is enough for the bombs.
    ("case", "container"),
    [(case, container) for case in MALICIOUS for container in CONTAINERS[: 1 + (case not in BOMBS)]],
)
def test_load_rejects_malicious_pickle_at_bounded_cost(case, container, reference, tmp_path, monkeypatch):
    first, *rest = MALICIOUS[case]
    reason = ""
    if isinstance(first, bytes):
        body, reason = first, rest[0]
    else:
        body = torch_files.pickle_dict(x=torch_files.pickle_tensor(first, *rest))
    path = tmp_path / "a.pth.tar"
    write(container, path, body, keys=("0",) if b"storage" in body else ())
    reference_opcodes, reference_seconds = reference
    # At most 5 times was measured. Without limits, the worst of these pickles take over a hundred times.
    assert measure_cpu(load_error, path) < 30 * reference_seconds
    opcodes = count_opcodes(monkeypatch)
    with trace_memory() as get_peak:
        message = load_error(path)
        peak = get_peak()
    # `}` is one byte of pickle, and a dictionary of 64 bytes, 16 for the garbage collector and 8 on the stack.
    size = path.stat().st_size
    assert peak < (1 << 20) + min(100 * size, (16 << 20) + 8 * size)
    assert opcodes.count < 10 * reference_opcodes
    assert f"{path} is not a readable torch checkpoint (" in message and "must not be unpacked" in message
    assert reason in message


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


def test_load_rejects_overlapping_records(tmp_path):
    count = 1 << 18
    tensors = {f"k{i}": torch_files.pickle_tensor((1,), (1,), count=count, key=str(i)) for i in range(100)}
    torch_files.write_zip(tmp_path / "a", torch_files.pickle_dict(**tensors), {"data/0": bytes(4 * count)})
    with zipfile.ZipFile(tmp_path / "a", "a") as archive:
        first = archive.getinfo("archive/data/0")
        for index in range(1, 100):
            twin = zipfile.ZipInfo(f"archive/data/{index}")
            twin.header_offset, twin.CRC = first.header_offset, first.CRC
            twin.file_size, twin.compress_size = first.file_size, first.compress_size
            archive.filelist.append(twin)
        archive._didModify = True
    load_error(tmp_path / "a")


# Damaged files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny", "tiny-legacy-cuda"])
def test_load_rejects_truncated_checkpoint(name, tmp_path):
    whole = (DATA / f"{name}-checkpoint.pth.tar").read_bytes()
    for length in [*range(1, 40), *range(40, len(whole), len(whole) // 40), len(whole) - 1]:
        (tmp_path / "cut.pth.tar").write_bytes(whole[:length])
        assert "not a readable torch checkpoint" in load_error(tmp_path / "cut.pth.tar")


@pytest.mark.parametrize("content", [b"", b"P", b"not a checkpoint\n" * 50, b"\x1f", b"<" * 99])
def test_load_rejects_other_kinds_of_files(content, tmp_path):
    (tmp_path / "a.pth.tar").write_bytes(content)
    message = load_error(tmp_path / "a.pth.tar")
    assert "it does not start like a PyTorch file" in message and "a .pth.tar must not be unpacked" in message
    with pytest.raises(errors.UserError, match="it does not start like a PyTorch file"):
        weights.describe(tmp_path / "a.pth.tar")


def test_load_rejects_tar_archive(tmp_path):
    with tarfile.open(tmp_path / "a.pth.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("weights"), io.BytesIO())
    message = load_error(tmp_path / "a.pth.tar")
    assert "it is a tar archive, not a file of torch.save" in message and "must not be unpacked" in message


def test_load_rejects_directory_and_missing_file(tmp_path):
    assert "is a directory; give the checkpoint file: a .pth.tar must not be unpacked" in load_error(tmp_path)
    assert "does not exist; give the path" in load_error(tmp_path / "absent.pth.tar")


def test_load_rejects_torchscript_program(tmp_path):
    for record in ("constants.pkl", "code/__torch__.py"):
        torch_files.write_zip(tmp_path / "a.pt", b"\x80\x02}.", {record: b""})
        assert "TorchScript program of torch.jit.save" in load_error(tmp_path / "a.pt")


def test_load_rejects_other_zip_archives(tmp_path):
    for compression in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        torch_files.write_zip(tmp_path / "a", b"\x80\x02}.", compression=compression)
        assert "record 'data.pkl' is compressed by another method than Deflate" in load_error(tmp_path / "a")
    torch_files.write_zip(tmp_path / "a", b"\x80\x02}.", {"byteorder": b"big"})
    assert "big-endian" in load_error(tmp_path / "a")
    torch_files.write_zip(tmp_path / "a", b"\x80\x02}.", root="deep/er")
    assert "without the data.pkl" in load_error(tmp_path / "a")
    torch_files.write_zip(tmp_path / "a", b"\x80\x02}" + b" " * (5 << 20))
    assert "too large" in load_error(tmp_path / "a")


def test_load_accepts_any_root_directory_name(tmp_path):
    torch_files.write_zip(tmp_path / "a", torch_files.pickle_dict(epoch=torch_files.put(3)), root="vox-cpk.pth")
    assert weights.load(tmp_path / "a") == {"epoch": 3}


def test_load_rejects_record_larger_than_the_file(tmp_path):
    write("zip", tmp_path / "a", torch_files.pickle_dict(x=torch_files.pickle_tensor((1,), (1,), count=2**28)))
    data = bytearray((tmp_path / "a").read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 20 : entry + 28] = struct.pack("<II", 2**30, 2**30)
    (tmp_path / "a").write_bytes(data)
    assert "it declares more data than the file holds" in load_error(tmp_path / "a")


def test_load_detects_flipped_bit_in_zip(tmp_path):
    weights.save(tmp_path / "a", {"w": np.full(100, 7, "f4")})
    data = (tmp_path / "a").read_bytes().replace(np.full(100, 7, "f4").tobytes(), np.full(100, 8, "f4").tobytes())
    (tmp_path / "a").write_bytes(data)
    assert "Bad CRC-32" in load_error(tmp_path / "a")


def test_load_rejects_inconsistent_legacy_files(tmp_path):
    body = torch_files.pickle_dict(x=torch_files.pickle_tensor((6,), (1,)))
    storage = struct.pack("<q", 6) + FLOATS
    path = tmp_path / "a"
    for data, reason in (
        (torch_files.pack_legacy(body, ["0"], protocol=1002) + storage, "its protocol is not 1001"),
        (torch_files.pack_legacy(body, ["0"], {"little_endian": False}) + storage, "big-endian"),
        (torch_files.pack_legacy(body, ["0"], [1]) + storage, "TypeError"),
        (torch_files.pack_legacy(body, []) + storage, "list of storages does not match"),
        (torch_files.pack_legacy(body, ["0", "0"]) + storage * 2, "list of storages does not match"),
        (torch_files.pack_legacy(body, ["0", "1"]) + storage * 2, "list of storages does not match"),
        (torch_files.pack_legacy(body, ["0"]) + struct.pack("<q", 5) + FLOATS, "has another length"),
        (torch_files.pack_legacy(body, ["0"]) + struct.pack("<q", -1) + FLOATS, "has another length"),
        (torch_files.pack_legacy(body, ["0"]) + storage[:-1], "it is truncated"),
    ):
        path.write_bytes(data)
        assert reason in load_error(path)


@pytest.fixture(scope="module")
def small(folder):
    """A small valid file of each container, and a pickle, as bytes."""
    tree = {
        "generator": {"w": np.arange(6, dtype="f4").reshape(2, 3), "n": np.array(1)},
        "group": [{"betas": (0.5, 1)}],
    }
    weights.save(folder / "zip", tree)
    torch_files.write_legacy(folder / "legacy", tree, "cuda:0")
    with zipfile.ZipFile(folder / "zip") as archive:
        body = archive.read("archive/data.pkl")
    return {"zip": (folder / "zip").read_bytes(), "legacy": (folder / "legacy").read_bytes(), "pickle": body}


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
@settings(max_examples=300, deadline=10_000)
@given(data=st.data())
def test_load_raises_only_user_errors_for_damaged_files(kind, small, folder, data):
    damaged = bytearray(small[kind])
    places = st.integers(0, len(damaged) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
        damaged[place] = value
    damaged = damaged[: data.draw(st.one_of(st.just(len(damaged)), places))]
    path = folder / "damaged"
    if kind == "pickle":
        # With valid checksums, which otherwise detect nearly all damage.
        torch_files.write_zip(path, bytes(damaged), {"data/0": bytes(24), "data/1": bytes(8)})
    else:
        path.write_bytes(damaged)
    try:
        tree = weights.load(path)
    except errors.UserError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(tree, dict)


# Writing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exception", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_save_keeps_old_file_when_it_fails(exception, tmp_path, monkeypatch):
    weights.save(tmp_path / "a.pth.tar", {"epoch": 1})
    before = (tmp_path / "a.pth.tar").read_bytes()
    write_record, written = containers._write_record, []

    def fail_at_third(archive, name, data):
        written.append(name)
        if len(written) == 3:
            raise exception
        write_record(archive, name, data)

    monkeypatch.setattr(containers, "_write_record", fail_at_third)
    for name in ("a.pth.tar", "new.pth.tar"):
        written.clear()
        with pytest.raises((errors.UserError, KeyboardInterrupt)) as caught:
            weights.save(tmp_path / name, make_tree())
        if isinstance(exception, OSError):
            assert f"{name} (No space left on device)" in str(caught.value)
    assert os.listdir(tmp_path) == ["a.pth.tar"] and (tmp_path / "a.pth.tar").read_bytes() == before


def test_save_rejects_path_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(errors.UserError, match=r"file is not a directory; choose another place"):
        weights.save(tmp_path / "file" / "a.pth", {})


@pytest.mark.parametrize(
    ("tree", "what"),
    [
        ([1], "a checkpoint must be a dictionary; got list"),
        ({"g": {"w": np.zeros(2, complex)}}, r"tree\.g\.w is a array of complex128"),
        ({"g": [1, {1}]}, r"tree\.g\.1 is a set"),
        ({"g": {(1, 2): 1}}, r"tree\.g is a dict with other keys"),
        ({"g": {True: 1}}, r"tree\.g is a dict with other keys"),
        ({"g": 1 << 70}, r"tree\.g is a int"),
        ({"g": np.array(["x"])}, r"tree\.g is a array of <U1"),
    ],
)
def test_save_names_value_that_cannot_be_stored(tree, what, tmp_path):
    with pytest.raises(errors.UserError, match=what):
        weights.save(tmp_path / "a.pth", tree)
    assert os.listdir(tmp_path) == []


def test_save_rejects_recursive_tree(tmp_path):
    tree = {}
    tree["self"] = tree
    with pytest.raises(errors.UserError, match="recursion"):
        weights.save(tmp_path / "a.pth", tree)
    assert os.listdir(tmp_path) == []


def test_load_and_save_use_no_more_memory_than_the_file(tmp_path):
    tree = {"w": np.ones((40, 1 << 18), "f4"), "v": np.ones(1 << 20, "f8")}
    size = sum(array.nbytes for array in tree.values())
    weights.save(tmp_path / "zip", tree)
    torch_files.write_legacy(tmp_path / "legacy", tree)
    for container in CONTAINERS:
        with trace_memory() as get_peak:
            loaded = weights.load(tmp_path / container)
            assert size <= get_peak() < size + (8 << 20)
        assert_equal(loaded, tree)
    with trace_memory() as get_peak:
        weights.save(tmp_path / "zip", tree)
        assert get_peak() < 4 << 20


def test_import_loads_neither_torch_nor_tensorflow():
    code = (
        "import sys; from fomm_tf import weights; weights.load(sys.argv[1]); "
        "print([name for name in ('torch', 'tensorflow', 'keras') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(DATA / "tiny-checkpoint.pth.tar")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "[]"

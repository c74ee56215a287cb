"""Pickles: no command is executed, no limit exceeded, and malicious ones are rejected at bounded cost."""

import gc
import os
import pickle
import struct
import time

import numpy as np
import pytest
import torch_files
from weight_files import (
    CALLS,
    CONTAINERS,
    DATA,
    DEEP,
    MARKS,
    OPCODES,
    ORDERED,
    REBUILD,
    SHALLOW_NEST,
    TUPLE_NEST,
    load_error,
    trace_memory,
    write,
)

from fomm_tf import weights
from fomm_tf.weights import unpickling


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

"""A restricted unpickler for checkpoints: plain values and tensors only (see the package)."""

import math
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fomm_tf.weights import leftovers
from fomm_tf.weights.leftovers import Name, require

LARGEST_INTEGER = 1 << 60  # for sizes and integer keys (torch 1.0 keys the optimizer state by address)

# Limits of one file. In parentheses: the count of a full-size checkpoint with three optimizers, the largest known.
MAX_OPCODES = 150_000  # (20,000) an opcode creates at most one object, so this bounds objects, memo and depth too
MAX_CALLS = 30_000  # (4,000) GLOBAL, REDUCE and BINPERSID, which are slower than other opcodes: see `load_reduce`
MAX_INTEGER_KEYS = 10_000  # (170) see `_check_items`
MAX_MARKS = 40  # (6) open at a time: one per level of the tree, and three in a tensor

STORAGES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "<u2", "LongStorage": "<i8",
    "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "|i1", "ByteStorage": "|u1", "BoolStorage": "|b1",
}  # fmt: skip
STORAGE_OF_DTYPE = {np.dtype(dtype): name for name, dtype in STORAGES.items() if name != "BFloat16Storage"}


class Storage(NamedTuple):
    """A one-dimensional piece of memory that tensors are views of.

    Attributes:
      kind: torch's class, a key of `STORAGES`.
      values: what tensors are views of.
      elements: what the file's elements are read into: `values`, or its upper halves for bfloat16.
    """

    kind: str
    values: np.ndarray
    elements: np.ndarray


def _new_dict() -> dict[Any, Any]:
    return {}


def _as_size(size: tuple[int, ...]) -> tuple[int, ...]:
    require(type(size) is tuple, "a torch.Size is not made from a tuple")
    return size


def _rebuild_tensor(storage, offset, size, stride, requires_grad=False, hooks=None) -> np.ndarray:
    require(
        type(storage) is Storage and type(size) is type(stride) is tuple and len(size) == len(stride) <= 32,
        "a tensor without storage, size or stride",
    )
    require(all(map(is_size, (offset, *size, *stride))), "a tensor's size, stride or offset is not a natural number")
    values, count = storage.values, math.prod(size)
    if count == 0:
        return np.empty(size, values.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # The second condition prevents stride 0 from expanding one element to terabytes.
    if last >= len(values) or count > len(values):
        raise pickle.UnpicklingError(f"a tensor of {count} elements up to index {last} in a storage of {len(values)}")
    width = values.itemsize
    return np.ndarray(size, values.dtype, values, offset * width, [step * width for step in stride])


NAMES: dict[Name, Any] = {
    Name("collections", "OrderedDict"): _new_dict,
    Name("torch", "Size"): _as_size,
    Name("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    Name("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    Name("torch._utils", "_rebuild_parameter"): lambda tensor, requires_grad, hooks: tensor,
    **{Name("torch", kind): kind for kind in STORAGES},
    **leftovers.NAMES,
}


_UNCHANGED_OPCODES = (
    pickle.PROTO, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT, pickle.BININT1, pickle.BININT2,
    pickle.LONG1, pickle.BINFLOAT, pickle.BINUNICODE, pickle.EMPTY_DICT, pickle.EMPTY_LIST, pickle.EMPTY_TUPLE,
    pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.GLOBAL, pickle.BINPERSID, pickle.BINGET,
    pickle.LONG_BINGET,
)  # fmt: skip


class Opcodes(dict[int, Callable[..., None]]):
    """Opcode -> its method; opcodes that torch never writes are rejected."""

    def __missing__(self, code: int) -> None:
        raise pickle.UnpicklingError(f"pickle opcode {bytes([code])!r} is not allowed in a checkpoint")


# The C unpickler has an array as its memo, so that one LONG_BINPUT with a large index allocates tens of GB. The Python
# one has a dictionary, and its opcodes can be restricted.
class Unpickler(pickle._Unpickler):
    """Unpickles plain values and tensors only.

    Args:
      file: the pickle.
      max_bytes: maximum size of all storages together.

    Attributes:
      storages: by key, after `load`; their elements are not read yet.
    """

    names = NAMES

    def __init__(self, file: Any, max_bytes: int) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, Storage] = {}
        # The five pickles of a legacy file share the limits.
        self._opcodes = iter(range(MAX_OPCODES))
        self._calls = self._integer_keys = 0
        self._remaining_bytes = max_bytes

    def load(self) -> Any:
        self.memo, self.metastack, self.stack = {}, [], []
        self.append = self.stack.append
        # Without the base class's layer for frames, since FRAME is not among the allowed opcodes.
        self.read, self.readline = self._file_read, self._file_readline
        for _ in self._opcodes:
            code = self.read(1)
            if code == pickle.STOP:
                return self.stack.pop()
            if not code:
                raise EOFError("its pickle ends without a STOP opcode")
            self.dispatch[code[0]](self)
        raise pickle.UnpicklingError(f"its pickle has more than {MAX_OPCODES} opcodes, many more than a checkpoint's")

    def find_class(self, module: str, name: str) -> Any:
        self._count_calls(1)
        if Name(module, name) not in self.names:
            rejected = ascii(f"{module}.{name}")[:80]
            raise pickle.UnpicklingError(f"it refers to {rejected}, as no checkpoint does; nothing was executed")
        return self.names[Name(module, name)]

    def persistent_load(self, pid: Any) -> Storage:
        self._count_calls(1)
        require(type(pid) is tuple and pid[0] == "storage", "it holds a whole module, not a state dictionary")
        # `*view` copies the rest, and a memo entry can be used many times.
        require(len(pid) in (5, 6), "a storage without name, kind or length")
        _, kind, key, _, count, *view = pid
        known = type(key) is type(kind) is str and kind in STORAGES and is_size(count)
        require(known, "a storage without name, kind or length")
        if key not in self.storages:
            self.storages[key] = self._make_storage(kind, count)
        storage = self.storages[key]
        require(storage.kind == kind and len(storage.values) == count, f"storage {ascii(key)[:40]} is declared twice")
        if not view or view[0] is None:
            return storage
        _, start, count = view[0]
        inside = is_size(start) and is_size(count) and start + count <= len(storage.values)
        require(inside, "a view exceeds its storage")
        return storage._replace(values=storage.values[start : start + count])

    def _make_storage(self, kind: str, count: int) -> Storage:
        dtype = np.dtype(STORAGES[kind])
        self._remaining_bytes -= count * dtype.itemsize
        require(self._remaining_bytes >= 0, "it declares more data than the file holds")
        if kind != "BFloat16Storage":
            values = np.empty(count, dtype)
            return Storage(kind, values, values)
        values = np.zeros(count, "<f4")
        return Storage(kind, values, values.view("<u2")[1::2])

    def load_mark(self) -> None:
        if len(self.metastack) >= MAX_MARKS:
            raise pickle.UnpicklingError(f"its pickle nests more than {MAX_MARKS} levels deep")
        super().load_mark()

    def load_reduce(self) -> None:
        arguments = self.stack[-1]
        # The call would also unpack other sequences: a tensor into one object per element.
        require(type(arguments) is tuple, "it calls a function with arguments that are not a tuple")
        # The time to rebuild a tensor grows with its number of dimensions.
        self._count_calls(1 + sum(len(argument) for argument in arguments if type(argument) is tuple) // 8)
        super().load_reduce()

    def load_newobj(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        require(function is leftovers.skip and type(arguments) is tuple, "it creates an object that is not a leftover")
        self._count_calls(1)
        self.append(None)

    def load_append(self) -> None:
        if self.stack[-2] is None:
            self.stack.pop()
        else:
            super().load_append()

    def load_appends(self) -> None:
        if self.metastack[-1][-1] is None:
            self.pop_mark()
        else:
            super().load_appends()

    def load_binput(self) -> None:
        self._memoize(self.read(1)[0])

    def load_long_binput(self) -> None:
        self._memoize(int.from_bytes(self.read(4), "little"))

    def load_setitem(self) -> None:
        if self.stack[-3] is None:
            del self.stack[-2:]
            return
        self._check_items(self.stack[-3], self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        if self.metastack[-1][-1] is None:
            self.pop_mark()
            return
        self._check_items(self.metastack[-1][-1], self.stack[::2])
        super().load_setitems()

    def load_build(self) -> None:
        # A state dictionary has the versions of its modules as an attribute (`_metadata`), which is not needed.
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is leftovers.ScalarType:
            target.set_state(state)
        else:
            known = target is None or type(target) is dict
            require(known, "it sets attributes of something that is not a state dictionary")

    def _check_items(self, target: Any, keys: list[Any]) -> None:
        # Hashing nested tuples can take exponential time. The hashes of integers, unlike those of strings, are not
        # randomized: n keys can be chosen to collide, which takes n * n steps.
        fits = type(target) is dict and all(map(is_key, keys))
        require(fits, "a dictionary's key is neither a string nor an integer")
        self._integer_keys += sum(type(key) is int for key in keys)
        if self._integer_keys > MAX_INTEGER_KEYS:
            raise pickle.UnpicklingError(f"its dictionaries have more than {MAX_INTEGER_KEYS} integer keys")

    def _memoize(self, index: int) -> None:
        # Picklers number memo entries in order, from 0 or (cPickle) 1. Arbitrary numbers could collide, as keys can.
        if index > len(self.memo) + 1:
            count = len(self.memo)
            raise pickle.UnpicklingError(f"its memo entries are out of order: got number {index} after {count} entries")
        self.memo[index] = self.stack[-1]

    def _count_calls(self, count: int) -> None:
        self._calls += count
        if self._calls > MAX_CALLS:
            raise pickle.UnpicklingError(f"its pickle has more than {MAX_CALLS} calls, many more than a checkpoint's")

    dispatch = Opcodes({code[0]: pickle._Unpickler.dispatch[code[0]] for code in _UNCHANGED_OPCODES})
    dispatch |= {
        pickle.MARK[0]: load_mark, pickle.REDUCE[0]: load_reduce, pickle.BUILD[0]: load_build,
        pickle.NEWOBJ[0]: load_newobj, pickle.APPEND[0]: load_append, pickle.APPENDS[0]: load_appends,
        pickle.BINPUT[0]: load_binput, pickle.LONG_BINPUT[0]: load_long_binput,
        pickle.SETITEM[0]: load_setitem, pickle.SETITEMS[0]: load_setitems,
    }  # fmt: skip


def is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < LARGEST_INTEGER


def is_key(value: Any) -> bool:
    return type(value) is str or (type(value) is int and abs(value) < LARGEST_INTEGER)

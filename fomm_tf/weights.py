"""PyTorch checkpoint files to numpy and back, without torch.

Convention:
  * a checkpoint is a dictionary of dictionaries, lists, tuples, numbers, strings, booleans, None and tensors;
    tensors are numpy arrays of the dtype in the file (bfloat16, which numpy lacks, is widened to float32);
  * two containers are read: `zip` (torch since 1.6) and `legacy` (before: a stream of pickles, then raw storages).
    Only `zip` is written;
  * a file from the internet is hostile: no name outside `_NAMES` is ever looked up, nothing is allocated that the
    file's own size does not cover, and whatever goes wrong in reading is an `errors.UserError`.

Source: torch/serialization.py and torch/_weights_only_unpickler.py, whose opcode list is the model of ours.
"""

import contextlib
import io
import math
import mmap
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from fomm_tf import errors

_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # how every legacy file starts
_PROTOCOL = 1001
_LARGEST_PICKLE = 2 << 20  # bytes; a full-size checkpoint with three optimisers takes 130 kB
_LARGEST_TREE = 200_000  # entries; the same checkpoint has some five thousand
_DEEPEST_TREE = 32
_LARGEST_NUMBER = 1 << 60  # of a size or an integer key (torch 1.0 keys optimiser state by address)
_CHUNK = 1 << 18  # elements that are read at once

_STORAGES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "<u2", "LongStorage": "<i8",
    "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "|i1", "ByteStorage": "|u1", "BoolStorage": "|b1",
}  # fmt: skip
_STORAGE_OF_DTYPE = {np.dtype(dtype): name for name, dtype in _STORAGES.items() if name != "BFloat16Storage"}

_CURE = "give a file that torch.save wrote, whole and as it came: a .pth.tar is no archive to unpack"
_UNREADABLE = (
    ArithmeticError, AttributeError, BufferError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError,
    ValueError, pickle.UnpicklingError, struct.error, zipfile.BadZipFile,
)  # fmt: skip


def load(path: str | os.PathLike[str]) -> dict[Any, Any]:
    """Reads a checkpoint of either container.

    Args:
      path: a `.pth` or `.pth.tar` file.

    Returns:
      The whole tree, in the order of the file. Tensors that share a storage in the file share memory here.

    Raises:
      errors.UserError: if the file is missing, damaged, no checkpoint or hostile.
    """
    with _open_checkpoint(path) as (file, container):
        tree = (_read_zip if container == "zip" else _read_legacy)(file)
        _check_tree(tree)
    return tree


def describe(path: str | os.PathLike[str]) -> str:
    """Tells the container of a checkpoint, `zip` or `legacy`, from its first bytes.

    Raises:
      errors.UserError: if the file is missing or neither.
    """
    with _open_checkpoint(path) as (_, container):
        return container


def save(path: str | os.PathLike[str], tree: dict[Any, Any]) -> None:
    """Writes a checkpoint that `torch.load(path, weights_only=True)` reads.

    The file appears whole or not at all: it is written beside `path` and renamed.

    Args:
      path: the file; replaced if it is there.
      tree: what `load` returns. Numpy scalars become tensors without dimensions.

    Raises:
      errors.UserError: if the tree holds what a checkpoint cannot, or the file cannot be written.
    """
    if not isinstance(tree, dict):
        raise errors.UserError(f"{path}: a checkpoint is a dictionary, got {type(tree).__name__}; pass a dict.")
    pickler = _Pickler()
    try:
        pickler.put(tree)
    except (pickle.PicklingError, RecursionError) as error:
        cure = "give dictionaries with strings or integers as keys, lists, tuples, numbers, strings, None and arrays"
        raise errors.UserError(f"{path}: a checkpoint cannot hold this ({error}); {cure}.") from error
    temporary = f"{os.fspath(path)}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                _write_record(archive, "data.pkl", pickler.finish())
                _write_record(archive, "byteorder", b"little")
                for key, array in enumerate(pickler.arrays):
                    _write_record(archive, f"data/{key}", _as_bytes(array))
                _write_record(archive, "version", b"3\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        cure = "check the folder, its permissions and the free space"
        raise errors.UserError(f"{path} cannot be written ({error.strerror or error}); {cure}.") from error
    finally:
        with contextlib.suppress(OSError):
            os.remove(temporary)


class _Name(NamedTuple):
    """A global that a pickle refers to."""

    module: str
    name: str


class _Storage(NamedTuple):
    """A one-dimensional piece of memory that tensors are views of.

    Attributes:
      kind: torch's class, a key of `_STORAGES`.
      values: what tensors view.
      elements: where the file's elements go: `values`, or its upper halves for bfloat16.
    """

    kind: str
    values: np.ndarray
    elements: np.ndarray


def _new_dict() -> dict[Any, Any]:
    return {}


def _as_size(size: tuple[int, ...]) -> tuple[int, ...]:
    _require(type(size) is tuple, "a torch.Size is not made of a tuple")
    return size


def _rebuild_tensor(storage, offset, size, stride, requires_grad=False, hooks=None) -> np.ndarray:
    _require(
        type(storage) is _Storage and type(size) is type(stride) is tuple and len(size) == len(stride) <= 32,
        "a tensor without storage, size or stride",
    )
    _require(all(map(_is_size, (offset, *size, *stride))), "a tensor's size, stride or offset is no natural number")
    values, count = storage.values, math.prod(size)
    if count == 0:
        return np.empty(size, values.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    _require(
        # The second rule stops stride 0 from making terabytes of one element.
        last < len(values) and count <= len(values),
        f"a tensor of {count} elements up to number {last} in a storage of {len(values)}",
    )
    width = values.itemsize
    return np.ndarray(size, values.dtype, values, offset * width, [step * width for step in stride])


def _rebuild_parameter(tensor, requires_grad, hooks) -> np.ndarray:
    return tensor


_NAMES: dict[_Name, Any] = {
    _Name("collections", "OrderedDict"): _new_dict,
    _Name("torch", "Size"): _as_size,
    _Name("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    _Name("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    _Name("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{_Name("torch", kind): kind for kind in _STORAGES},
}


class _Opcodes(dict[int, Callable[..., None]]):
    """The pickle machine's instructions; those that torch never writes are refused."""

    def __missing__(self, code: int) -> None:
        raise pickle.UnpicklingError(f"pickle opcode {bytes([code])!r} has no place in a checkpoint")


# The C unpickler keeps its memo in an array, so one LONG_BINPUT with a large index makes it allocate tens of GB; the
# Python one keeps it in a dictionary, and lets us take instructions away.
class _Unpickler(pickle._Unpickler):
    """Unpickles plain values and tensors, and nothing else.

    Args:
      file: where the pickle is.
      room: how many bytes all storages together may take.
      read: reads a storage when it is first met; where None, the caller does so later.
    """

    def __init__(self, file: Any, room: int, read: Callable[[str, np.ndarray], None] | None = None) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}
        self._room = room
        self._read = read

    def find_class(self, module: str, name: str) -> Any:
        known = _NAMES.get(_Name(module, name))
        wanted = ascii(f"{module}.{name}")[:80]
        _require(known is not None, f"it asks for {wanted}, as no checkpoint does; nothing was run")
        return known

    def persistent_load(self, pid: Any) -> _Storage:
        _require(type(pid) is tuple and pid[0] == "storage", "it holds a whole module, not a state dictionary")
        _, kind, key, _, count, *view = pid
        known = type(key) is type(kind) is str and kind in _STORAGES and _is_size(count)
        _require(known, "a storage without name, kind or length")
        if key not in self.storages:
            self.storages[key] = self._make_storage(kind, count)
            if self._read:
                self._read(key, self.storages[key].elements)
        storage = self.storages[key]
        _require(storage.kind == kind and len(storage.values) == count, f"storage {ascii(key)[:40]} is declared twice")
        if not view or view[0] is None:
            return storage
        _, start, count = view[0]
        inside = _is_size(start) and _is_size(count) and start + count <= len(storage.values)
        _require(inside, "a view leaves its storage")
        return storage._replace(values=storage.values[start : start + count])

    def _make_storage(self, kind: str, count: int) -> _Storage:
        dtype = np.dtype(_STORAGES[kind])
        self._room -= count * dtype.itemsize
        _require(self._room >= 0, "it declares more data than the file holds")
        if kind != "BFloat16Storage":
            values = np.empty(count, dtype)
            return _Storage(kind, values, values)
        values = np.zeros(count, "<f4")
        return _Storage(kind, values, values.view("<u2")[1::2])

    def load_setitem(self) -> None:
        self._check_items(self.stack[-3], self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        self._check_items(self.metastack[-1][-1], self.stack[::2])
        super().load_setitems()

    def load_build(self) -> None:
        # A state dictionary carries the versions of its modules (`_metadata`), which nobody reads here.
        self.stack.pop()
        _require(type(self.stack[-1]) is dict, "it sets attributes of something that is no state dictionary")

    def _check_items(self, target: Any, keys: Iterable[Any]) -> None:
        # Hashing a nest of tuples takes for ever, and integers can be made to collide.
        fits = type(target) is dict and all(map(_is_key, keys))
        _require(fits, "a dictionary's key is neither a string nor an integer")

    dispatch = _Opcodes({
        code[0]: pickle._Unpickler.dispatch[code[0]]
        for code in (
            pickle.PROTO, pickle.STOP, pickle.MARK, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT,
            pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.BINFLOAT, pickle.BINUNICODE, pickle.EMPTY_DICT,
            pickle.EMPTY_LIST, pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3,
            pickle.APPEND, pickle.APPENDS, pickle.GLOBAL, pickle.REDUCE, pickle.BINPERSID, pickle.BINPUT,
            pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET,
        )
    })  # fmt: skip
    dispatch |= {pickle.SETITEM[0]: load_setitem, pickle.SETITEMS[0]: load_setitems, pickle.BUILD[0]: load_build}


class _Pickler:
    """Writes pickle instructions: pickle's own pickler cannot name globals of a torch that is not there."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self._out = bytearray(pickle.PROTO + b"\x02")

    def finish(self) -> bytes:
        return bytes(self._out + pickle.STOP)

    def put(self, value: Any, where: str = "tree") -> None:
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.newbyteorder("<") in _STORAGE_OF_DTYPE:
            self._put_tensor(np.asarray(value))
        elif value is None or type(value) is bool:
            self._out += {None: pickle.NONE, True: pickle.NEWTRUE, False: pickle.NEWFALSE}[value]
        elif type(value) is int and -(1 << 31) <= value < 1 << 31:
            self._out += pickle.BININT + struct.pack("<i", value)
        elif type(value) is int and abs(value) < _LARGEST_NUMBER:
            self._out += pickle.LONG1 + b"\x08" + struct.pack("<q", value)
        elif type(value) is float:
            self._out += pickle.BINFLOAT + struct.pack(">d", value)
        elif type(value) is str:
            text = value.encode("utf-8", "surrogatepass")
            self._out += pickle.BINUNICODE + struct.pack("<I", len(text)) + text
        elif type(value) is _Name:
            self._out += pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode()
        elif isinstance(value, dict) and all(map(_is_key, value)):
            self._out += pickle.EMPTY_DICT + pickle.MARK
            for key, entry in value.items():
                self.put(key)
                self.put(entry, f"{where}.{key}")
            self._out += pickle.SETITEMS
        elif isinstance(value, (list, tuple)):
            self._out += pickle.MARK if isinstance(value, tuple) else pickle.EMPTY_LIST + pickle.MARK
            for index, entry in enumerate(value):
                self.put(entry, f"{where}.{index}")
            self._out += pickle.TUPLE if isinstance(value, tuple) else pickle.APPENDS
        else:
            kind = f"array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
            raise pickle.PicklingError(f"{where} is a {kind}" + " with other keys" * isinstance(value, dict))

    def _put_tensor(self, array: np.ndarray) -> None:
        strides = tuple(math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim))
        self.put(_Name("torch._utils", "_rebuild_tensor_v2"))
        self._out += pickle.MARK
        self.put(self._declare_storage(array))
        self._out += pickle.BINPERSID
        for argument in (0, array.shape, strides, False, _Name("collections", "OrderedDict"), ()):
            self.put(argument)
        self._out += pickle.REDUCE + pickle.TUPLE + pickle.REDUCE

    def _declare_storage(self, array: np.ndarray) -> tuple[Any, ...]:
        self.arrays.append(array)
        kind = _STORAGE_OF_DTYPE[array.dtype.newbyteorder("<")]
        return ("storage", _Name("torch", kind), str(len(self.arrays) - 1), "cpu", array.size)


@contextlib.contextmanager
def _open_checkpoint(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, str]]:
    if os.path.isdir(path):
        raise errors.UserError(f"{path} is a folder; give the checkpoint itself: a .pth.tar is no archive to unpack.")
    if not os.path.isfile(path):
        raise errors.UserError(f"{path} is no file; give the path of a .pth or .pth.tar checkpoint.")
    try:
        with open(path, "rb") as file:
            head = file.read(512)
            _require(head[257:262] != b"ustar", "it is a real tar archive, and there is nothing in it to load")
            _require(head.startswith((b"PK\x03\x04", _MAGIC)), "it starts like no torch file")
            file.seek(0)
            yield file, "zip" if head.startswith(b"PK") else "legacy"
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())[:160]
        if not isinstance(error, pickle.UnpicklingError):
            reason = f"{type(error).__name__}: {reason}".removesuffix(": ")
        raise errors.UserError(f"{path} is not a readable torch checkpoint ({reason}); {_CURE}.") from error


def _read_zip(file: BinaryIO) -> Any:
    size = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        roots = [name.removesuffix("data.pkl") for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        _require(len(roots) == 1, "it is a zip archive without the data.pkl of a checkpoint")
        root = roots[0]
        program = root + "constants.pkl" in names or any(name.startswith(root + "code/") for name in names)
        _require(not program, "it is a TorchScript program of torch.jit.save, not a checkpoint")

        def read(name: str, limit: int = _LARGEST_PICKLE) -> BinaryIO:
            info = archive.getinfo(root + name)
            _require(
                info.compress_type == zipfile.ZIP_STORED and info.file_size == info.compress_size <= min(size, limit),
                f"record {ascii(name)[:40]} is compressed or larger than it may be",
            )
            return archive.open(info)

        def fill(key: str, elements: np.ndarray) -> None:
            with read(f"data/{key}", elements.size * elements.itemsize) as record:
                _fill(record, elements)

        if root + "byteorder" in names:
            _require(read("byteorder").read() == b"little", "its numbers are big-endian")
        return _Unpickler(io.BytesIO(read("data.pkl").read()), size, fill).load()


def _read_legacy(file: BinaryIO) -> Any:
    size = os.fstat(file.fileno()).st_size
    # Unlike a file, a map never allocates more for a read than there is to read.
    with mmap.mmap(file.fileno(), min(size, _LARGEST_PICKLE), access=mmap.ACCESS_READ) as pickles:
        unpickler = _Unpickler(pickles, size)
        _, protocol, system, tree, keys = (unpickler.load() for _ in range(5))
        file.seek(pickles.tell())
    _require(protocol == _PROTOCOL, "its protocol is not 1001")
    _require(system["little_endian"] is True, "its numbers are big-endian")
    known = type(keys) is list and all(type(key) is str for key in keys) and sorted(keys) == sorted(unpickler.storages)
    _require(known, "its list of storages does not fit its tensors")
    for key in keys:
        elements = unpickler.storages[key].elements
        _require(struct.unpack("<q", file.read(8)) == (len(elements),), f"storage {ascii(key)[:40]} has another length")
        _fill(file, elements)
    return tree


def _fill(stream: BinaryIO, elements: np.ndarray) -> None:
    # By pieces, so that a storage is never in memory twice.
    for start in range(0, len(elements), _CHUNK):
        piece = elements[start : start + _CHUNK]
        data = stream.read(piece.size * piece.itemsize)
        _require(len(data) == piece.size * piece.itemsize, "it is cut short")
        piece[:] = np.frombuffer(data, piece.dtype)


def _check_tree(tree: Any) -> None:
    _require(type(tree) is dict, f"it holds a {type(tree).__name__}, not a dictionary")
    pending, entries = [(tree, 0)], 0
    while pending:
        node, depth = pending.pop()
        if type(node) in (dict, list, tuple):
            entries += len(node)
            fits = depth < _DEEPEST_TREE and entries <= _LARGEST_TREE
            _require(fits, "its tree contains itself, or is far deeper or larger than that of a checkpoint")
            pending.extend((child, depth + 1) for child in (node.values() if type(node) is dict else node))
        else:
            _require(type(node) in (str, int, float, bool, type(None), np.ndarray), f"it holds a {type(node).__name__}")


def _write_record(archive: zipfile.ZipFile, name: str, data: bytes | np.ndarray) -> None:
    info = zipfile.ZipInfo(f"archive/{name}")
    info.file_size = len(data)
    with archive.open(info, "w") as record:
        record.write(data)


def _as_bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < _LARGEST_NUMBER


def _is_key(value: Any) -> bool:
    return type(value) is str or (type(value) is int and abs(value) < _LARGEST_NUMBER)


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise pickle.UnpicklingError(reason)

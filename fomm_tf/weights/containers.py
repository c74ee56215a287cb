"""Reads the two containers of checkpoints and writes one of them (see the package)."""

import contextlib
import io
import math
import mmap
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fomm_tf import errors, files
from fomm_tf.weights import foreign_files
from fomm_tf.weights.leftovers import Name, require
from fomm_tf.weights.unpickling import LARGEST_INTEGER, STORAGE_OF_DTYPE, Storage, Unpickler, is_key

_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # first bytes of every legacy file
_PROTOCOL = 1001
_LARGEST_PICKLE = 2 << 20  # bytes; a full-size checkpoint with three optimizers takes 130 kB
_LARGEST_TREE = 100_000  # entries; the same checkpoint has some five thousand
_DEEPEST_TREE = 32  # levels; the same checkpoint has 5
_TRAINING_ONLY = ("discriminator", "optimizer")  # how the names of entries start that no animation needs
_CHUNK = 1 << 18  # elements read at a time
# Bytes of tensors per byte of a compressed file. Float32 weights take 1.1, float16 values stored as float32 below 3.
_LARGEST_RATIO = 8

_CURE = "give an unmodified file written by torch.save; a .pth.tar must not be unpacked"
_TOO_LARGE = "its tree contains itself, or is much deeper or larger than that of a checkpoint"
_UNREADABLE = (
    ArithmeticError, AttributeError, BufferError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError,
    ValueError, pickle.UnpicklingError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def load(path: str | os.PathLike[str], networks_only: bool = False) -> dict[Any, Any]:
    """Reads a checkpoint.

    Args:
      path: a `.pth`, `.pth.tar` or `.pdparams` file.
      networks_only: skip the discriminator and the optimizers, two thirds of a training checkpoint: neither read nor
        held in memory.

    Returns:
      The whole tree, in the order of the file. Tensors that share a storage in the file share memory.

    Raises:
      errors.UserError: if the file is missing, damaged, malicious or not a checkpoint.
    """
    with _open_checkpoint(path) as (file, container):
        return _READERS[container](file, networks_only)


def describe(path: str | os.PathLike[str]) -> str:
    """Detects the container of a checkpoint, `zip`, `legacy` or `paddle`, from its first bytes.

    Raises:
      errors.UserError: if the file does not exist or is neither.
    """
    with _open_checkpoint(path) as (_, container):
        return container


def save(path: str | os.PathLike[str], tree: dict[Any, Any]) -> None:
    """Writes a checkpoint that `torch.load(path, weights_only=True)` reads, atomically.

    Args:
      path: the file; replaced if it exists.
      tree: as returned by `load`. NumPy scalars become tensors without dimensions.

    Raises:
      errors.UserError: if the tree has a value that a checkpoint cannot store, or the file cannot be written.
    """
    if not isinstance(tree, dict):
        raise errors.UserError(f"{path}: a checkpoint must be a dictionary; got {type(tree).__name__}.")
    pickler = Pickler()
    try:
        pickler.put(tree)
    except (pickle.PicklingError, RecursionError) as error:
        allowed = "dictionaries with string or integer keys, lists, tuples, numbers, strings, None and arrays"
        raise errors.UserError(f"{path}: a checkpoint cannot store this ({error}); use {allowed}.") from error
    with files.replace_atomically(Path(path)) as temporary, temporary.open("wb") as file:
        with zipfile.ZipFile(file, "w") as archive:
            _write_record(archive, "data.pkl", pickler.finish())
            _write_record(archive, "byteorder", b"little")
            for key, array in enumerate(pickler.arrays):
                _write_record(archive, f"data/{key}", as_bytes(array))
            _write_record(archive, "version", b"3\n")
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _open_checkpoint(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, str]]:
    if os.path.isdir(path):
        raise errors.UserError(f"{path} is a directory; give the checkpoint file: a .pth.tar must not be unpacked.")
    if not os.path.isfile(path):
        raise errors.UserError(f"{path} does not exist; give the path of a .pth or .pth.tar checkpoint.")
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
            require(head[257:262] != b"ustar", "it is a tar archive, not a file of torch.save")
            foreign_files.refuse(head, path)
            containers = {b"PK\x03\x04": "zip", _MAGIC: "legacy"} | dict.fromkeys(
                foreign_files.PADDLE_SIGNATURES, "paddle"
            )
            container = next((containers[start] for start in containers if head.startswith(start)), None)
            require(container is not None, "it does not start like a PyTorch file")
            file.seek(0)
            yield file, container
    except errors.UserError:
        raise
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())[:160]
        if not isinstance(error, pickle.UnpicklingError):
            reason = f"{type(error).__name__}: {reason}".removesuffix(": ")
        raise errors.UserError(f"{path} is not a readable torch checkpoint ({reason}); {_CURE}.") from error


def _read_zip(file: BinaryIO, networks_only: bool) -> dict[Any, Any]:
    size = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        # Without a root directory, the files were zipped by hand.
        pickles = [name for name in names if name.count("/") <= 1 and f"/{name}".endswith("/data.pkl")]
        roots = [name.removesuffix("data.pkl") for name in pickles]
        require(len(roots) == 1, "it is a zip archive without the data.pkl of a checkpoint")
        root = roots[0]
        deflated = any(info.compress_type == zipfile.ZIP_DEFLATED for info in archive.infolist())
        largest = size * _LARGEST_RATIO if deflated else size
        program = root + "constants.pkl" in names or any(name.startswith(root + "code/") for name in names)
        require(not program, "it is a TorchScript program of torch.jit.save, not a checkpoint")

        def read(name: str, limit: int = _LARGEST_PICKLE) -> BinaryIO:
            info = archive.getinfo(root + name)
            # The decompressors of bzip2 and LZMA cannot limit the size of their output.
            known = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
            require(known, f"record {ascii(name)[:40]} is compressed by another method than Deflate")
            require(
                info.compress_size <= size and info.file_size <= min(largest, limit),
                f"record {ascii(name)[:40]} is too large",
            )
            return archive.open(info)

        def read_whole(name: str) -> bytes:
            # A read without a size would decompress more than the directory declares.
            with read(name) as record:
                return record.read(archive.getinfo(root + name).file_size)

        if root + "byteorder" in names:
            require(read_whole("byteorder") == b"little", "its numbers are big-endian")
        unpickler = Unpickler(io.BytesIO(read_whole("data.pkl")), largest)
        tree, keys = _select(unpickler.load(), unpickler.storages, networks_only)
        for key in keys:
            elements = unpickler.storages[key].elements
            with read(f"data/{key}", elements.nbytes) as record:
                _fill(record, elements)
    return tree


def _read_legacy(file: BinaryIO, networks_only: bool) -> dict[Any, Any]:
    size = os.fstat(file.fileno()).st_size
    # Unlike a read from a file, one from a map never allocates more than the remaining bytes.
    with mmap.mmap(file.fileno(), min(size, _LARGEST_PICKLE), access=mmap.ACCESS_READ) as pickles:
        unpickler = Unpickler(pickles, size)
        _, protocol, system, tree, keys = (unpickler.load() for _ in range(5))
        file.seek(pickles.tell())
    require(protocol == _PROTOCOL, "its protocol is not 1001")
    require(system["little_endian"] is True, "its numbers are big-endian")
    known = type(keys) is list and all(type(key) is str for key in keys) and sorted(keys) == sorted(unpickler.storages)
    require(known, "its list of storages does not match its tensors")
    tree, needed = _select(tree, unpickler.storages, networks_only)
    for key in keys:
        elements = unpickler.storages[key].elements
        require(struct.unpack("<q", file.read(8)) == (len(elements),), f"storage {ascii(key)[:40]} has another length")
        if key in needed:
            _fill(file, elements)
        else:
            file.seek(elements.nbytes, os.SEEK_CUR)
    return tree


def _read_paddle(file: BinaryIO, networks_only: bool) -> dict[Any, Any]:
    return _select(foreign_files.read_paddle(file), {}, networks_only)[0]


_READERS = {"zip": _read_zip, "legacy": _read_legacy, "paddle": _read_paddle}


def _select(tree: Any, storages: dict[str, Storage], networks_only: bool) -> tuple[dict[Any, Any], dict[str, Storage]]:
    """Checks a tree; returns what to read of it, and the storages of that."""
    _check_tree(tree)
    if not networks_only:
        return tree, storages
    tree = {key: value for key, value in tree.items() if not str(key).startswith(_TRAINING_ONLY)}
    used, level = set(), [tree]
    while level:
        children = [child for node in level for child in (node.values() if type(node) is dict else node)]
        used |= {id(_memory(child)) for child in children if type(child) is np.ndarray}
        level = [child for child in children if type(child) in (dict, list, tuple)]
    return tree, {key: storage for key, storage in storages.items() if id(_memory(storage.values)) in used}


def _memory(array: np.ndarray) -> np.ndarray:
    """The array that a view belongs to."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _fill(stream: BinaryIO, elements: np.ndarray) -> None:
    # In chunks, so that a storage is never in memory twice.
    for start in range(0, len(elements), _CHUNK):
        chunk = elements[start : start + _CHUNK]
        data = stream.read(chunk.size * chunk.itemsize)
        require(len(data) == chunk.size * chunk.itemsize, "it is truncated")
        chunk[:] = np.frombuffer(data, chunk.dtype)


def _check_tree(tree: Any) -> None:
    require(type(tree) is dict, f"it holds a {type(tree).__name__}, not a dictionary")
    # Memo entries that are used repeatedly can make the tree much larger than its pickle.
    level, entries = [tree], 0
    for _ in range(_DEEPEST_TREE):
        parents, level = level, []
        for parent in parents:
            entries += len(parent)
            require(entries <= _LARGEST_TREE, _TOO_LARGE)
            for child in parent.values() if type(parent) is dict else parent:
                if type(child) in (dict, list, tuple):
                    level.append(child)
                elif type(child) not in (str, int, float, bool, type(None), np.ndarray):
                    raise pickle.UnpicklingError(f"it holds a {type(child).__name__}")
    require(not level, _TOO_LARGE)


def _write_record(archive: zipfile.ZipFile, name: str, data: bytes | np.ndarray) -> None:
    info = zipfile.ZipInfo(f"archive/{name}")
    info.file_size = len(data)
    with archive.open(info, "w") as record:
        record.write(data)


class Pickler:
    """Writes pickle opcodes; the standard pickler cannot refer to globals of torch, which is not installed."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self._out = bytearray(pickle.PROTO + b"\x02")

    def finish(self) -> bytes:
        return bytes(self._out + pickle.STOP)

    def put(self, value: Any, where: str = "tree") -> None:
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.newbyteorder("<") in STORAGE_OF_DTYPE:
            self._put_tensor(np.asarray(value))
        elif value is None or type(value) is bool:
            self._out += {None: pickle.NONE, True: pickle.NEWTRUE, False: pickle.NEWFALSE}[value]
        elif type(value) is int and -(1 << 31) <= value < 1 << 31:
            self._out += pickle.BININT + struct.pack("<i", value)
        elif type(value) is int and abs(value) < LARGEST_INTEGER:
            self._out += pickle.LONG1 + b"\x08" + struct.pack("<q", value)
        elif type(value) is float:
            self._out += pickle.BINFLOAT + struct.pack(">d", value)
        elif type(value) is str:
            text = value.encode("utf-8", "surrogatepass")
            self._out += pickle.BINUNICODE + struct.pack("<I", len(text)) + text
        elif type(value) is Name:
            self._out += pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode()
        elif isinstance(value, dict) and all(map(is_key, value)):
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
        self.put(Name("torch._utils", "_rebuild_tensor_v2"))
        self._out += pickle.MARK
        self.put(self._declare_storage(array))
        self._out += pickle.BINPERSID
        for argument in (0, array.shape, strides, False, Name("collections", "OrderedDict"), ()):
            self.put(argument)
        self._out += pickle.REDUCE + pickle.TUPLE + pickle.REDUCE

    def _declare_storage(self, array: np.ndarray) -> tuple[Any, ...]:
        self.arrays.append(array)
        kind = STORAGE_OF_DTYPE[array.dtype.newbyteorder("<")]
        return ("storage", Name("torch", kind), str(len(self.arrays) - 1), "cpu", array.size)


def as_bytes(array: np.ndarray) -> np.ndarray:
    """The elements as little-endian bytes, in row-major order."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)

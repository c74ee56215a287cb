"""The two containers of checkpoints (see the package)."""

import contextlib
import io
import mmap
import os
import pickle
import struct
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from fomm_tf import errors
from fomm_tf.weights.pickling import Pickler, as_bytes
from fomm_tf.weights.unpickling import Unpickler, require

_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # how every legacy file starts
_PROTOCOL = 1001
_LARGEST_PICKLE = 2 << 20  # bytes; a full-size checkpoint with three optimizers takes 130 kB
_LARGEST_TREE = 100_000  # entries; the same checkpoint has some five thousand
_DEEPEST_TREE = 32  # levels; the same checkpoint has 5
_CHUNK = 1 << 18  # elements that are read at once

_CURE = "give a file that torch.save wrote, whole and as it came: a .pth.tar is no archive to unpack"
_TOO_LARGE = "its tree contains itself, or is far deeper or larger than that of a checkpoint"
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
    pickler = Pickler()
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
                    _write_record(archive, f"data/{key}", as_bytes(array))
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


@contextlib.contextmanager
def _open_checkpoint(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, str]]:
    if os.path.isdir(path):
        raise errors.UserError(f"{path} is a folder; give the checkpoint itself: a .pth.tar is no archive to unpack.")
    if not os.path.isfile(path):
        raise errors.UserError(f"{path} is no file; give the path of a .pth or .pth.tar checkpoint.")
    try:
        with open(path, "rb") as file:
            head = file.read(512)
            require(head[257:262] != b"ustar", "it is a real tar archive, and there is nothing in it to load")
            require(head.startswith((b"PK\x03\x04", _MAGIC)), "it starts like no torch file")
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
        require(len(roots) == 1, "it is a zip archive without the data.pkl of a checkpoint")
        root = roots[0]
        program = root + "constants.pkl" in names or any(name.startswith(root + "code/") for name in names)
        require(not program, "it is a TorchScript program of torch.jit.save, not a checkpoint")

        def read(name: str, limit: int = _LARGEST_PICKLE) -> BinaryIO:
            info = archive.getinfo(root + name)
            require(
                info.compress_type == zipfile.ZIP_STORED and info.file_size == info.compress_size <= min(size, limit),
                f"record {ascii(name)[:40]} is compressed or larger than it may be",
            )
            return archive.open(info)

        def fill(key: str, elements: np.ndarray) -> None:
            with read(f"data/{key}", elements.size * elements.itemsize) as record:
                _fill(record, elements)

        if root + "byteorder" in names:
            require(read("byteorder").read() == b"little", "its numbers are big-endian")
        return Unpickler(io.BytesIO(read("data.pkl").read()), size, fill).load()


def _read_legacy(file: BinaryIO) -> Any:
    size = os.fstat(file.fileno()).st_size
    # Unlike a file, a map never allocates more for a read than there is to read.
    with mmap.mmap(file.fileno(), min(size, _LARGEST_PICKLE), access=mmap.ACCESS_READ) as pickles:
        unpickler = Unpickler(pickles, size)
        _, protocol, system, tree, keys = (unpickler.load() for _ in range(5))
        file.seek(pickles.tell())
    require(protocol == _PROTOCOL, "its protocol is not 1001")
    require(system["little_endian"] is True, "its numbers are big-endian")
    known = type(keys) is list and all(type(key) is str for key in keys) and sorted(keys) == sorted(unpickler.storages)
    require(known, "its list of storages does not fit its tensors")
    for key in keys:
        elements = unpickler.storages[key].elements
        require(struct.unpack("<q", file.read(8)) == (len(elements),), f"storage {ascii(key)[:40]} has another length")
        _fill(file, elements)
    return tree


def _fill(stream: BinaryIO, elements: np.ndarray) -> None:
    # By pieces, so that a storage is never in memory twice.
    for start in range(0, len(elements), _CHUNK):
        piece = elements[start : start + _CHUNK]
        data = stream.read(piece.size * piece.itemsize)
        require(len(data) == piece.size * piece.itemsize, "it is cut short")
        piece[:] = np.frombuffer(data, piece.dtype)


def _check_tree(tree: Any) -> None:
    require(type(tree) is dict, f"it holds a {type(tree).__name__}, not a dictionary")
    # Memo entries that are used many times can make the tree much larger than its pickle.
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

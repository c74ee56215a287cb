"""Creates PyTorch files for tests without torch: legacy checkpoints, and given pickles in both containers."""

import os
import pickle
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

from fomm_tf.weights import containers, unpickling


class _LegacyPickler(containers.Pickler):
    """Names storages as torch 1.0 did: by address, on a device, with the (absent) view of a storage."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.keys: list[str] = []
        self._device = device

    def _declare_storage(self, array):
        tag, kind, _, _, count = super()._declare_storage(array)
        self.keys.append(str(94030040710544 + 64 * len(self.keys)))
        return (tag, kind, self.keys[-1], self._device, count, None)


def write_legacy(path: str | os.PathLike[str], tree: dict[Any, Any], device: str = "cpu") -> None:
    """Writes the container of torch 1.0.

    Args:
      path: the file.
      tree: as for `weights.save`.
      device: the device tag of storages, such as `cpu` or `cuda:0`.
    """
    pickler = _LegacyPickler(device)
    pickler.put(tree)
    with open(path, "wb") as file:
        file.write(pack_legacy(pickler.finish(), pickler.keys))
        for _, array in sorted(zip(pickler.keys, pickler.arrays, strict=True), key=lambda pair: pair[0]):
            file.write(struct.pack("<q", array.size))
            file.write(containers.as_bytes(array))


def pack_legacy(body: bytes, keys: Any = (), system: Any = None, protocol: int = 1001) -> bytes:
    """Puts the pickle `body` into the legacy container, without the storages."""
    sizes = {"short": 2, "int": 4, "long": 4}
    system = system or {"protocol_version": protocol, "little_endian": True, "type_sizes": sizes}
    head = [pickle.dumps(part, protocol=2) for part in (0x1950A86A20F9469CFC6C, protocol, system)]
    return b"".join([*head, body, pickle.dumps(sorted(keys), protocol=2)])


def write_zip(
    path: str | os.PathLike[str],
    body: bytes,
    records: Mapping[str, bytes] | None = None,
    root: str = "archive",
    compression: int = zipfile.ZIP_STORED,
) -> None:
    """Puts the pickle `body` and other records into the zip container.

    Args:
      path: the file.
      body: the bytes of `data.pkl`.
      records: by name below the root directory, such as `data/0`.
      root: the root directory.
      compression: of every record; torch compresses none.
    """
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in {"data.pkl": body, **(records or {})}.items():
            archive.writestr(zipfile.ZipInfo(f"{root}/{name}"), data, compression)


def pickle_call(name: str, *arguments: Any) -> bytes:
    """The pickle of `{"x": name(*arguments)}`, with `name` as in `os.system`."""
    pickler = containers.Pickler()
    module, _, function = name.rpartition(".")
    pickler.put(unpickling.Name(module, function))
    pickler.put(arguments)
    value = pickler.finish()[2:-1] + pickle.REDUCE
    return b"\x80\x02}" + put("x") + value + b"s."


def pickle_tensor(
    size: tuple[Any, ...],
    stride: tuple[Any, ...],
    offset: Any = 0,
    count: Any = 6,
    kind: str = "FloatStorage",
    view: Any = None,
    key: Any = "0",
) -> bytes:
    """The instructions that leave one tensor on the stack, over storage 0 of `count` elements by default."""
    storage = b"(" + put("storage") + put(unpickling.Name("torch", kind)) + put(key) + put("cpu") + put(count)
    storage += (b"" if view is None else put(view)) + b"tQ"
    arguments = storage + put(offset) + put(size) + put(stride) + put(False) + b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def pickle_dict(**entries: bytes) -> bytes:
    """The pickle of a dictionary whose values are given as instructions."""
    return b"\x80\x02}(" + b"".join(put(name) + entry for name, entry in entries.items()) + b"u."


def put(value: Any) -> bytes:
    """The instructions that leave `value` on the stack."""
    pickler = containers.Pickler()
    pickler.put(value)
    return pickler.finish()[2:-1]

"""Pickle instructions for checkpoints (see the package)."""

import math
import pickle
import struct
from typing import Any

import numpy as np

from fomm_tf.weights.unpickling import LARGEST_NUMBER, STORAGE_OF_DTYPE, Name, is_key


class Pickler:
    """Writes pickle instructions: pickle's own pickler cannot name globals of a torch that is not there."""

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
        elif type(value) is int and abs(value) < LARGEST_NUMBER:
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
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)

"""Reads PaddlePaddle's `.pdparams`: one pickle whose tensors are NumPy arrays.

Convention:
  * files of `paddle.save`, and of `pickle.dump` as in PaddleGAN, with protocols 2 to 4;
  * `paddle.save` writes a tensor as the pair of its name and an array, or as an array; the table of parameter names
    that it adds is dropped;
  * the running statistics of batch normalization, `_mean` and `_variance`, get PyTorch's names.

The same limits apply as to PyTorch's files; see `unpickling`.
"""

import mmap
import os
import pickle
from typing import Any, BinaryIO

import numpy as np

from fomm_tf.weights import foreign, unpickling
from fomm_tf.weights.foreign import Name, require

# The beginning of a pickle of a dictionary, with protocols 2, 3 and 4.
SIGNATURES = (b"\x80\x02}", b"\x80\x03}", b"\x80\x04\x95")
_PARAMETER_NAMES = "StructuredToParameterName@@"
_STATISTICS = {"_mean": "running_mean", "_variance": "running_var"}


def read(file: BinaryIO) -> Any:
    """Reads a whole file; raises what `Unpickler` raises."""
    size = os.fstat(file.fileno()).st_size
    # A read from a map never allocates more than the remaining bytes.
    with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data:
        tree = _Unpickler(data, size).load()
    require(type(tree) is dict, f"it holds a {type(tree).__name__}, not a dictionary")
    return {
        _rename(key): {_rename(name): child for name, child in value.items()} if type(value) is dict else value
        for key, value in tree.items()
        if key != _PARAMETER_NAMES
    }


def _rename(name: Any) -> Any:
    prefix, dot, last = str(name).rpartition(".")
    return prefix + dot + _STATISTICS[last] if last in _STATISTICS else name


def _reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray:
    require(kind is np.ndarray and shape == (0,) and code in (b"b", "b"), "an array of an unknown kind")
    return np.empty(0, np.int8)


def _tensor(*arguments: Any) -> Any:
    require(len(arguments) == 1 and type(arguments[0]) in (tuple, list), "a tensor that is not a name and an array")
    return next((each for each in arguments[0] if type(each) is np.ndarray), None)


class _Unpickler(unpickling.Unpickler):
    """Unpickles plain values and NumPy arrays of numbers only."""

    names = unpickling.NAMES | {
        **{Name(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
        Name("numpy", "ndarray"): np.ndarray,
        **{Name(module, "tuple"): _tensor for module in ("builtins", "__builtin__")},
    }

    def load_build(self) -> None:
        if type(self.stack[-2]) is np.ndarray:
            self._set_array(self.stack[-2], self.stack.pop())
        else:
            super().load_build()

    def _set_array(self, array: np.ndarray, state: Any) -> None:
        require(type(state) is tuple and len(state) == 5, "an array of an unknown form")
        _, shape, scalar, is_fortran, data = state
        known = type(scalar) is foreign.ScalarType and scalar.dtype is not None and type(data) is bytes
        require(known and type(is_fortran) is bool, "an array that does not consist of numbers")
        fits = type(shape) is tuple and len(shape) <= 8 and all(map(unpickling.is_size, shape))
        require(fits and array.size == 0, "an array's shape is not of natural numbers")
        require(len(data) == scalar.dtype.itemsize * int(np.prod(shape, dtype=object)), "an array of another size")
        array.__setstate__((1, shape, scalar.dtype, is_fortran, data))

    def load_frame(self) -> None:
        self.read(8)  # frames only help to read ahead

    def load_memoize(self) -> None:
        self._memoize(len(self.memo))

    def load_stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        require(type(name) is type(module) is str, "a global whose name is not text")
        self.append(self.find_class(module, name))

    dispatch = unpickling.Opcodes(
        unpickling.Unpickler.dispatch
        | {
            code[0]: pickle._Unpickler.dispatch[code[0]]
            for code in (
                pickle.SHORT_BINUNICODE, pickle.BINUNICODE8, pickle.SHORT_BINBYTES, pickle.BINBYTES, pickle.BINBYTES8,
            )
        }
        | {
            pickle.BUILD[0]: load_build, pickle.FRAME[0]: load_frame, pickle.MEMOIZE[0]: load_memoize,
            pickle.STACK_GLOBAL[0]: load_stack_global,
        }
    )  # fmt: skip

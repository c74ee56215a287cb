"""Files that are not PyTorch's: PaddlePaddle's `.pdparams` are read, others are recognized and refused by name.

Convention for `.pdparams`, one pickle whose tensors are NumPy arrays:
  * files of `paddle.save`, and of `pickle.dump` as in PaddleGAN, with protocols 2 to 4;
  * `paddle.save` writes a tensor as the pair of its name and an array, or as an array; the table of parameter names
    that it adds is dropped;
  * the running statistics of batch normalization, `_mean` and `_variance`, get PyTorch's names.

The same limits apply as to PyTorch's files; see `unpickling`.
"""

import mmap
import os
import pickle
import re
from typing import Any, BinaryIO

import numpy as np

from fomm_tf import errors
from fomm_tf.weights import leftovers, unpickling
from fomm_tf.weights.leftovers import Name, require

_DOWNLOAD = "download the checkpoint again; a link may need a login or a confirmation in the browser"
_UNPACK = "unpack it, and give the .pth or .pth.tar in it"
_TORCH = "give the .pth or .pth.tar that torch.save wrote"
_SIGNATURES = (
    (b"version https://git-lfs.github.com/", "a Git LFS pointer", "fetch the checkpoint itself with `git lfs pull`"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as of Keras", _TORCH),
    (b"\x93NUMPY", "a NumPy array", _TORCH),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"GGUF", "a GGUF file", _TORCH),
)
_LARGEST_SAFETENSORS_HEADER = 100_000_000  # bytes; the limit of the format
_FIRST_ONNX_VERSION = 3  # of the format, the first that was published
# What follows the version in an ONNX model: tags of the protocol buffer's other fields.
_ONNX_TAGS = (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72)


def refuse(head: bytes, path: str | os.PathLike[str]) -> None:
    """Raises an error that names the format of a file, if it is a known one that is not PyTorch's.

    Args:
      head: the first bytes of the file, at least 512 of a longer file.
      path: the file, for the message.

    Raises:
      errors.UserError: if the format is recognized.
    """
    if recognized := _recognize(head):
        raise errors.UserError("{} is {}, not a PyTorch checkpoint; {}.".format(path, *recognized))


def _recognize(head: bytes) -> tuple[str, str] | None:
    """The name of the format and what to do."""
    for signature, kind, cure in _SIGNATURES:
        if head.startswith(signature):
            return kind, cure
    text = _decode(head).lstrip().lower()
    if re.match(r"<(!doctype\s+html|!--|html|head|body|title|script|meta|[a-z]+[\s>])", text):
        return "an HTML page (a web page)", _DOWNLOAD
    if text.startswith("<?xml"):
        name = "an HTML page (a web page)" if "<html" in text else "an XML document, as of a failed download"
        return name, _DOWNLOAD
    if re.match(r"\{\s*\"", text):
        return "a JSON document, as of a failed download", _DOWNLOAD
    if int.from_bytes(head[:8], "little") <= _LARGEST_SAFETENSORS_HEADER and head[8:9] == b"{":
        return "a safetensors file", f"{_TORCH}, or convert it with torch.save(safetensors.torch.load_file(FILE), OUT)"
    if len(head) > 2 and head[0] == 8 and _FIRST_ONNX_VERSION <= head[1] < 32 and head[2] in _ONNX_TAGS:
        return "an ONNX model", f"{_TORCH}: an exported model cannot be converted back"
    if head[4:8] == b"TFL3":
        return "a TFLite model", f"{_TORCH}: an exported model cannot be converted back"
    return None


def _decode(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "replace").lstrip("\ufeff")
    return head.decode("utf-8-sig", "replace")


# The beginning of a pickle of a dictionary, with protocols 2, 3 and 4.
PADDLE_SIGNATURES = (b"\x80\x02}", b"\x80\x03}", b"\x80\x04\x95")
_PARAMETER_NAMES = "StructuredToParameterName@@"
_STATISTICS = {"_mean": "running_mean", "_variance": "running_var"}


def read_paddle(file: BinaryIO) -> Any:
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
        known = type(scalar) is leftovers.ScalarType and scalar.dtype is not None and type(data) is bytes
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

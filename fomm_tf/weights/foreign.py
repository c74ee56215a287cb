"""What is not PyTorch's in files that are given as checkpoints.

Files of other formats, given by mistake, are refused by name. What training scripts leave beside tensors (options,
dates, counters, NumPy scalars) is skipped: none of the named classes is imported or called; a NumPy scalar becomes a
number; everything else becomes None, and what the pickle would put into it is dropped.
"""

import os
import pickle
import re
from typing import Any, NamedTuple

import numpy as np

from fomm_tf import errors

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


class Name(NamedTuple):
    """A global that a pickle refers to."""

    module: str
    name: str


class ScalarType:
    """The dtype of a NumPy scalar.

    Args:
      code: NumPy's code without byte order, such as `f8`.
    """

    __slots__ = ("_code", "_order")

    def __init__(self, code: Any, *_: Any) -> None:
        self._code = code if type(code) is str and re.fullmatch("[fiu][248]|[iub]1", code) else None
        self._order = "<"

    def set_state(self, state: Any) -> None:
        """Sets the byte order from the state that NumPy pickles."""
        valid = type(state) is tuple and len(state) > 1 and type(state[1]) is str and state[1] in ("<", ">", "|", "=")
        require(valid, "a NumPy dtype without byte order")
        self._order = ">" if state[1] == ">" else "<"

    @property
    def dtype(self) -> np.dtype | None:
        """NumPy's dtype; None for those that are not numbers."""
        return None if self._code is None else np.dtype(self._order + self._code)

    def decode(self, data: Any) -> int | float | bool | None:
        """Returns the number that `data` holds; None for dtypes that are not numbers."""
        dtype = self.dtype
        if dtype is None:
            return None
        require(type(data) is bytes and len(data) == dtype.itemsize, "a NumPy scalar of another size than its dtype")
        return np.frombuffer(data, dtype)[0].item()


def skip(*_: Any) -> None:
    """Stands for every class whose objects are skipped."""


def require(condition: bool, reason: str) -> None:
    """Raises `pickle.UnpicklingError` with `reason` unless `condition` holds."""
    if not condition:
        raise pickle.UnpicklingError(reason)


def _scalar(dtype: Any, data: Any = None) -> int | float | bool | None:
    require(type(dtype) is ScalarType, "a NumPy scalar without dtype")
    return dtype.decode(data)


def _encode(text: Any, encoding: Any) -> bytes:
    # Protocol 2 has no bytes; picklers write them as text.
    known = type(text) is type(encoding) is str and encoding in ("latin1", "latin-1")
    require(known, "bytes that are not Latin-1 text")
    return text.encode("latin-1")


_BUILTINS = (
    "bool", "bytearray", "complex", "dict", "float", "frozenset", "int", "list", "range", "set", "slice", "str",
    "tuple",
)  # fmt: skip
_PATHS = ("Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath")
_SKIPPED = {
    "argparse": ("Namespace",),
    "optparse": ("Values",),
    "types": ("SimpleNamespace",),
    "collections": ("Counter", "deque"),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "uuid": ("UUID",),
    "pathlib": _PATHS,
    "pathlib._local": _PATHS,
    "__builtin__": _BUILTINS,
    "builtins": _BUILTINS,
    "easydict": ("EasyDict",),
    "yacs.config": ("CfgNode",),
    "torch": ("device",),
}
_TORCH_DTYPES = (
    "float16", "float32", "float64", "bfloat16", "uint8", "int8", "int16", "int32", "int64", "bool", "half", "float",
    "double", "long", "int", "short",
)  # fmt: skip

NAMES: dict[Name, Any] = {
    **{Name(module, name): skip for module, names in _SKIPPED.items() for name in names},
    **{Name("torch", name): None for name in _TORCH_DTYPES},
    **{Name(module, "scalar"): _scalar for module in ("numpy.core.multiarray", "numpy._core.multiarray")},
    Name("numpy", "dtype"): ScalarType,
    Name("_codecs", "encode"): _encode,
    **{Name(module, "bytes"): lambda: b"" for module in ("__builtin__", "builtins")},
    Name("collections", "defaultdict"): lambda *_: {},
}


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

"""What training scripts leave in checkpoints beside tensors: options, dates, counters, NumPy scalars.

None of the named classes is imported or called. A NumPy scalar becomes a number; everything else becomes None, and what
the pickle would put into it is dropped.
"""

import pickle
import re
from typing import Any, NamedTuple

import numpy as np


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

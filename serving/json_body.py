"""JSON with NumPy arrays: orjson where it is installed, else Python's `json`, which is several times slower."""

from __future__ import annotations

import base64
import json

import numpy as np

try:
    import orjson
except ImportError:
    orjson = None

# Digits that distinguish every float32 from its neighbors.
_FLOAT32_DIGITS = 9


def dumps(value: object) -> bytes:
    """Serializes dictionaries, lists, strings, numbers and arrays of numbers; float32 values are restored exactly."""
    if orjson is not None:
        return orjson.dumps(value, default=_to_contiguous, option=orjson.OPT_SERIALIZE_NUMPY)
    return json.dumps(value, default=_to_list, separators=(",", ":")).encode()


def encode_base64(array: np.ndarray) -> list:
    """Converts an array of bytes to nested lists of `{"b64": ...}`, as TF-Serving's REST API expects bytes."""
    return np.frompyfunc(lambda data: {"b64": base64.b64encode(data).decode()}, 1, 1)(array).tolist()


def loads(body: bytes) -> object:
    """Parses JSON, and NaN and Infinity, which TF-Serving reads and writes too.

    Raises:
      ValueError, RecursionError: if it is not JSON, or nested too deeply.
    """
    if orjson is not None:
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass  # Python's parser knows NaN and Infinity, and reports where an error is
    return json.loads(body)


def _to_contiguous(value: object) -> np.ndarray:
    """Converts an array that orjson does not take as it is."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{type(value).__name__} is not JSON serializable")
    return np.ascontiguousarray(value)


def _to_list(value: object) -> list:
    array = _to_contiguous(value)
    return (_round_float32(array) if array.dtype == np.float32 else array).tolist()


def _round_float32(array: np.ndarray) -> np.ndarray:
    """Finite float32 values as the float64 values nearest to their first nine digits, which `json` writes."""
    values = array.astype(np.float64)
    magnitudes = np.abs(values, where=values != 0, out=np.ones_like(values))
    scales = 10.0 ** (_FLOAT32_DIGITS - 1 - np.floor(np.log10(magnitudes)))
    return np.rint(values * scales) / scales

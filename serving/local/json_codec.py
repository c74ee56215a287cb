"""TF-Serving's JSON: row format (`instances`) and columnar format (`inputs`), bytes as `{"b64": ...}`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fomm_tf.serving import json_body
from fomm_tf.serving.local import servable, status

_BASE64 = "b64"
# Outputs with this suffix are returned in base64, as in TF-Serving.
_BYTES_SUFFIX = "_bytes"


class PredictBody(NamedTuple):
    """The parsed body of a predict request."""

    signature: str  # its name
    row_format: bool  # whether the inputs came as `instances`; the outputs are then returned as `predictions`
    values: object  # the value of `instances` or `inputs`


def parse(body: bytes) -> PredictBody:
    """Parses the body of a predict request.

    Raises:
      status.RpcError: INVALID_ARGUMENT, if it is not such a request.
    """
    try:
        request = json_body.loads(body)
    except (ValueError, RecursionError) as error:
        raise status.invalid_argument(f"JSON parse error: {error}") from None
    kind = type(request).__name__
    is_object = isinstance(request, dict)
    status.require(is_object, f"request: got {kind}; expected a JSON object with inputs or instances.")
    signature = request.get("signature_name", servable.DEFAULT_SIGNATURE)
    kind = type(signature).__name__
    status.require(isinstance(signature, str), f"signature_name: got {kind}; expected a string.")
    formats = [name for name in ("instances", "inputs") if name in request]
    got = " and ".join(formats) or "neither inputs nor instances"
    status.require(len(formats) == 1, f"request: got {got}; expected one of the two.")
    values, row_format = request[formats[0]], formats == ["instances"]
    if row_format:
        status.require(isinstance(values, list) and values, "instances: expected a list with at least one item.")
    return PredictBody(signature or servable.DEFAULT_SIGNATURE, row_format, values)


def decode(body: PredictBody, specs: Mapping[str, tf.TensorSpec], max_frames: int) -> servable.Arrays:
    """Converts a request's inputs to checked arrays.

    Args:
      body: the request.
      specs: the signature's inputs.
      max_frames: limit along the variable axes; see `servable.check_shape`.

    Raises:
      status.RpcError: INVALID_ARGUMENT; names the input.
    """
    columns = _columns(body, specs)
    servable.check_names(body.signature, columns, specs)
    return {name: _array(name, columns[name], specs[name], max_frames) for name in specs}


def encode(outputs: servable.Arrays, row_format: bool) -> bytes:
    """Returns the body of a response; a single output has no name there, as in TF-Serving."""
    values = {name: _json_value(name, array) for name, array in outputs.items()}
    if row_format:
        rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
        response = {"predictions": rows if len(values) > 1 else next(iter(values.values()))}
    else:
        response = {"outputs": values if len(values) > 1 else next(iter(values.values()))}
    return json_body.dumps(response)


def _columns(body: PredictBody, specs: Mapping[str, tf.TensorSpec]) -> dict[str, object]:
    """Returns input -> nested lists with the batch axis first."""
    if body.row_format:
        rows = body.values
        is_named = [_is_named(row) for row in rows]
        one_kind = all(is_named) or not any(is_named)
        status.require(one_kind, "instances: got both objects and plain values; expected one kind.")
        if is_named[0]:
            equal = all(row.keys() == rows[0].keys() for row in rows)
            status.require(equal, "instances: got objects with different keys; expected equal keys.")
            return {name: [row[name] for row in rows] for name in rows[0]}
    elif _is_named(body.values):
        return body.values
    expected = f"an object with {', '.join(sorted(specs))}"
    status.require(len(specs) == 1, f"inputs of {body.signature}: got values without names; expected {expected}.")
    return {next(iter(specs)): body.values}


def _array(name: str, value: object, spec: tf.TensorSpec, max_frames: int) -> np.ndarray:
    if spec.dtype == tf.string:
        array = _bytes_array(name, value, spec)
    else:
        try:
            array = np.array(value)
        except (ValueError, OverflowError):
            raise status.invalid_argument(f"{name}: got lists of different length, or numbers out of range.") from None
    if array.dtype.kind not in _KINDS[spec.dtype] and array.size:
        raise status.invalid_argument(f"{name}: got values that are not {spec.dtype.name}.")
    servable.check_shape(name, spec.dtype, list(array.shape), spec, max_frames)
    return _cast(name, array, spec.dtype)


# NumPy's kinds for JSON values that can be cast to each dtype.
_KINDS = {tf.float32: "fiu", tf.uint8: "iu", tf.bool: "b", tf.string: "O"}


def _cast(name: str, array: np.ndarray, dtype: tf.DType) -> np.ndarray:
    if dtype == tf.string:
        return array
    if dtype.is_integer and (array.min() < dtype.min or array.max() > dtype.max):
        raise status.invalid_argument(f"{name}: got values outside of {dtype.min} to {dtype.max}.")
    with np.errstate(over="ignore"):  # the model itself rejects infinite values
        return array.astype(dtype.as_numpy_dtype)


def _bytes_array(name: str, value: object, spec: tf.TensorSpec) -> np.ndarray:
    """Converts strings and base64 objects in nested lists, one level per axis of the signature."""
    values = np.array(value, object)
    rank = spec.shape.rank
    status.require(values.ndim == rank, f"{name}: expected lists of the same length, nested {rank} deep.")
    return np.frompyfunc(lambda item: _bytes(name, item), 1, 1)(values)


def _bytes(name: str, value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    status.require(_is_base64(value), f'{name}: expected strings or {{"{_BASE64}": "..."}}.')
    try:
        return base64.b64decode(value[_BASE64], validate=True)
    except (binascii.Error, ValueError) as error:
        raise status.invalid_argument(f"{name}: got invalid base64: {error}") from None


def _is_named(value: object) -> bool:
    """Whether it is an object of inputs by name, not a base64 object."""
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == {_BASE64} and isinstance(value[_BASE64], str)


def _json_value(name: str, array: np.ndarray) -> object:
    if array.dtype != object:
        return array
    if name.endswith(_BYTES_SUFFIX):
        return json_body.encode_base64(array)
    return np.frompyfunc(lambda item: item.decode("utf-8", "replace"), 1, 1)(array).tolist()

"""TF-Serving's JSON: row format (`instances`) and columnar format (`inputs`), bytes as `{"b64": ...}`.

Its functions run in the parsing process for large messages (see `fomm_tf.serving.local.codec_pool`): arguments, results
and exceptions can be pickled, and nothing here imports TensorFlow.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from fomm_tf.serving import json_body
from fomm_tf.serving.local import inputs, status

_BASE64 = "b64"
# Outputs with this suffix are returned in base64, as in TF-Serving.
_BYTES_SUFFIX = "_bytes"
# NumPy's kinds for JSON values that can be cast to each dtype.
_KINDS = {"float32": "fiu", "uint8": "iu", "bool": "b", "string": "O"}
_BOOLEANS = re.compile(rb"\b(?:true|false)\b")


class Prediction(NamedTuple):
    """A predict request."""

    signature: str  # its name
    row_format: bool  # whether the inputs came as `instances`; the outputs are then returned as `predictions`
    arrays: inputs.Arrays  # checked, by name


class _Body(NamedTuple):
    signature: str
    row_format: bool
    values: object  # the value of `instances` or `inputs`


def decode(body: bytes, signatures: inputs.Signatures, sizes: inputs.Sizes) -> Prediction:
    """Converts the body of a predict request to checked arrays.

    Args:
      body: JSON.
      signatures: the model's.
      sizes: limits of the inputs.

    Raises:
      status.RpcError: if it is not such a request; names the input.
    """
    parsed = _parse(body)
    specs = inputs.find_signature(signatures, parsed.signature)
    columns = _columns(parsed, specs)
    inputs.check_names(parsed.signature, columns, specs)
    arrays = {name: _array(name, columns[name], specs[name], sizes) for name in specs}
    booleans = sum(array.size for array in arrays.values() if array.dtype == bool)
    if len(_BOOLEANS.findall(body)) > booleans:  # rarely: then each value is looked at
        for name, spec in specs.items():
            is_number = spec.dtype not in ("bool", "string")
            message = f"{name}: got true or false among the values; expected {spec.dtype}."
            status.require(not is_number or bool not in map(type, _leaves(columns[name])), message)
    return Prediction(parsed.signature, parsed.row_format, arrays)


def encode(outputs: inputs.Arrays, row_format: bool) -> bytes:
    """Returns the body of a response; a single output has no name there, as in TF-Serving."""
    values = {name: _json_value(name, array) for name, array in outputs.items()}
    if row_format:
        rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
        response = {"predictions": rows if len(values) > 1 else next(iter(values.values()))}
    else:
        response = {"outputs": values if len(values) > 1 else next(iter(values.values()))}
    return json_body.dumps(response)


def _parse(body: bytes) -> _Body:
    try:
        request = json_body.loads(body)
    except (ValueError, RecursionError) as error:
        raise status.invalid_argument(f"JSON parse error: {error}") from None
    kind = type(request).__name__
    is_object = isinstance(request, dict)
    status.require(is_object, f"request: got {kind}; expected a JSON object with inputs or instances.")
    signature = request.get("signature_name", inputs.DEFAULT_SIGNATURE)
    kind = type(signature).__name__
    status.require(isinstance(signature, str), f"signature_name: got {kind}; expected a string.")
    formats = [name for name in ("instances", "inputs") if name in request]
    got = " and ".join(formats) or "neither inputs nor instances"
    status.require(len(formats) == 1, f"request: got {got}; expected one of the two.")
    values, row_format = request[formats[0]], formats == ["instances"]
    if row_format:
        status.require(isinstance(values, list) and values, "instances: expected a list with at least one item.")
    return _Body(signature or inputs.DEFAULT_SIGNATURE, row_format, values)


def _columns(body: _Body, specs: Mapping[str, inputs.Spec]) -> dict[str, object]:
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


def _array(name: str, value: object, spec: inputs.Spec, sizes: inputs.Sizes) -> np.ndarray:
    if spec.dtype == "string":
        array = _bytes_array(name, value, spec)
    else:
        try:
            array = np.array(value)
        except (ValueError, OverflowError):
            raise status.invalid_argument(f"{name}: got lists of different length, or numbers out of range.") from None
    if array.dtype.kind not in _KINDS[spec.dtype] and array.size:
        raise status.invalid_argument(f"{name}: got values that are not {spec.dtype}.")
    inputs.check_shape(name, spec.dtype, list(array.shape), spec, sizes)
    return _cast(name, array, spec.dtype)


def _cast(name: str, array: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "string":
        return array
    if dtype == "uint8" and (array.min() < 0 or array.max() > 255):
        raise status.invalid_argument(f"{name}: got values outside of 0 to 255.")
    with np.errstate(over="ignore"):  # the model itself rejects infinite values
        return array.astype(inputs.DTYPES[dtype])


def _leaves(value: object) -> Iterator[object]:
    """The values of nested lists."""
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _bytes_array(name: str, value: object, spec: inputs.Spec) -> np.ndarray:
    """Converts strings and base64 objects in nested lists, one level per axis of the signature."""
    values = np.array(value, object)
    rank = len(spec.shape)
    status.require(values.ndim == rank, f"{name}: expected lists of the same length, nested {rank} deep.")
    return np.frompyfunc(lambda item: _bytes(name, item), 1, 1)(values)


def _bytes(name: str, value: object) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise status.invalid_argument(f"{name}: got a string with half of a surrogate pair.") from None
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

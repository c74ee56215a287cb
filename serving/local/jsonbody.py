"""TF-Serving's JSON: requests in rows (`instances`) or columns (`inputs`), bytes as `{"b64": ...}`, and the answers."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import orjson
import tensorflow as tf

from serving.local import servable

_BASE64 = "b64"
# A string is given in base64 where the output's name ends so.
_BYTES = "_bytes"


class Parsed(NamedTuple):
    """A request's body.

    Attributes:
      signature: its name.
      by_rows: whether it came as `instances`; the answer then comes as `predictions`.
      content: what stood under `instances` or `inputs`.
    """

    signature: str
    by_rows: bool
    content: object


def parse(body: bytes) -> Parsed:
    """Reads a body.

    Raises:
      status.Refused: INVALID_ARGUMENT, if it is no such request.
    """
    parsed = _load(body)
    if not isinstance(parsed, dict):
        raise servable.invalid("The request is no JSON object; give one with signature_name and inputs or instances.")
    signature = parsed.get("signature_name", servable.DEFAULT_SIGNATURE)
    if not isinstance(signature, str):
        raise servable.invalid("signature_name must be a string.")
    forms = [form for form in ("instances", "inputs") if form in parsed]
    if len(forms) != 1:
        raise servable.invalid(f"The request has {' and '.join(forms) or 'neither'}; give inputs or instances.")
    content = parsed[forms[0]]
    if forms == ["instances"] and not (isinstance(content, list) and content):
        raise servable.invalid("instances must be a list of at least one.")
    return Parsed(signature or servable.DEFAULT_SIGNATURE, forms == ["instances"], content)


def decode(parsed: Parsed, specs: Mapping[str, tf.TensorSpec], most: int) -> servable.Arrays:
    """Checked arrays of a request.

    Args:
      parsed: the request.
      specs: what the signature takes.
      most: items along the open axes; see `servable.check_shape`.

    Raises:
      status.Refused: INVALID_ARGUMENT, that names the input.
    """
    columns = _columns(parsed, specs)
    servable.check_names(parsed.signature, columns, specs)
    return {name: _array(name, columns[name], specs[name], most) for name in specs}


def encode(outputs: servable.Arrays, by_rows: bool) -> bytes:
    """An answer's body; a single output stands there without its name, as TF-Serving has it."""
    values = {name: _values(name, array) for name, array in outputs.items()}
    if by_rows:
        rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
        answer = {"predictions": rows if len(values) > 1 else next(iter(values.values()))}
    else:
        answer = {"outputs": values if len(values) > 1 else next(iter(values.values()))}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _load(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:  # slower, but knows NaN and Infinity, as TF-Serving does, and says where a mistake is
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise servable.invalid(f"JSON parse error: {error}") from None


def _columns(parsed: Parsed, specs: Mapping[str, tf.TensorSpec]) -> dict[str, object]:
    """Input -> nested lists with the batch axis first."""
    if parsed.by_rows:
        rows = parsed.content
        objects = [_is_named(row) for row in rows]
        if any(objects) and not all(objects):
            raise servable.invalid("instances mixes objects and plain values; give one kind.")
        if objects[0]:
            if any(row.keys() != rows[0].keys() for row in rows):
                raise servable.invalid("instances are objects of different keys; each must have every input.")
            return {name: [row[name] for row in rows] for name in rows[0]}
    elif _is_named(parsed.content):
        return parsed.content
    if len(specs) != 1:
        raise servable.invalid(f"{parsed.signature} takes several inputs, {', '.join(sorted(specs))}; name them.")
    return {next(iter(specs)): parsed.content}


def _array(name: str, nested: object, spec: tf.TensorSpec, most: int) -> np.ndarray:
    if spec.dtype == tf.string:
        array = _strings(name, nested, spec)
    else:
        try:
            array = np.array(nested)
        except (ValueError, OverflowError):
            raise servable.invalid(f"{name} is no array: its lists differ in length.") from None
    if array.dtype.kind not in _KINDS[spec.dtype] and array.size:
        raise servable.invalid(f"{name} holds other values than {spec.dtype.name}.")
    servable.check_shape(name, spec.dtype, list(array.shape), spec, most)
    return _cast(name, array, spec.dtype)


# What NumPy makes of JSON's values, by what is wanted.
_KINDS = {tf.float32: "fiu", tf.uint8: "iu", tf.bool: "b", tf.string: "O"}


def _cast(name: str, array: np.ndarray, dtype: tf.DType) -> np.ndarray:
    if dtype == tf.string:
        return array
    if dtype.is_integer and (array.min() < dtype.min or array.max() > dtype.max):
        raise servable.invalid(f"{name} holds values outside of {dtype.min} to {dtype.max}.")
    with np.errstate(over="ignore"):  # what becomes infinite, the model refuses by name
        return array.astype(dtype.as_numpy_dtype)


def _strings(name: str, nested: object, spec: tf.TensorSpec) -> np.ndarray:
    """Strings and base64 objects in lists, as deep as the signature has axes."""

    def level(value: object, depth: int) -> object:
        if depth == spec.shape.rank:
            return _bytes(name, value)
        if not isinstance(value, list):
            raise servable.invalid(f"{name} must be nested {spec.shape.rank} lists deep.")
        return [level(each, depth + 1) for each in value]

    lists = level(nested, 0)
    shape, inner = [], lists
    for _ in range(spec.shape.rank):
        shape.append(len(inner))
        inner = inner[0] if inner else []
    array = np.empty(shape, object)
    try:
        array[...] = lists
    except ValueError:
        raise servable.invalid(f"{name} is no array: its lists differ in length.") from None
    return array


def _bytes(name: str, value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if not _is_base64(value):
        raise servable.invalid(f'{name} holds something else than strings and {{"{_BASE64}": "..."}}.')
    try:
        return base64.b64decode(value[_BASE64], validate=True)
    except (binascii.Error, ValueError) as error:
        raise servable.invalid(f"{name} holds broken base64: {error}") from None


def _is_named(value: object) -> bool:
    """Whether it is an object of inputs by name, not one of bytes."""
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == {_BASE64} and isinstance(value[_BASE64], str)


def _values(name: str, array: np.ndarray) -> object:
    if array.dtype != object:
        return np.ascontiguousarray(array)
    as_base64 = name.endswith(_BYTES)

    def level(value: object) -> object:
        if isinstance(value, list):
            return [level(each) for each in value]
        if as_base64:
            return {_BASE64: base64.b64encode(value).decode()}
        return value.decode("utf-8", "replace")

    return level(array.tolist())

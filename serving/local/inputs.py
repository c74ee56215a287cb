"""Inputs and outputs of signatures: what is declared, and the checks of what was sent; without TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import grpc
import numpy as np

from fomm_tf.serving.local import status

Arrays = dict[str, np.ndarray]
# TF-Serving's signature for requests that do not name one.
DEFAULT_SIGNATURE = "serving_default"
# TF-Serving's dtypes that a signature may have here -> NumPy's; strings are object arrays of bytes.
DTYPES = {"float32": np.float32, "uint8": np.uint8, "bool": np.bool_, "string": np.object_}


class Spec(NamedTuple):
    """A signature's input or output."""

    dtype: str  # of an input: a key of `DTYPES`
    shape: tuple[int | None, ...]  # None where any size fits


Signatures = Mapping[str, Mapping[str, Spec]]  # signature -> input -> declaration


class Sizes(NamedTuple):
    """Limits of one request's inputs."""

    max_frames: int  # frames, or other items along the variable axes
    max_bytes: int  # of one input as an array


def find_signature(signatures: Signatures, name: str) -> Mapping[str, Spec]:
    """Returns the inputs of a signature.

    Raises:
      status.RpcError: if there is no such signature.
    """
    if name not in signatures:
        raise status.RpcError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f'Serving signature key "{name[:100]}" not found; expected one of: {", ".join(sorted(signatures))}.',
        )
    return signatures[name]


def check_names(signature: str, inputs: Mapping[str, object], specs: Mapping[str, Spec]) -> None:
    """Checks that no input is missing or unknown.

    Raises:
      status.RpcError: names them.
    """
    missing, unknown = sorted(specs.keys() - inputs.keys()), sorted(inputs.keys() - specs.keys())
    if missing or unknown:
        named = {"missing": missing, "unknown": unknown}
        problems = [f"{kind} {', '.join(names)[:200]}" for kind, names in named.items() if names]
        raise status.invalid_argument(
            f"inputs of {signature}: {' and '.join(problems)}; expected {', '.join(sorted(specs))}."
        )


def check_shape(name: str, dtype: str, shape: list[int], spec: Spec, sizes: Sizes) -> None:
    """Checks an input's dtype and shape, before memory is allocated for it.

    Args:
      name: of the input.
      dtype: of the input.
      shape: of the input.
      spec: the signature's input.
      sizes: the limits.

    Raises:
      status.RpcError: names the input.
    """
    status.require(dtype == spec.dtype, f"{name}: got {dtype}; expected {spec.dtype}.")
    expected = ", ".join("any" if size is None else str(size) for size in spec.shape)
    fits = len(shape) == len(spec.shape) and all(
        declared in (None, size) for size, declared in zip(shape, spec.shape, strict=True)
    )
    status.require(fits, f"{name}: got shape {list(shape)}; expected [{expected}].")
    status.require(0 not in shape, f"{name}: got the empty shape {list(shape)}; expected at least one item.")
    count = _count_items(shape, spec)
    message = f"{name}: got {count:,} frames; expected at most {sizes.max_frames:,}; split the request."
    status.require(count <= sizes.max_frames, message)
    item_size = 1 if dtype == "string" else np.dtype(DTYPES[dtype]).itemsize
    message = f"{name}: got shape {shape}; expected at most {sizes.max_bytes:,} bytes; split the request."
    status.require(math.prod(shape) * item_size <= sizes.max_bytes, message)


def count_frames(inputs: Mapping[str, np.ndarray], specs: Mapping[str, Spec]) -> int:
    """Returns how many frames, or other items along the variable axes, the input with the most of them has."""
    return max(_count_items(array.shape, specs[name]) for name, array in inputs.items())


def answer_bytes(outputs: Mapping[str, Spec], rows: int, frames: int) -> int:
    """Returns how many bytes the outputs have as arrays, as far as their declarations tell; strings count nothing.

    Args:
      outputs: declarations.
      rows: of the inputs, on axis 0.
      frames: of the inputs, as `count_frames` counts them.
    """
    total = 0
    for spec in outputs.values():
        if spec.dtype != "string":
            sizes = [size for size in spec.shape if size is not None]
            count = rows if len(spec.shape) - len(sizes) < 2 else frames
            total += count * math.prod(sizes) * np.dtype(spec.dtype).itemsize
    return total


def check_batch(inputs: Mapping[str, np.ndarray]) -> int:
    """Returns the number of rows, which must be the same for all inputs.

    Raises:
      status.RpcError: names an input.
    """
    rows = {name: len(array) for name, array in inputs.items()}
    first = min(rows)
    for name, count in rows.items():
        sizes = f"{count} and {rows[first]}"
        message = f"{name} and {first}: got batch sizes {sizes} (axis 0); expected equal ones."
        status.require(count == rows[first], message)
    return rows[first]


def _count_items(shape: Sequence[int], spec: Spec) -> int:
    return math.prod(size for size, declared in zip(shape, spec.shape, strict=True) if declared is None)

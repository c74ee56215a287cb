"""The served model's metadata: sizes, and the types of the signatures' outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

Tensors = dict[str, np.ndarray]

_TYPES = {"DT_FLOAT": np.float32, "DT_UINT8": np.uint8, "DT_BOOL": np.bool_, "DT_STRING": np.object_}


class Call(NamedTuple):
    """A request, independent of the protocol."""

    signature: str  # its name
    inputs: Tensors  # tensors by name; strings are object arrays of bytes


class Model(NamedTuple):
    """An exported model."""

    frame_size: tuple[int, int]  # (H, W)
    num_keypoints: int  # K
    has_jacobian: bool  # whether its keypoints have Jacobians
    outputs: dict[str, dict[str, type]]  # signature -> output -> type; without the SavedModel's internal signatures


def read(metadata: Mapping) -> Model:
    """Reads the model's metadata.

    Args:
      metadata: SignatureDefMap as JSON: `{"signature_def": {signature: {"inputs": ..., "outputs": ...}}}`.

    Raises:
      KeyError, TypeError, ValueError: if this is not a model exported by `fomm export`.
    """
    signatures = metadata["signature_def"]
    _, height, width, _ = _shape(signatures["detect"]["inputs"]["frames"])
    keypoints = signatures["transfer"]["inputs"]
    outputs = {
        signature: {name: _TYPES[tensor["dtype"]] for name, tensor in definition["outputs"].items()}
        for signature, definition in signatures.items()
        if all(tensor.get("dtype") in _TYPES for tensor in definition["outputs"].values())
    }
    return Model((height, width), _shape(keypoints["source_value"])[1], "source_jacobian" in keypoints, outputs)


def _shape(tensor: Mapping) -> list[int]:
    return [int(dim["size"]) for dim in tensor["tensor_shape"]["dim"]]

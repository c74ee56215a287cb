"""What a server tells of its model: sizes, and the types of what the signatures give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

Tensors = dict[str, np.ndarray]

_TYPES = {"DT_FLOAT": np.float32, "DT_UINT8": np.uint8, "DT_BOOL": np.bool_, "DT_STRING": np.object_}


class Call(NamedTuple):
    """A request without its protocol.

    Attributes:
      signature: its name.
      inputs: by name; strings are arrays of bytes objects.
    """

    signature: str
    inputs: Tensors


class Model(NamedTuple):
    """An exported model.

    Attributes:
      frame_size: (H, W).
      num_keypoints: K.
      jacobian: whether its keypoints have Jacobians.
      outputs: signature -> output -> type; not of the SavedModel's own signatures, which give no tensors.
    """

    frame_size: tuple[int, int]
    num_keypoints: int
    jacobian: bool
    outputs: dict[str, dict[str, type]]


def read(metadata: Mapping) -> Model:
    """The model that metadata describe.

    Args:
      metadata: SignatureDefMap as JSON: `{"signature_def": {signature: {"inputs": ..., "outputs": ...}}}`.

    Raises:
      KeyError, TypeError, ValueError: if it is not a model of ours.
    """
    signatures = metadata["signature_def"]
    _, height, width, _ = _shape(signatures["detect"]["inputs"]["frames"])
    points = signatures["transfer"]["inputs"]
    outputs = {
        signature: {name: _TYPES[tensor["dtype"]] for name, tensor in parts["outputs"].items()}
        for signature, parts in signatures.items()
        if all(tensor.get("dtype") in _TYPES for tensor in parts["outputs"].values())
    }
    return Model((height, width), _shape(points["source_value"])[1], "source_jacobian" in points, outputs)


def _shape(tensor: Mapping) -> list[int]:
    return [int(dim["size"]) for dim in tensor["tensor_shape"]["dim"]]

"""One loaded version of a model, and the checks of its inputs."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, prediction_log_pb2

from fomm_tf.serving.local import status

Arrays = dict[str, np.ndarray]
# TF-Serving's signature for requests that do not name one.
DEFAULT_SIGNATURE = "serving_default"
_WARMUP = "assets.extra/tf_serving_warmup_requests"


class Servable:
    """A SavedModel in a session, as in TF-Serving; runs its warm-up requests when it is loaded.

    A model loaded as Python functions would leave its graph in memory after it is unloaded.

    Args:
      directory: the version's directory, whose name is the version number.

    Attributes:
      version: its number.
      definitions: its signatures, as GetModelMetadata returns them.

    Raises:
      OSError, ValueError, RuntimeError, tf.errors.OpError: if it cannot be loaded.
      status.RpcError: if a warm-up request fails.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self.version = int(directory.name)
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        with graph.as_default():
            stored = tf.compat.v1.saved_model.load(self._session, [tf.saved_model.SERVING], str(directory))
        self.definitions = get_model_metadata_pb2.SignatureDefMap(signature_def=stored.signature_def)
        self._signatures = {
            name: _Signature(definition, self._session)
            for name, definition in stored.signature_def.items()
            if definition.method_name == tf.saved_model.PREDICT_METHOD_NAME
        }
        for request in _warmup_requests(directory / _WARMUP):
            self.run(
                request.model_spec.signature_name or DEFAULT_SIGNATURE,
                {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()},
            )

    def inputs(self, signature: str) -> dict[str, tf.TensorSpec]:
        """Returns the inputs of a signature, name -> dtype and shape.

        Raises:
          status.RpcError: if there is no such signature.
        """
        if signature not in self._signatures:
            known = ", ".join(sorted(self._signatures))
            raise status.RpcError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{signature}" not found; expected one of: {known}.',
            )
        return self._signatures[signature].inputs

    def outputs(self, signature: str) -> set[str]:
        """Returns the names of a signature's outputs."""
        return set(self._signatures[signature].outputs)

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Runs a signature; thread-safe.

        Raises:
          status.RpcError: with the code of TensorFlow's error.
        """
        function = self._signatures[signature]
        try:
            outputs = function.run(*(inputs[name] for name in function.inputs))
        except tf.errors.OpError as error:
            raise status.from_tensorflow(error) from error
        return dict(zip(function.outputs, outputs, strict=True))

    def close(self) -> None:
        """Frees its memory; no call may be running."""
        self._session.close()


class _Signature:
    """A signature's inputs and outputs, and its function."""

    def __init__(self, definition: meta_graph_pb2.SignatureDef, session: tf.compat.v1.Session) -> None:
        self.inputs = {
            name: tf.TensorSpec(tf.TensorShape(info.tensor_shape), info.dtype, name)
            for name, info in sorted(definition.inputs.items())
        }
        self.outputs = sorted(definition.outputs)
        self.run = session.make_callable(
            [definition.outputs[name].name for name in self.outputs],
            [definition.inputs[name].name for name in self.inputs],
        )


def check_names(signature: str, inputs: Mapping[str, object], specs: Mapping[str, tf.TensorSpec]) -> None:
    """Checks that no input is missing or unknown.

    Raises:
      status.RpcError: names them.
    """
    missing, unknown = sorted(specs.keys() - inputs.keys()), sorted(inputs.keys() - specs.keys())
    if missing or unknown:
        named = {"missing": missing, "unknown": unknown}
        problems = [f"{kind} {', '.join(names)}" for kind, names in named.items() if names]
        raise status.invalid_argument(
            f"inputs of {signature}: {' and '.join(problems)}; expected {', '.join(sorted(specs))}."
        )


def check_shape(name: str, dtype: tf.DType, shape: list[int], spec: tf.TensorSpec, max_frames: int) -> None:
    """Checks an input's dtype and shape, before memory is allocated for it.

    Args:
      name: of the input.
      dtype: of the input.
      shape: of the input.
      spec: the signature's input.
      max_frames: limit of frames, or other items along the variable axes.

    Raises:
      status.RpcError: names the input.
    """
    status.require(dtype == spec.dtype, f"{name}: got {dtype.name}; expected {spec.dtype.name}.")
    expected = ", ".join("any" if size is None else str(size) for size in spec.shape.as_list())
    fits = spec.shape.is_compatible_with(shape)
    status.require(fits, f"{name}: got shape {list(shape)}; expected [{expected}].")
    status.require(0 not in shape, f"{name}: got the empty shape {list(shape)}; expected at least one item.")
    count = math.prod(
        size for size, static_size in zip(shape, spec.shape.as_list(), strict=True) if static_size is None
    )
    message = f"{name}: got {count:,} frames; expected at most {max_frames:,}; split the request."
    status.require(count <= max_frames, message)


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


def _warmup_requests(path: pathlib.Path) -> list:
    if not path.is_file():
        return []
    records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    return [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]

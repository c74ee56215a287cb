"""One loaded version of a model: what it takes, checked before it runs, and what it answers."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, prediction_log_pb2

from serving.local import status

Arrays = dict[str, np.ndarray]
# TF-Serving takes this signature where a request names none.
DEFAULT_SIGNATURE = "serving_default"
_WARMUP = "assets.extra/tf_serving_warmup_requests"


class Servable:
    """A SavedModel in memory, in a session as in TF-Serving; answers its warm-up requests before a client's first.

    Loaded as Python functions it would leave its graph behind in memory when it goes.

    Args:
      folder: the version's folder, whose name is its number.

    Attributes:
      version: its number.
      definitions: its signatures as GetModelMetadata gives them.

    Raises:
      OSError, ValueError, RuntimeError, tf.errors.OpError: if it cannot be loaded.
      status.Refused: if it fails at a warm-up request.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.version = int(folder.name)
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        with graph.as_default():
            stored = tf.compat.v1.saved_model.load(self._session, [tf.saved_model.SERVING], str(folder))
        self.definitions = get_model_metadata_pb2.SignatureDefMap(signature_def=stored.signature_def)
        self._signatures = {
            name: _Signature(definition, self._session)
            for name, definition in stored.signature_def.items()
            if definition.method_name == tf.saved_model.PREDICT_METHOD_NAME
        }
        for request in _warmup_requests(folder / _WARMUP):
            self.run(
                request.model_spec.signature_name or DEFAULT_SIGNATURE,
                {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()},
            )

    def inputs(self, signature: str) -> dict[str, tf.TensorSpec]:
        """What a signature takes, name -> dtype and shape.

        Raises:
          status.Refused: if there is none of that name.
        """
        if signature not in self._signatures:
            known = ", ".join(sorted(self._signatures))
            raise status.Refused(
                status.Code.FAILED_PRECONDITION, f'Serving signature key "{signature}" not found; there are {known}.'
            )
        return self._signatures[signature].inputs

    def outputs(self, signature: str) -> set[str]:
        """Names of what a signature gives."""
        return set(self._signatures[signature].outputs)

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Calls a signature; thread-safe.

        Raises:
          status.Refused: with the code of what TensorFlow raised.
        """
        called = self._signatures[signature]
        try:
            answer = called.run(*(inputs[name] for name in called.inputs))
        except tf.errors.OpError as error:
            raise status.of_tensorflow(error) from error
        return dict(zip(called.outputs, answer, strict=True))

    def close(self) -> None:
        """Frees its memory; no call may be under way."""
        self._session.close()


class _Signature:
    """What a signature takes and gives, and the function that it is."""

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


def check_names(signature: str, given: Mapping[str, object], specs: Mapping[str, tf.TensorSpec]) -> None:
    """Refuses missing and surplus inputs.

    Raises:
      status.Refused: that names them.
    """
    missing, surplus = sorted(specs.keys() - given.keys()), sorted(given.keys() - specs.keys())
    if missing or surplus:
        parts = [f"{word} {', '.join(names)}" for word, names in (("misses", missing), ("does not know", surplus))]
        said = " and ".join(part for part, names in zip(parts, (missing, surplus), strict=True) if names)
        raise invalid(f"{signature} {said}; it takes {', '.join(sorted(specs))}.")


def check_shape(name: str, dtype: tf.DType, shape: list[int], spec: tf.TensorSpec, most: int) -> None:
    """Refuses what the graph would, before anything is made of it, and more than one request may have.

    Args:
      name: of the input.
      dtype, shape: what was sent.
      spec: what the signature takes.
      most: how many frames, or other items along the axes that the signature leaves open.

    Raises:
      status.Refused: that names the input.
    """
    if dtype != spec.dtype:
        raise invalid(f"{name} is {dtype.name}; give {spec.dtype.name}.")
    if not spec.shape.is_compatible_with(shape):
        wanted = ["any" if size is None else size for size in spec.shape.as_list()]
        raise invalid(f"{name} has shape {list(shape)}; give [{', '.join(map(str, wanted))}].")
    if 0 in shape:
        raise invalid(f"{name} is empty, {list(shape)}; give at least one.")
    count = 1
    for size, fixed in zip(shape, spec.shape.as_list(), strict=True):
        count *= size if fixed is None else 1
    if count > most:
        raise invalid(f"{name} holds {count:,} items; at most {most:,} a request: send it in parts.")


def check_batch(inputs: Mapping[str, np.ndarray]) -> int:
    """The number of rows, which all inputs must agree on.

    Raises:
      status.Refused: that names an input.
    """
    rows = {name: len(array) for name, array in inputs.items()}
    first = min(rows)
    for name, count in rows.items():
        if count != rows[first]:
            raise invalid(f"{name} and {first} must have the same batch (axis 0); got {count} and {rows[first]}.")
    return rows[first]


def invalid(message: str) -> status.Refused:
    """The client's mistake."""
    return status.Refused(status.Code.INVALID_ARGUMENT, message)


def _warmup_requests(path: pathlib.Path) -> list:
    if not path.is_file():
        return []
    records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    return [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]

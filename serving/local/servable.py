"""One loaded version of a model: what it takes, checked before it runs, and what it answers."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, prediction_log_pb2

from serving.local import status

Arrays = dict[str, np.ndarray]
# TF-Serving takes this signature where a request names none.
DEFAULT_SIGNATURE = "serving_default"
_WARMUP = "assets.extra/tf_serving_warmup_requests"


class Servable:
    """A SavedModel in memory; answers its warm-up requests before the first of a client.

    Args:
      folder: the version's folder, whose name is its number.

    Attributes:
      version: its number.
      definitions: its signatures as GetModelMetadata gives them.

    Raises:
      OSError, ValueError, tf.errors.OpError: if it cannot be loaded, or fails at a warm-up request.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.version = int(folder.name)
        stored = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        self.definitions = get_model_metadata_pb2.SignatureDefMap(
            signature_def=stored.meta_graphs[0].signature_def if stored.meta_graphs else {}
        )
        # Its variables live as long as it does.
        self._model = tf.saved_model.load(str(folder))
        self._functions = dict(self._model.signatures)
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
        if signature not in self._functions:
            known = ", ".join(sorted(self._functions))
            raise status.Refused(
                status.Code.FAILED_PRECONDITION, f'Serving signature key "{signature}" not found; there are {known}.'
            )
        return self._functions[signature].structured_input_signature[1]

    def outputs(self, signature: str) -> set[str]:
        """Names of what a signature gives."""
        return set(self._functions[signature].structured_outputs)

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Calls a signature; thread-safe.

        Raises:
          status.Refused: with the code of what TensorFlow raised.
        """
        specs = self.inputs(signature)
        try:
            answer = self._functions[signature](
                **{name: tf.constant(array, specs[name].dtype) for name, array in inputs.items()}
            )
            return {name: tensor.numpy() for name, tensor in answer.items()}
        except tf.errors.OpError as error:
            raise status.of_tensorflow(error) from error


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

"""SavedModels for TF-Serving: version directories that appear only when they are complete and verified."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from fomm_tf import checkpoint
from fomm_tf.export import examples, loading, module

# TF-Serving reads warm-up requests from here before it reports a version as ready.
EXTRA = "assets.extra"
WARMUP = "tf_serving_warmup_requests"
METADATA = "metadata.json"


def write(
    folder: str | pathlib.Path,
    output: str | pathlib.Path,
    precision: str = "float32",
    check: Callable[[pathlib.Path], None] | None = None,
) -> pathlib.Path:
    """Writes the next version of a run's model: `OUTPUT/1`, `OUTPUT/2`, ...

    Args:
      folder: the run directory.
      output: directory of the model, TF-Serving's `base_path`; created if it does not exist.
      precision: what the networks compute in, one of `config.PRECISIONS`; inputs and outputs stay float32.
      check: called with the temporary directory before it is renamed; if it raises, nothing is left.

    Returns:
      The directory of the version.

    Raises:
      errors.UserError: if the run cannot be read or `output` cannot be written.
    """
    output = pathlib.Path(output)
    model = module.Module(*loading.load(folder, precision))
    warmup = _warmup_requests(model, output.name)
    versions = [int(path.name) for path in output.glob("*") if path.name.isdigit()]
    version = output / str(1 + max(versions, default=0))
    # Until it is complete its name starts with a dot: TF-Serving ignores names that are not numbers.
    with checkpoint.new_folder(version) as work:
        module.save(model.model, model.signatures, work)
        extra = work / EXTRA
        extra.mkdir()
        (extra / METADATA).write_text(model.metadata + "\n")
        with tf.io.TFRecordWriter(str(extra / WARMUP)) as writer:
            for request in warmup:
                writer.write(request)
        if check is not None:
            check(work)
    return version


def _warmup_requests(model: module.Module, name: str) -> list[bytes]:
    """A serialized `PredictionLog` per signature: two driving frames of one source."""
    logs = []
    for signature, inputs in examples.make(model.signatures, count=2).items():
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = name, signature
        for key, tensor in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(tensor))
        log = prediction_log_pb2.PredictLog(request=request)
        logs.append(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
    return logs

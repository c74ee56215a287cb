"""SavedModels for TF-Serving: version directories that appear only when they are complete and verified."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import tensorflow as tf

from export import examples, module
from fomm_tf import checkpoint, errors

# TF-Serving reads warm-up requests from here before it reports a version as ready.
EXTRA = "assets.extra"
WARMUP = "tf_serving_warmup_requests"
METADATA = "metadata.json"


def write(
    model: module.Module, output: str | pathlib.Path, check: Callable[[pathlib.Path], None] | None = None
) -> pathlib.Path:
    """Writes the next version of a model: `OUTPUT/1`, `OUTPUT/2`, ...

    Args:
      model: the model to write.
      output: directory of the model, TF-Serving's `base_path`; created if it does not exist.
      check: called with the temporary directory before it is renamed; if it raises, nothing is left.

    Returns:
      The directory of the version.

    Raises:
      errors.UserError: if `output` cannot be written, or if tensorflow-serving-api is not installed.
    """
    warmup = _warmup_requests(model, pathlib.Path(output).name)
    output = pathlib.Path(output)
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
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ModuleNotFoundError:
        raise errors.UserError(
            "tensorflow-serving-api is not installed; the warm-up requests need it; run: pip install -e '.[export]'"
        ) from None
    logs = []
    for signature, inputs in examples.make(model.signatures, count=2).items():
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = name, signature
        for key, tensor in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(tensor))
        log = prediction_log_pb2.PredictLog(request=request)
        logs.append(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
    return logs

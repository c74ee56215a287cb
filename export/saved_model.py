"""SavedModels for TF-Serving: version directories that appear only when they are complete and verified.

A version is compared with the run's Keras networks, on drawn frames.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from fomm_tf import checkpoint, errors
from fomm_tf.export import examples, loading, module
from fomm_tf.export.report import check_difference, relative_difference
from fomm_tf.ops import motion
from fomm_tf.structures import Keypoints

# TF-Serving reads warm-up requests from here before it reports a version as ready.
EXTRA = "assets.extra"
WARMUP = "tf_serving_warmup_requests"
METADATA = "metadata.json"
# The largest allowed differences; rounding adds up through the decoder.
_TOLERANCES = {"prediction": 2e-4, "deformed": 2e-4}
_TOLERANCE = 1e-5
_MIN_PSNR_DB = 45.0
_FRAMES = 4


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


class Difference(NamedTuple):
    """Difference of one output from the Keras networks."""

    name: str  # `signature.output`
    # The largest absolute difference, relative to the largest absolute value of the output where that is above 1
    # (Jacobians, and positions outside the frame).
    worst: float
    allowed: float  # the largest `worst` that passes


class Comparison(NamedTuple):
    """Result of a comparison."""

    differences: list[Difference]  # one per output: keypoints and masks as well as images
    psnr: float  # of the whole animation against the Keras networks, in dB


def compare(run: str | pathlib.Path, saved: str | pathlib.Path) -> Comparison:
    """Compares a SavedModel with the run that it was exported from.

    Args:
      run: the run directory.
      saved: the version directory.

    Raises:
      errors.UserError: if the run cannot be read.
    """
    original = checkpoint.load(run)
    model, settings = original.model, original.config
    signatures = tf.saved_model.load(str(saved)).signatures
    requests = examples.make(signatures, _FRAMES)
    answers = {name: signatures[name](**requests[name]) for name in ("detect", "transfer", "render_details", "animate")}
    driving, source = requests["detect"]["frames"], requests["encode_source"]["source"]

    detected, encoded = model.detect(driving), model.encode_source(source)
    initial = detected.map(lambda part: part[:1])
    moved = motion.transfer(encoded.keypoints, detected, initial, relative_jacobian=settings.animate.relative_jacobian)
    prediction = model.render(encoded, moved).prediction
    # `render` gets the same keypoints as the signature, so that earlier rounding does not count.
    request = requests["render_details"]
    posed = {name: request[name][0] for name in detected.named()}
    same_source = encoded._replace(keypoints=Keypoints.from_named(request, "source_"))
    expected = model.render(same_source, Keypoints.from_named(posed), details=True)._asdict()
    pairs = {f"detect.{name}": (tensor, detected.named()[name]) for name, tensor in answers["detect"].items()}
    pairs |= {f"transfer.{name}": (tensor[0], moved.named()[name]) for name, tensor in answers["transfer"].items()}
    pairs |= {f"render.{name}": (tensor[0], expected[name]) for name, tensor in answers["render_details"].items()}
    animated = answers["animate"]["frames"][0]
    pairs["animate.prediction"] = (animated, prediction)
    differences = []
    for name, (actual, reference) in pairs.items():
        tolerance = _TOLERANCES.get(name.split(".")[1], _TOLERANCE)
        differences.append(Difference(name, relative_difference(actual.numpy(), reference.numpy()), tolerance))
    return Comparison(differences, float(tf.image.psnr(animated, prediction, 1.0).numpy().min()))


def check(run: str | pathlib.Path, saved: str | pathlib.Path) -> None:
    """Compares, prints the differences, and fails if they exceed the tolerances.

    Args:
      run: the run directory.
      saved: the version directory.

    Raises:
      errors.UserError: if a tolerance is exceeded, or if either directory cannot be read.
    """
    saved = pathlib.Path(saved)
    try:
        precision = json.loads((saved / EXTRA / METADATA).read_text())["precision"]
        comparison = compare(run, saved)
    except (OSError, ValueError, KeyError) as error:
        raise errors.UserError(f"{saved} is not a version that `fomm export` wrote: {error}") from error
    for each in comparison.differences:
        print(f"{each.name}: differs by at most {each.worst:.1e} from the Keras model")
    print(f"animation: {comparison.psnr:.1f} dB")
    check_tolerances(comparison, precision)


def check_tolerances(comparison: Comparison, precision: str) -> None:
    """Checks each output in float32, the PSNR of the animation in a lower precision.

    Raises:
      errors.UserError: if a tolerance is exceeded; names the worst output.
    """
    if precision != "float32":
        if not comparison.psnr >= _MIN_PSNR_DB:
            raise errors.UserError(
                f"{precision}: PSNR against the Keras model is {comparison.psnr:.1f} dB; expected at least "
                f"{_MIN_PSNR_DB:.0f}; export another precision, or skip the verification."
            )
        return
    worst = max(comparison.differences, key=lambda each: np.nan_to_num(each.worst / each.allowed, nan=np.inf))
    check_difference(worst.name, worst.worst, worst.allowed)

"""Verification of an exported SavedModel against the run's Keras networks, on drawn frames."""

from __future__ import annotations

import json
import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fomm_tf import checkpoint, errors
from fomm_tf.export import examples, saved_model
from fomm_tf.export.module import keypoints_of, named
from fomm_tf.export.report import check_difference, relative_difference
from fomm_tf.ops import motion

# The largest allowed differences; rounding adds up through the decoder.
_TOLERANCES = {"prediction": 2e-4, "deformed": 2e-4}
_TOLERANCE = 1e-5
_MIN_PSNR_DB = 45.0
_FRAMES = 4


class Difference(NamedTuple):
    """Difference of one output from the Keras networks."""

    name: str  # `signature.output`
    # The largest absolute difference, relative to the largest absolute value of the output where that is above 1
    # (Jacobians, and positions outside the frame).
    worst: float
    allowed: float  # the largest `worst` that passes


class Report(NamedTuple):
    """Result of a comparison.

    Attributes:
      differences: one per output: keypoints and masks as well as images.
      psnr: PSNR of the whole animation against the Keras networks, in dB.
    """

    differences: list[Difference]
    psnr: float


def compare(run: str | pathlib.Path, saved: str | pathlib.Path) -> Report:
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
    initial = type(detected)(*(None if part is None else part[:1] for part in detected))
    moved = motion.transfer(encoded.keypoints, detected, initial, relative_jacobian=settings.animate.relative_jacobian)
    prediction = model.render(encoded, moved).prediction
    # `render` gets the same keypoints as the signature, so that earlier rounding does not count.
    request = requests["render_details"]
    posed = {name: request[name][0] for name in named(detected)}
    same_source = encoded._replace(keypoints=keypoints_of(request, "source_"))
    expected = model.render(same_source, keypoints_of(posed), details=True)._asdict()
    pairs = {f"detect.{name}": (tensor, named(detected)[name]) for name, tensor in answers["detect"].items()}
    pairs |= {f"transfer.{name}": (tensor[0], named(moved)[name]) for name, tensor in answers["transfer"].items()}
    pairs |= {f"render.{name}": (tensor[0], expected[name]) for name, tensor in answers["render_details"].items()}
    animated = answers["animate"]["frames"][0]
    pairs["animate.prediction"] = (animated, prediction)
    differences = []
    for name, (actual, reference) in pairs.items():
        tolerance = _TOLERANCES.get(name.split(".")[1], _TOLERANCE)
        differences.append(Difference(name, relative_difference(actual.numpy(), reference.numpy()), tolerance))
    return Report(differences, float(tf.image.psnr(animated, prediction, 1.0).numpy().min()))


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
        precision = json.loads((saved / saved_model.EXTRA / saved_model.METADATA).read_text())["precision"]
        report = compare(run, saved)
    except (OSError, ValueError, KeyError) as error:
        raise errors.UserError(f"{saved} is not a version that `fomm export` wrote: {error}") from error
    for each in report.differences:
        print(f"{each.name}: differs by at most {each.worst:.1e} from the Keras model")
    print(f"animation: {report.psnr:.1f} dB")
    check_tolerances(report, precision)


def check_tolerances(report: Report, precision: str) -> None:
    """Checks each output in float32, the PSNR of the animation in a lower precision.

    Raises:
      errors.UserError: if a tolerance is exceeded; names the worst output.
    """
    if precision != "float32":
        if report.psnr < _MIN_PSNR_DB:
            raise errors.UserError(
                f"{precision}: PSNR against the Keras model is {report.psnr:.1f} dB; expected at least "
                f"{_MIN_PSNR_DB:.0f}; export another precision, or skip the verification."
            )
        return
    worst = max(report.differences, key=lambda each: each.worst / each.allowed if each.worst == each.worst else np.inf)
    check_difference(worst.name, worst.worst, worst.allowed)

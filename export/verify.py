"""What was written, loaded anew and compared with the run's Keras networks on drawn frames."""

from __future__ import annotations

import json
import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from export import examples, saved_model
from export.module import keypoints_of, named
from fomm_tf import checkpoint, errors
from fomm_tf.ops import motion

# The largest difference allowed; the rest is rounding that adds up through the decoder.
_TOLERANCES = {"prediction": 2e-4, "deformed": 2e-4}
_TOLERANCE = 1e-5
_LEAST_PSNR = 45.0
_FRAMES = 4


class Difference(NamedTuple):
    """How far an output is from the Keras networks' own.

    Attributes:
      name: of the output, `signature.output`.
      worst: the largest absolute difference, in shares of the output's largest value where that is above 1: Jacobians
        and places outside of the frame.
      allowed: the largest that passes.
    """

    name: str
    worst: float
    allowed: float


class Report(NamedTuple):
    """What a comparison found.

    Attributes:
      differences: one an output, keypoints and masks as well as pictures.
      psnr: of the whole animation against the Keras networks', in dB.
    """

    differences: list[Difference]
    psnr: float


def compare(run: str | pathlib.Path, saved: str | pathlib.Path) -> Report:
    """Compares a SavedModel with the run that it came from.

    Args:
      run: the run folder.
      saved: the version's folder.

    Raises:
      errors.UserError: if the run cannot be read.
    """
    original = checkpoint.load(run)
    model, settings = original.model, original.config
    signatures = tf.saved_model.load(str(saved)).signatures
    requests = examples.make(signatures, _FRAMES)
    answers = {name: signatures[name](**requests[name]) for name in ("detect", "transfer", "render_details", "animate")}
    driving, source = requests["detect"]["frames"], requests["encode_source"]["source"]

    found, encoded = model.detect(driving), model.encode_source(source)
    initial = type(found)(*(None if part is None else part[:1] for part in found))
    moved = motion.transfer(encoded.keypoints, found, initial, relative_jacobian=settings.animate.relative_jacobian)
    prediction = model.render(encoded, moved).prediction
    # `render` gets the very keypoints that the signature got, so that earlier rounding does not count against it.
    request = requests["render_details"]
    posed = {name: request[name][0] for name in named(found)}
    same_source = encoded._replace(keypoints=keypoints_of(request, "source_"))
    expected = model.render(same_source, keypoints_of(posed), details=True)._asdict()
    pairs = {f"detect.{name}": (tensor, named(found)[name]) for name, tensor in answers["detect"].items()}
    pairs |= {f"transfer.{name}": (tensor[0], named(moved)[name]) for name, tensor in answers["transfer"].items()}
    pairs |= {f"render.{name}": (tensor[0], expected[name]) for name, tensor in answers["render_details"].items()}
    animated = answers["animate"]["frames"][0]
    pairs["animate.prediction"] = (animated, prediction)
    return Report(
        [
            Difference(name, _worst(*pair), _TOLERANCES.get(name.split(".")[1], _TOLERANCE))
            for name, pair in pairs.items()
        ],
        float(tf.image.psnr(animated, prediction, 1.0).numpy().min()),
    )


def check(run: str | pathlib.Path, saved: str | pathlib.Path) -> None:
    """Compares and prints what it found.

    Args:
      run: the run folder.
      saved: the version's folder.

    Raises:
      errors.UserError: over tolerance, or if either cannot be read.
    """
    saved = pathlib.Path(saved)
    try:
        precision = json.loads((saved / saved_model.EXTRA / saved_model.METADATA).read_text())["precision"]
        report = compare(run, saved)
    except (OSError, ValueError, KeyError) as error:
        raise errors.UserError(f"{saved} is no version that `python -m export` wrote: {error}") from error
    for each in report.differences:
        print(f"{each.name}: {each.worst:.1e} from the Keras model's at the most")
    print(f"animation: {report.psnr:.1f} dB")
    judge(report, precision)


def judge(report: Report, precision: str) -> None:
    """Fails over tolerance: each output's in float32, the animation's PSNR in a lower precision.

    Raises:
      errors.UserError: that names the worst output.
    """
    if precision != "float32":
        if report.psnr < _LEAST_PSNR:
            raise errors.UserError(
                f"The {precision} model's frames are {report.psnr:.1f} dB from the Keras model's; {_LEAST_PSNR:.0f} at "
                "least are asked for. Export another --precision, or accept it with --no-verify."
            )
        return
    worst = max(report.differences, key=lambda each: each.worst / each.allowed if each.worst == each.worst else np.inf)
    if not worst.worst <= worst.allowed:
        raise errors.UserError(
            f"{worst.name} is {worst.worst:.2g} from the Keras model's, over {worst.allowed:g}; this is a bug in the "
            "export, or numbers too large for float32 in the run."
        )


def _worst(mine: tf.Tensor, other: tf.Tensor) -> float:
    return float(tf.reduce_max(tf.abs(mine - other)) / tf.maximum(tf.reduce_max(tf.abs(other)), 1.0))

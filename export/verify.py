"""What was written, loaded anew and compared with the run's Keras networks on drawn frames."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from export.module import named
from fomm_tf import checkpoint, errors
from fomm_tf.data import puppets
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


def draw(size: tuple[int, int], count: int) -> np.ndarray:
    """A drawn clip of test seeds, `[count, H, W, 3]` float32 in [0, 1]."""
    identity = puppets.sample_identity(5, portrait=True)
    poses = puppets.sample_motion(3, count, portrait=True)
    return np.stack([puppets.draw(identity, pose, tuple(size)) for pose in poses]).astype(np.float32) / 255


def compare(run: str | pathlib.Path, saved: str | pathlib.Path) -> Report:
    """Compares a SavedModel with the run that it came from.

    Args:
      run: the run folder.
      saved: the version's folder.

    Raises:
      errors.UserError: if the run cannot be read.
    """
    kept = checkpoint.load(run)
    (detector, dense_motion, generator), settings = kept.networks, kept.config
    signatures = tf.saved_model.load(str(saved)).signatures
    driving = tf.constant(draw(settings.model.frame_size, _FRAMES))
    source = driving[1:2]

    found, source_points = detector(driving), detector(source)
    initial = type(found)(*(None if part is None else part[:1] for part in found))
    moved = motion.transfer(source_points, found, initial, relative_jacobian=settings.animate.relative_jacobian)
    moving = dense_motion(dense_motion.reduce(source), source_points, moved)
    expected = {
        "prediction": generator(source, moving),
        "deformed": generator.warp_image(source, moving.deformation),
        **{name: part for name, part in moving._asdict().items() if name != "sparse_deformed" and part is not None},
    }

    switches = {"relative": tf.constant([True]), "adapt_scale": tf.constant([False])}
    clip = {name: part[tf.newaxis] for name, part in named(found, "driving_").items()}
    transferred = signatures["transfer"](
        **clip, **named(source_points, "source_"), **named(initial, "initial_"), **switches
    )
    encoded = signatures["encode_source"](source=source)
    details = signatures["render_details"](**encoded, **{name: part[tf.newaxis] for name, part in named(moved).items()})
    unused = {name: tf.zeros_like(part) for name, part in named(initial, "initial_").items()}
    animated = signatures["animate"](
        source=source, driving=driving[tf.newaxis], use_initial=tf.constant([False]), **unused, **switches
    )
    pairs = {
        f"detect.{name}": (tensor, named(found)[name]) for name, tensor in signatures["detect"](frames=driving).items()
    }
    pairs |= {f"transfer.{name}": (tensor[0], named(moved)[name]) for name, tensor in transferred.items()}
    pairs |= {f"render.{name}": (tensor[0], expected[name]) for name, tensor in details.items()}
    pairs["animate.prediction"] = (animated["frames"][0], expected["prediction"])
    return Report(
        [
            Difference(name, _worst(*pair), _TOLERANCES.get(name.split(".")[1], _TOLERANCE))
            for name, pair in pairs.items()
        ],
        float(tf.image.psnr(animated["frames"], expected["prediction"][tf.newaxis], 1.0).numpy().min()),
    )


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

"""The checks of animation: a trained model against itself in float64, its exports, and how fast a recipe's model is."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

from fomm_tf import checkpoint, config, models
from fomm_tf.device_check import float64, timing
from fomm_tf.device_check.modes import Mode
from fomm_tf.device_check.report import FAILED, MEASURED, PASSED
from fomm_tf.evaluation import metrics
from fomm_tf.export import examples
from fomm_tf.export import report as export_report
from fomm_tf.inference.engines import choice
from fomm_tf.models import execution, folding
from fomm_tf.structures import Keypoints, Rendering

# In exact modes: half a gray level of 8-bit frames, and 0.01 pixels of frames of 256 x 256. Otherwise the least PSNR of
# a frame that `--engine auto` accepts.
_GRAY_LEVEL, _POSITION = 0.5 / 255, 1e-4
_MIN_PSNR_DB = choice.MIN_PSNR_DB
_FRAMES = 4
# A matrix product of n x n takes 2 n^3 operations.
_SIDE = {"gpu": 8192, "cpu": 2048}


class Parity:
    """A trained model in float64 on the CPU: what each mode should compute, of a drawn clip.

    Args:
      folder: the run directory.
    """

    def __init__(self, folder: str | pathlib.Path) -> None:
        self._folder = folder
        with tf.device(float64.DEVICE):
            run = checkpoint.load(folder)
            clip = examples.draw(run.config.model.frame_size, _FRAMES + 1)
            self._clip = np.float32(clip) / np.float32(255)
            exact = float64.convert(run.model)
            self._keypoints, self._rendering = _animate(exact, tf.constant(self._clip, tf.float64))

    def check(self, mode: Mode) -> tuple[str, str]:
        """Compares a mode on the default device; returns the status, and the differences in words."""
        model = checkpoint.load(self._folder, precision=mode.precision).model
        compiled = tf.function(lambda clip: _animate(model, clip), autograph=False, jit_compile=mode.xla or None)
        keypoints, rendering = compiled(tf.constant(self._clip))
        position = _difference(keypoints.value, self._keypoints.value)
        prediction = _difference(rendering.prediction, self._rendering.prediction)
        psnr = metrics.psnr(rendering.prediction, self._rendering.prediction.numpy()).min()
        differences = {"keypoints": position, "frames": prediction}
        if keypoints.jacobian is not None:
            differences["Jacobians"] = _difference(keypoints.jacobian, self._keypoints.jacobian)
        text = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
        passes = psnr >= _MIN_PSNR_DB
        limit = f"at least {_MIN_PSNR_DB:.0f} dB"
        if mode.is_exact:
            passes = position <= _POSITION and prediction <= _GRAY_LEVEL
            limit = f"keypoints {_POSITION:.0e}, frames {_GRAY_LEVEL:.0e}"
        return PASSED if passes else FAILED, f"largest differences: {text}; {psnr:.0f} dB (limit: {limit})"


def check_saved_model(folder: str | pathlib.Path, mode: Mode) -> tuple[str, str]:
    """Exports a SavedModel and compares it with the Keras model in float32, both on the default device.

    Raises:
      errors.UserError: if it differs by more than `fomm export` accepts.
    """
    from fomm_tf.export import saved_model  # needs the extra `export`

    with tempfile.TemporaryDirectory() as work:
        version = saved_model.write(folder, work, mode.precision)
        comparison = saved_model.compare(folder, version)
    saved_model.check_tolerances(comparison, mode.precision)
    worst = max(comparison.differences, key=lambda each: each.worst)
    return PASSED, f"{worst.name} differs by {worst.worst:.1e}, the animation by {comparison.psnr:.0f} dB"


def explain_no_saved_model() -> str | None:
    """Why a SavedModel cannot be exported; None if it can."""
    return _explain_missing("tensorflow_serving")


def check_onnx(folder: str | pathlib.Path) -> tuple[str, str]:
    """Exports ONNX files and compares them with the Keras model, with all execution providers of onnxruntime."""
    import onnxruntime

    from fomm_tf.export import onnx

    measured: dict[str, export_report.Variant] = {}
    with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(io.StringIO()):
        onnx.write(
            folder,
            pathlib.Path(work) / "onnx",
            ("float32",),
            check=lambda files, built: measured.update(export_report.measure(files, built)),
            whole=False,
        )
    output, worst = measured["float32"].find_worst()
    tolerance = export_report.TOLERANCE
    return PASSED if worst <= tolerance else FAILED, (
        f"{output} differs by {worst:.1e}, the animation by {measured['float32'].psnr:.0f} dB (limit: "
        f"{tolerance:.0e}); {', '.join(onnxruntime.get_available_providers())}"
    )


def explain_no_onnx(device: str) -> str | None:
    """Why ONNX files cannot be checked on a device; None if they can."""
    if reason := _explain_missing("tf2onnx", "onnx", "onnxruntime"):
        return reason
    import onnxruntime

    if device == "gpu" and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return "onnxruntime runs on the CPU only; install onnxruntime-gpu in its place"
    return None


def time_product(device: str, mode: Mode, rounds: int) -> tuple[str, str]:
    """Times a matrix product: what the device computes at best."""
    side = _SIDE[device]
    dtype = tf.as_dtype(mode.precision)
    matrix = tf.cast(tf.random.Generator.from_seed(0).normal([side, side]), dtype)
    # Its sum is little to wait for.
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)), jit_compile=mode.xla or None)
    _, measured = timing.measure(product, rounds)
    rate = 2 * side**3 / measured.quartiles[1] / 1e12
    return MEASURED, f"{rate:.3g} TFLOP/s at {side} x {side}"


def time_animation(settings: config.Config, batch_size: int, mode: Mode, rounds: int) -> tuple[str, str]:
    """Times detecting and rendering a batch of driving frames of one source, with random weights."""
    with execution.mixed_precision_scope(mode.precision):
        model = models.create(settings.model)
    folding.fold_batch_norms(model)
    frames = np.random.default_rng(0).random([batch_size, *settings.model.frame_size, 3], np.float32)
    source, driving = model.encode_source(frames[0]), tf.constant(frames)
    render = tf.function(
        lambda: model.render(source, model.detect(driving)).prediction,
        autograph=False,
        jit_compile=mode.xla or None,
    )
    prediction, measured = timing.measure(render, rounds)
    status = MEASURED if np.isfinite(prediction).all() else FAILED
    return status, f"{measured.describe(batch_size, 'frame')}; {batch_size / measured.quartiles[1]:.3g} frames/s"


def _animate(model: models.AnimationModel, clip: tf.Tensor) -> tuple[Keypoints, Rendering]:
    """The first frame of a clip in the poses of the others."""
    keypoints = model.detect(clip[1:])
    return keypoints, model.render(model.encode_source(clip[0]), keypoints)


def _difference(actual: tf.Tensor, exact: tf.Tensor) -> float:
    return float(np.abs(np.float64(actual) - exact.numpy()).max())


def _explain_missing(*modules: str) -> str | None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return f"{missing[0]} is not installed; the extra export has it" if missing else None

"""TFLite files of the five stages, in variants, with sources for Android and iOS."""

from __future__ import annotations

import pathlib
import shutil
import tempfile
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
import tqdm

from fomm_tf import checkpoint
from fomm_tf.export import cross_layer_equalization, examples, loading, module, pipeline, runner, stages

SUFFIX = ".tflite"
# The kind of each stage by variant. `dynamic` stores 8-bit weights and quantizes activations at run time, `int8` is
# 8-bit throughout. Keypoints from 8-bit convolutions are off by up to a pixel of 256, so the detector stays float. 8
# bits resolve a position to 1/256 of its range only, so the stages that compute positions and read at them do too.
VARIANTS = {
    "float32": dict.fromkeys(stages.NAMES, "float32"),
    "float16": dict.fromkeys(stages.NAMES, "float16") | {"warp": "float32"},
    "dynamic": dict.fromkeys(stages.NAMES, "dynamic") | {"detector": "float16", "warp": "float32"},
    "int8": {
        "source_encoder": "int8",
        "detector": "float16",
        "motion": "dynamic",
        "warp": "float32",
        "renderer": "int8",
    },
}
# Copied beside the files: sources for apps, which read pipeline.json at run time, and their documentation.
CLIENT_SOURCES = ("android", "android.md", "ios", "ios.md", "pipeline.md")


def write(
    folder: str | pathlib.Path,
    output: str | pathlib.Path,
    variants: Sequence[str] = tuple(VARIANTS),
    batch: int | None = 1,
    check: Callable[[pathlib.Path, stages.Stages], None] | None = None,
) -> pathlib.Path:
    """Writes a run's model.

    Args:
      folder: the run directory.
      output: directory for the files; new or empty.
      variants: names from `VARIANTS`.
      batch: driving frames per call; None leaves the size open, and the caller resizes the inputs.
      check: called with the temporary directory of the files and the stages that they were converted from, before the
        directory is renamed to `output`.

    Returns:
      `output`.

    Raises:
      errors.UserError: if the run cannot be read or `output` cannot be written.
    """
    quantization = {name: VARIANTS[name] for name in variants}
    exact, metadata = _load_stages(folder, batch)
    files = {(stage, kind) for kinds in quantization.values() for stage, kind in kinds.items()}
    calibration, saved = {}, {"exact": exact}
    if any(kind == "int8" for _, kind in files):
        calibration = pipeline.collect_inputs(exact, examples.calibration(exact.config))
        # A third of the frames, from all parts of the clips, measures the ranges as well and takes less memory.
        features = np.concatenate([inputs["warped"] for inputs in calibration["renderer"][1::3]])
        saved["equalized"], _ = _load_stages(folder, batch, features)
    with checkpoint.new_folder(output) as work, tempfile.TemporaryDirectory() as scratch:
        for name, built in saved.items():
            module.save(built.model, built.functions, pathlib.Path(scratch) / name)
        for stage, kind in tqdm.tqdm(sorted(files), unit="file", disable=None):
            source = pathlib.Path(scratch) / ("equalized" if kind == "int8" else "exact")
            converter = tf.lite.TFLiteConverter.from_saved_model(str(source), signature_keys=[stage])
            model = _convert(converter, kind, calibration.get(stage, []))
            (work / pipeline.file_name(stage, kind, SUFFIX)).write_bytes(model)
        pipeline.write(work, exact, metadata, quantization, SUFFIX)
        copy_client_sources(work)
        if check is not None:
            check(work, exact)
    return pathlib.Path(output)


def copy_client_sources(folder: pathlib.Path) -> None:
    """Copies `CLIENT_SOURCES` to a directory."""
    for name in CLIENT_SOURCES:
        source = pathlib.Path(__file__).parent / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copyfile(source, folder / name)


def _load_stages(
    folder: str | pathlib.Path, batch: int | None, features: np.ndarray | None = None
) -> tuple[stages.Stages, dict[str, object]]:
    """The stages of a run and its metadata; equalized for 8 bits if warped features are given.

    The up blocks of equalized stages end with their activation: one rounding less than with subpixel convolution.
    """
    run, metadata = loading.load(folder)
    if features is not None:
        cross_layer_equalization.equalize_decoder(run.model.generator, tf.constant(features))
    return stages.Stages(run.config, run.model, batch, use_subpixel_conv=features is None), metadata


def _convert(converter: tf.lite.TFLiteConverter, kind: str, calibration: list[runner.Arrays]) -> bytes:
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind != "int8":
        return converter.convert()
    converter.representative_dataset = lambda: iter(calibration)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    lite = tf.lite.experimental
    # The sums of the residual blocks, and their scales, stay float: every block would round them once more.
    options = lite.QuantizationDebugOptions(denylisted_ops=["ADD", "MUL"])
    debugger = lite.QuantizationDebugger(
        converter=converter, debug_dataset=lambda: iter(calibration[:1]), debug_options=options
    )
    return debugger.get_nondebug_quantized_model()

"""TFLite files of the five stages, in variants."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
import tqdm

from export import equalise, examples, module, pages, pipeline, runner, stages
from fomm_tf import checkpoint
from fomm_tf.models import folding

# What each stage of a variant is written as: `dynamic` has 8-bit weights and activations that are made 8-bit for each
# convolution, `int8` is 8-bit throughout. Keypoints from 8-bit convolutions are off by up to a pixel of 256, so the
# detector stays float; 8 bits tell a place to 1/256 of its range only, so what moves and reads places does too.
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


def write(
    folder: str | pathlib.Path,
    output: str | pathlib.Path,
    variants: Sequence[str] = tuple(VARIANTS),
    batch: int | None = 1,
    check: Callable[[pathlib.Path, stages.Stages], None] | None = None,
) -> pathlib.Path:
    """Writes a run's model.

    Args:
      folder: the run folder.
      output: folder for the files; new or empty.
      variants: which, of `VARIANTS`.
      batch: driving frames a call; None leaves it to the caller, who resizes the inputs.
      check: called with what was written, and the stages that it came from, before it gets its name.

    Returns:
      `output`.

    Raises:
      errors.UserError: if the run cannot be read or `output` cannot be written.
    """
    exact = _stages(folder, batch)
    kinds = {(stage, kind) for name in variants for stage, kind in VARIANTS[name].items()}
    samples, sources = {}, {"exact": exact}
    if any(kind == "int8" for _, kind in kinds):
        samples = pipeline.samples(exact, examples.calibration(exact.config))
        # A third of the frames, at all moments of their clips, measures as well and takes less memory.
        warped = np.concatenate([inputs["warped"] for inputs in samples["renderer"][1::3]])
        sources["even"] = _stages(folder, batch, warped)
    with checkpoint.new_folder(output) as work, tempfile.TemporaryDirectory() as scratch:
        for name, built in sources.items():
            module.save(built.model, built.functions, pathlib.Path(scratch) / name)
        for stage, kind in tqdm.tqdm(sorted(kinds), unit="file", disable=None):
            source = pathlib.Path(scratch) / ("even" if kind == "int8" else "exact")
            converter = tf.lite.TFLiteConverter.from_saved_model(str(source), signature_keys=[stage])
            (work / _name(stage, kind)).write_bytes(_convert(converter, kind, samples.get(stage, [])))
        pipeline.write(work, exact, folder, files(variants))
        pages.write(work)
        if check is not None:
            check(work, exact)
    return pathlib.Path(output)


def files(variants: Sequence[str] = tuple(VARIANTS)) -> dict[str, dict[str, str]]:
    """variant -> stage -> the name of its file."""
    return {name: {stage: _name(stage, kind) for stage, kind in VARIANTS[name].items()} for name in variants}


def _name(stage: str, kind: str) -> str:
    return f"{stage}-{kind}.tflite"


def _stages(folder: str | pathlib.Path, batch: int | None, features: np.ndarray | None = None) -> stages.Stages:
    """A run's stages; with warped features, for 8 bits throughout.

    Then channels are given like ranges, and convolutions end with their activation: one rounding less than by phases.
    """
    run = checkpoint.load(folder)
    folding.fold_batch_norms(run.model)
    if features is not None:
        equalise.equalise(run.model.generator, tf.constant(features))
    return stages.Stages(run.config, run.model, batch, use_subpixel_conv=features is None)


def _convert(converter: tf.lite.TFLiteConverter, kind: str, samples: list[runner.Arrays]) -> bytes:
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind != "int8":
        return converter.convert()
    converter.representative_dataset = lambda: iter(samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    lite = tf.lite.experimental
    # The sums of the residual blocks, and what scales them, are float: every block would round them once more.
    options = lite.QuantizationDebugOptions(denylisted_ops=["ADD", "MUL"])
    debugger = lite.QuantizationDebugger(
        converter=converter, debug_dataset=lambda: iter(samples[:1]), debug_options=options
    )
    return debugger.get_nondebug_quantized_model()

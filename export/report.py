"""What TFLite and ONNX files are worth: differences from the Keras networks, pictures, bytes, operations and times."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pathlib
import statistics
import time
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from export import examples, pipeline, runner, stages
from fomm_tf import errors

NAME = "report.md"
# Of every output of the float32 files, in shares of its largest value where that is above 1.
TOLERANCE = 1e-4
# Below, the command says so: what is looked at, in dB against float32.
WORTH = {"float16": 45.0, "dynamic": 35.0, "int8": 30.0}
# Keypoints' unit is half a side.
_PIXELS = 256 / 2
_FRAMES, _ROUNDS = 8, 5


class Variant(NamedTuple):
    """One variant.

    Attributes:
      size: bytes of its files.
      worst: stage.output -> the largest difference from the Keras networks given the same inputs.
      psnr: of the worst frame of a whole animation against the Keras networks', in dB.
      pixels: how far a keypoint is off at the most, in pixels of a frame of 256.
      times: stage -> median milliseconds a call, of one driving frame.
    """

    size: int
    worst: dict[str, float]
    psnr: float
    pixels: float
    times: dict[str, float]


def measure(folder: pathlib.Path, built: stages.Stages) -> dict[str, Variant]:
    """Runs every variant on a drawn picture and clip that nothing was calibrated on.

    Args:
      folder: with `pipeline.json` and the files.
      built: the stages that they came from, in float32.
    """
    size = built.config.model.frame_size
    picture, clip = (np.float32(examples.draw(size, _FRAMES, seed)) / 255 for seed in (7, 9))
    exact = pipeline.KerasPipeline(built)
    expected = np.stack(list(exact.animate(picture[1], clip)))
    if "animate" in built.functions:
        frames = {"source": picture[1:2], "initial": clip[:1], "driving": clip[-1:]}
        exact.run("animate", frames | {"relative": np.array([True]), "adapt_scale": np.array([True])})
    found = {}
    for name, files in _described(folder)["variants"].items():
        chain = runner.Pipeline(folder, name, os.cpu_count())
        worst, times = {}, {}
        for stage, inputs, outputs in exact.calls:
            for key, made in chain.run(stage, inputs).items():
                off = np.abs(made - outputs[key]).max() / max(1.0, np.abs(outputs[key]).max())
                worst[f"{stage}.{key}"] = max(worst.get(f"{stage}.{key}", 0.0), float(off))
        for stage, inputs, _ in {call[0]: call for call in exact.calls}.values():
            times[stage] = statistics.median(_milliseconds(chain, stage, inputs) for _ in range(_ROUNDS))
        made = np.stack(list(chain.animate(picture[1], clip)))
        psnr = float(tf.reduce_min(tf.image.psnr(made, expected, 1.0)))
        total = sum((folder / files[stage]).stat().st_size for stage in stages.NAMES)
        found[name] = Variant(total, worst, psnr, worst["detector.value"] * _PIXELS, times)
    return found


def check(folder: pathlib.Path, built: stages.Stages) -> None:
    """Measures, writes `report.md` and prints its table.

    Raises:
      errors.UserError: if an output of the float32 files is over tolerance.
    """
    variants = measure(folder, built)
    (folder / NAME).write_text(_text(folder, variants))
    print(_table(variants))
    for name, variant in variants.items():
        if variant.psnr < WORTH.get(name, 0.0):
            print(f"{name}: {variant.psnr:.1f} dB is less than {WORTH[name]:.0f}; look at its pictures first.")
    exact = variants.get("float32")
    if exact is None:
        return
    output, worst = max(exact.worst.items(), key=lambda item: item[1])
    if not worst <= TOLERANCE:
        raise errors.UserError(
            f"{output} is {worst:.2g} from the Keras model's, over {TOLERANCE:g}; this is a bug in the export, or "
            "numbers too large for float32 in the run."
        )


def analyse(file: pathlib.Path) -> tuple[int, list[str]]:
    """How many operations a TFLite file has, and what TensorFlow's analyser says that a GPU delegate refuses of it."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        tf.lite.experimental.Analyzer.analyze(model_path=str(file), gpu_compatibility=True)
    lines = told.getvalue().splitlines()
    mark = "GPU COMPATIBILITY WARNING: "
    warnings = [line.split(mark)[1].strip() for line in lines if mark in line and "Subgraph" not in line]
    return sum("Op#" in line for line in lines), sorted(set(warnings))


def _described(folder: pathlib.Path) -> dict:
    return json.loads((folder / pipeline.NAME).read_text())


def _milliseconds(chain: runner.Pipeline, stage: str, inputs: runner.Arrays) -> float:
    begin = time.perf_counter()
    chain.run(stage, inputs)
    return 1e3 * (time.perf_counter() - begin)


def _table(variants: dict[str, Variant]) -> str:
    lines = [
        "| variant | MB | PSNR against Keras, dB | keypoints off, px of 256 | ms a driving frame |",
        "|---|---|---|---|---|",
    ]
    for name, each in variants.items():
        frame = sum(each.times[stage] for stage in stages.NAMES if stage != "source_encoder")
        lines.append(f"| {name} | {each.size / 1e6:.2f} | {each.psnr:.1f} | {each.pixels:.3f} | {frame:.1f} |")
    return "\n".join(lines)


def _text(folder: pathlib.Path, variants: dict[str, Variant]) -> str:
    described = _described(folder)
    parts = [f"# {described['name']}\n"]
    parts += [f"The worst of {_FRAMES} drawn frames; times of this machine's {os.cpu_count()} cores.\n"]
    parts += [_table(variants), "\n## Milliseconds a call\n"]
    parts += [f"| stage | {' | '.join(variants)} |", "|---" * (1 + len(variants)) + "|"]
    for stage in described["stages"]:
        parts.append(f"| {stage} | {' | '.join(f'{each.times[stage]:.1f}' for each in variants.values())} |")
    parts += ["\n## Largest difference from the Keras networks, given the same inputs\n"]
    parts += [f"| output | {' | '.join(variants)} |", "|---" * (1 + len(variants)) + "|"]
    for output in next(iter(variants.values())).worst:
        parts.append(f"| {output} | {' | '.join(f'{each.worst[output]:.1e}' for each in variants.values())} |")
    if any(folder.glob("*.tflite")):
        parts += ["\n## What a GPU delegate refuses\n", "| file | MB | operations | refused |", "|---|---|---|---|"]
    for file in sorted(folder.glob("*.tflite")):
        count, warnings = analyse(file)
        size = file.stat().st_size / 1e6
        parts.append(f"| {file.name} | {size:.2f} | {count} | {'; '.join(warnings) or 'nothing'} |")
    return "\n".join(parts) + "\n"

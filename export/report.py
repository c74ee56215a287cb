"""`report.md`: how far TFLite and ONNX files are from the Keras networks, their sizes, operations and run times."""

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

from fomm_tf import errors
from fomm_tf.export import examples, pipeline, runner, stages

NAME = "report.md"
# Largest allowed difference of a float32 output, relative to its largest absolute value where that is above 1.
TOLERANCE = 1e-4
# The command warns below this PSNR, in dB against the Keras networks.
MIN_PSNR_DB = {"float16": 45.0, "dynamic": 35.0, "int8": 30.0}
# Pixels of a 256 x 256 frame per unit of keypoint coordinates, which are in [-1, 1].
_PIXELS = 256 / 2
_FRAMES, _ROUNDS = 8, 5


class Variant(NamedTuple):
    """Measurements of one variant."""

    size: int  # total size of the files in bytes
    worst: dict[str, float]  # stage.output -> the largest difference from the Keras networks for the same inputs
    psnr: float  # PSNR of the worst frame of a whole animation against the Keras networks, in dB
    pixels: float  # the largest error of a keypoint, in pixels of a 256 x 256 frame
    times: dict[str, float]  # stage -> median milliseconds per call with one driving frame

    def find_worst(self) -> tuple[str, float]:
        """The output that differs most, and its difference; NaN is more than any number."""
        return max(self.worst.items(), key=lambda item: np.nan_to_num(item[1], nan=np.inf))


def measure(folder: pathlib.Path, built: stages.Stages) -> dict[str, Variant]:
    """Runs every variant on a drawn source image and clip that were not used for calibration.

    Args:
      folder: directory with `pipeline.json` and the files.
      built: the float32 stages that the files were converted from.
    """
    size = built.config.model.frame_size
    sources, clip = (np.float32(examples.draw(size, _FRAMES, seed)) / 255 for seed in (7, 9))
    exact = pipeline.KerasPipeline(built)
    expected = np.stack(list(exact.animate(sources[1], clip)))
    if "animate" in built.functions:
        frames = {"source": sources[1:2], "initial": clip[:1], "driving": clip[-1:]}
        exact.run("animate", frames | {"relative": np.array([True]), "adapt_scale": np.array([True])})
    measured = {}
    for name, files in json.loads((folder / pipeline.NAME).read_text())["variants"].items():
        chain = runner.Pipeline(folder, name, os.cpu_count())
        worst, times = {}, {}
        for stage, inputs, outputs in exact.calls:
            for key, actual in chain.run(stage, inputs).items():
                difference = relative_difference(actual, outputs[key])
                # `max` would drop NaN.
                worst[f"{stage}.{key}"] = float(np.maximum(worst.get(f"{stage}.{key}", 0.0), difference))
        for stage, inputs, _ in {call[0]: call for call in exact.calls}.values():
            times[stage] = statistics.median(_milliseconds(chain, stage, inputs) for _ in range(_ROUNDS))
        frames = np.stack(list(chain.animate(sources[1], clip)))
        psnr = float(tf.image.psnr(frames, expected, 1.0).numpy().min())
        total = sum((folder / files[stage]).stat().st_size for stage in stages.NAMES)
        measured[name] = Variant(total, worst, psnr, worst["detector.value"] * _PIXELS, times)
    return measured


def check(folder: pathlib.Path, built: stages.Stages) -> None:
    """Measures, writes `report.md` and prints its table.

    Raises:
      errors.UserError: if an output of the float32 files exceeds the tolerance.
    """
    variants = measure(folder, built)
    (folder / NAME).write_text(_text(folder, variants))
    print(_table(variants))
    for name, variant in variants.items():
        least = MIN_PSNR_DB.get(name)
        if least is not None and not variant.psnr >= least:
            print(f"{name}: PSNR is {variant.psnr:.1f} dB; expected at least {least:.0f}; review the output images.")
    if "float32" in variants:
        check_difference(*variants["float32"].find_worst(), TOLERANCE)


def relative_difference(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest absolute difference, relative to the largest absolute value of `expected` where that is above 1."""
    return float(np.abs(actual - expected).max() / max(1.0, np.abs(expected).max()))


def check_difference(name: str, difference: float, tolerance: float) -> None:
    """Compares the difference of an output from the Keras model with its tolerance.

    Raises:
      errors.UserError: if it is larger, or NaN.
    """
    if not difference <= tolerance:
        raise errors.UserError(
            f"{name}: differs by {difference:.2g} from the Keras model; expected at most {tolerance:g}; this is a bug "
            "in the export, or the run has values too large for float32."
        )


def analyze_gpu_compatibility(file: pathlib.Path) -> tuple[int, list[str]]:
    """The number of operations in a TFLite file, and the GPU compatibility warnings of TensorFlow's analyzer."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        tf.lite.experimental.Analyzer.analyze(model_path=str(file), gpu_compatibility=True)
    lines = output.getvalue().splitlines()
    mark = "GPU COMPATIBILITY WARNING: "
    warnings = [line.split(mark)[1].strip() for line in lines if mark in line and "Subgraph" not in line]
    return sum("Op#" in line for line in lines), sorted(set(warnings))


def _milliseconds(chain: runner.Pipeline, stage: str, inputs: runner.Arrays) -> float:
    start = time.perf_counter()
    chain.run(stage, inputs)
    return 1e3 * (time.perf_counter() - start)


def _table(variants: dict[str, Variant]) -> str:
    rows = []
    for name, each in variants.items():
        frame = sum(each.times[stage] for stage in stages.NAMES if stage != "source_encoder")
        rows.append([name, f"{each.size / 1e6:.2f}", f"{each.psnr:.1f}", f"{each.pixels:.3f}", f"{frame:.1f}"])
    titles = ["variant", "MB", "PSNR against Keras, dB", "keypoint error, px of 256", "ms per driving frame"]
    return "\n".join(_rows(titles, rows))


def _rows(titles: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a Markdown table."""
    header, *lines = (f"| {' | '.join(row)} |" for row in [titles, *rows])
    return [header, "|---" * len(titles) + "|", *lines]


def _text(folder: pathlib.Path, variants: dict[str, Variant]) -> str:
    description, measured = json.loads((folder / pipeline.NAME).read_text()), list(variants.values())
    lines = [f"# {description['name']}\n", f"Worst of {_FRAMES} drawn frames; times on {os.cpu_count()} CPU cores.\n"]
    lines += [_table(variants), "\n## Milliseconds per call\n"]
    times = [[stage, *(f"{each.times[stage]:.1f}" for each in measured)] for stage in description["stages"]]
    lines += _rows(["stage", *variants], times)
    lines += ["\n## Largest difference from the Keras networks for the same inputs\n"]
    outputs = [[output, *(f"{each.worst[output]:.1e}" for each in measured)] for output in measured[0].worst]
    lines += _rows(["output", *variants], outputs)
    rows = []
    for file in sorted(folder.glob("*.tflite")):
        count, warnings = analyze_gpu_compatibility(file)
        rows.append([file.name, f"{file.stat().st_size / 1e6:.2f}", str(count), "; ".join(warnings) or "none"])
    if rows:
        lines += ["\n## GPU compatibility\n", *_rows(["file", "MB", "operations", "warnings"], rows)]
    return "\n".join(lines) + "\n"

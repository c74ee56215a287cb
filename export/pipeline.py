"""`pipeline.json`, which describes the exported files, and the same chain of stages on the Keras networks."""

from __future__ import annotations

import json
import pathlib
import shutil
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tqdm

from fomm_tf.export import runner, stages

NAME = "pipeline.json"
# variant -> stage -> what the stage's file stores its weights as, or computes in
Quantization = Mapping[str, Mapping[str, str]]


def write(
    folder: pathlib.Path,
    built: stages.Stages,
    metadata: Mapping[str, object],
    quantization: Quantization,
    suffix: str,
) -> None:
    """Writes `pipeline.json` and `runner.py` beside the exported files.

    Args:
      folder: of the files.
      built: the stages that the files were converted from.
      metadata: of the run, from `loading.load`.
      quantization: variant -> stage -> kind.
      suffix: of the files, `.tflite` or `.onnx`.
    """
    description = describe(built, metadata["name"], quantization, suffix)
    description |= {name: metadata[name] for name in ("step", "weights_sha256", "config")}
    (folder / NAME).write_text(json.dumps(description, indent=2) + "\n")
    shutil.copyfile(runner.__file__, folder / "runner.py")


def file_name(stage: str, kind: str, suffix: str) -> str:
    """The file of a stage; variants that store a stage alike share it."""
    return f"{stage}-{kind}{suffix}"


def describe(built: stages.Stages, name: str, quantization: Quantization, suffix: str) -> dict:
    """The contents of `pipeline.json`."""
    settings = built.config
    return {
        "name": name,
        "frame_size": list(settings.model.frame_size),
        "num_keypoints": settings.model.num_keypoints,
        "animate": {"mode": settings.animate.mode, "adapt_scale": settings.animate.adapt_scale},
        "source_stages": ["source_encoder", "detector"],
        "frame_stages": ["detector", "motion", "warp", "renderer"],
        "convolution_stages": list(stages.CONVOLUTIONS),
        "stages": {
            stage: {
                "inputs": _describe_tensors(function.structured_input_signature[1]),
                "outputs": _describe_tensors(function.structured_outputs),
            }
            for stage, function in built.functions.items()
        },
        "variants": {
            variant: {stage: file_name(stage, kind, suffix) for stage, kind in kinds.items()}
            for variant, kinds in quantization.items()
        },
        "quantization": quantization,
    }


def _describe_tensors(tensors: Mapping[str, tf.Tensor | tf.TensorSpec]) -> dict[str, dict]:
    return {
        name: {"shape": tensor.shape.as_list(), "dtype": tensor.dtype.name} for name, tensor in sorted(tensors.items())
    }


class KerasPipeline(runner.Pipeline):
    """The chain of stages on the functions that the files are converted from.

    Args:
      built: the stages.

    Attributes:
      calls: (stage, inputs, outputs) of every stage that ran, in order.
    """

    def __init__(self, built: stages.Stages) -> None:
        self.description = describe(built, "", {}, "")
        self.calls: list[tuple[str, runner.Arrays, runner.Arrays]] = []
        self._functions = built.functions

    def run(self, name: str, tensors: Mapping[str, np.ndarray]) -> runner.Arrays:
        """Runs one stage and records it in `calls`."""
        function = self._functions[name]
        inputs = {key: tensors[key] for key in function.structured_input_signature[1]}
        results = function(**{key: tf.constant(value) for key, value in inputs.items()})
        outputs = {key: value.numpy() for key, value in results.items()}
        self.calls.append((name, inputs, outputs))
        return outputs


def collect_inputs(built: stages.Stages, clips: list[np.ndarray]) -> dict[str, list[runner.Arrays]]:
    """Inputs of each stage while every clip animates its own first frame: stage -> one dictionary per call."""
    chain = KerasPipeline(built)
    for clip in tqdm.tqdm(clips, unit="clip", desc="calibration", disable=None):
        for _ in chain.animate(clip[0], clip):
            pass
    return {name: [inputs for stage, inputs, _ in chain.calls if stage == name] for name in built.functions}

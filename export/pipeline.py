"""What `pipeline.json` says, and the same chain of stages on the Keras networks."""

from __future__ import annotations

import json
import pathlib
import shutil
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tqdm

from export import runner, stages

NAME = "pipeline.json"


def write(
    folder: pathlib.Path, built: stages.Stages, run: str | pathlib.Path, variants: Mapping[str, dict[str, str]]
) -> None:
    """Puts `pipeline.json` and the runner beside a model's files.

    Args:
      folder: of the files.
      built: the stages that they came from.
      run: the run folder that those came from.
      variants: variant -> stage -> the name of its file.
    """
    described = describe(built, pathlib.Path(run).resolve().name, variants)
    (folder / NAME).write_text(json.dumps(described, indent=2) + "\n")
    shutil.copyfile(runner.__file__, folder / "runner.py")


def describe(built: stages.Stages, name: str, variants: Mapping[str, dict[str, str]]) -> dict:
    """What `pipeline.json` says."""

    def told(tensors: dict[str, tf.Tensor | tf.TensorSpec]) -> dict[str, dict]:
        return {
            key: {"shape": tensor.shape.as_list(), "dtype": tensor.dtype.name}
            for key, tensor in sorted(tensors.items())
        }

    settings = built.config
    return {
        "name": name,
        "frame_size": list(settings.model.frame_size),
        "num_keypoints": settings.model.num_keypoints,
        "animate": {"mode": settings.animate.mode, "adapt_scale": settings.animate.adapt_scale},
        "once_a_source": ["source_encoder", "detector"],
        "each_driving_frame": ["detector", "motion", "warp", "renderer"],
        "stages": {
            stage: {
                "inputs": told(function.structured_input_signature[1]),
                "outputs": told(function.structured_outputs),
            }
            for stage, function in built.functions.items()
        },
        "variants": variants,
    }


class KerasPipeline(runner.Pipeline):
    """The chain on the functions that the files are made of.

    Args:
      built: the stages.

    Attributes:
      calls: (stage, inputs, outputs) of every stage that ran, in order.
    """

    def __init__(self, built: stages.Stages) -> None:
        self.description = describe(built, "", {})
        self.calls: list[tuple[str, runner.Arrays, runner.Arrays]] = []
        self._functions = built.functions

    def run(self, name: str, tensors: Mapping[str, np.ndarray]) -> runner.Arrays:
        """One stage, noted in `calls`."""
        function = self._functions[name]
        inputs = {key: tensors[key] for key in function.structured_input_signature[1]}
        found = function(**{key: tf.constant(value) for key, value in inputs.items()})
        outputs = {key: value.numpy() for key, value in found.items()}
        self.calls.append((name, inputs, outputs))
        return outputs


def samples(built: stages.Stages, clips: list[np.ndarray]) -> dict[str, list[runner.Arrays]]:
    """What each stage is given while the clips are animated, each by its own first frame."""
    chain = KerasPipeline(built)
    for clip in tqdm.tqdm(clips, unit="clip", desc="calibration", disable=None):
        for _ in chain.animate(clip[0], clip):
            pass
    return {name: [inputs for stage, inputs, _ in chain.calls if stage == name] for name in built.functions}

"""Exported stages on ai-edge-litert or onnxruntime, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fomm_tf import errors, model_folders, workers
from fomm_tf.detectors import networks
from fomm_tf.export import runner
from fomm_tf.inference.engines import base
from fomm_tf.structures import EncodedSource, Keypoints, Rendering

_PACKAGES = {"litert": "ai-edge-litert", "onnxruntime": "onnxruntime"}


class StageEngine(base.Engine):
    """What `fomm export --to tflite` and `--to onnx` write; its results are NumPy arrays.

    The files transfer motion themselves, if that is asked of them; here it is transferred before they run.

    Args:
      folder: from `model_folders.read`.
      precision: one of its variants.

    Raises:
      errors.UserError: if a package is missing, or a file cannot be read.
    """

    has_details = False

    def __init__(self, folder: model_folders.ModelFolder, precision: str) -> None:
        self.name, self.precision = "litert" if folder.kind == "tflite" else "onnxruntime", precision
        self._weights_sha256, self._started = folder.weights_sha256, set()
        self._pipeline = runner.Pipeline(folder.path, precision, workers.available_cores())
        inputs = self._pipeline.description["stages"]["detector"]["inputs"]
        # onnxruntime takes all frames at once; ai-edge-litert would allocate its tensors again for each number of them.
        self._size = None if self.name == "onnxruntime" and inputs["frame"]["shape"][0] is None else 1

    def detect(self, frames: np.ndarray) -> Keypoints:
        return _keypoints(_concatenate([self._run("detector", {"frame": batch}) for batch in self._split(frames)]))

    def encode_source(self, image: np.ndarray) -> EncodedSource:
        encoded = self._run("source_encoder", {"source": image})
        return EncodedSource(image, encoded["features"], self.detect(image), encoded["source_lowres"])

    def render(self, source: EncodedSource, keypoints: Keypoints, details: bool = False) -> Rendering:
        if details:
            raise errors.UserError(
                f"{self.name} computes predictions only, not the intermediate results that `visualize` shows; use the "
                "engine keras."
            )
        fixed = {"source": source.image, "features": source.features, "source_lowres": source.lowres}
        fixed |= _named("source_", source.keypoints) | {"relative": np.array([False]), "adapt_scale": np.array([False])}
        outputs = []
        batches = [None if part is None else self._split(np.asarray(part)) for part in keypoints]
        for index in range(len(batches[0])):
            driving = Keypoints(*(None if part is None else part[index] for part in batches))
            # Absolute motion does not depend on the initial frame.
            initial = Keypoints(*(None if part is None else part[:1] for part in driving))
            state = fixed | _named("driving_", driving) | _named("initial_", initial)
            for stage in ("motion", "warp", "renderer"):
                state |= self._run(stage, state)
            outputs.append(state["prediction"])
        return Rendering(np.concatenate(outputs))

    def weights_sha256(self) -> str:
        return self._weights_sha256

    def device(self) -> str:
        return f"CPU ({_PACKAGES[self.name]}, {self.precision})"

    def _run(self, stage: str, tensors: Mapping[str, np.ndarray]) -> runner.Arrays:
        if stage in self._started:
            return self._pipeline.run(stage, tensors)
        try:
            with networks.suppress_stderr():
                outputs = self._pipeline.run(stage, tensors)
        except ModuleNotFoundError as error:
            raise missing(self.name) from error
        self._started.add(stage)
        return outputs

    def _split(self, batch: np.ndarray) -> list[np.ndarray]:
        size = self._size or len(batch)
        return [batch[start : start + size] for start in range(0, len(batch), size)]


def missing(engine: str) -> errors.UserError:
    """The error that an engine's package is not installed."""
    return errors.UserError(
        f'{_PACKAGES[engine]} is not installed; use the engine keras, or install it with: pip install "fomm-tf[export]"'
    )


def _concatenate(outputs: list[runner.Arrays]) -> runner.Arrays:
    return {name: np.concatenate([each[name] for each in outputs]) for name in outputs[0]}


def _keypoints(outputs: runner.Arrays) -> Keypoints:
    return Keypoints(outputs["value"], outputs.get("jacobian"))


def _named(prefix: str, keypoints: Keypoints) -> runner.Arrays:
    return {prefix + name: part for name, part in keypoints._asdict().items() if part is not None}

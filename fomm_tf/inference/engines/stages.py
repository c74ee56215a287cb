"""Exported stages on ai-edge-litert or onnxruntime, without TensorFlow; a run is exported into the cache once.

    CACHE/engines/HASH/ENGINE-PRECISION/     what `fomm export` writes
    CACHE/engines/HASH/timings-MACHINE.json  see `fomm_tf.inference.engines.choice`

HASH stands for the run's weights and config, and the version of this package. Any part may be deleted.
"""

from __future__ import annotations

import pathlib
import warnings
from collections.abc import Callable, Mapping

import numpy as np

import fomm_tf
from fomm_tf import errors, fetch, files, model_folders, workers
from fomm_tf.detectors import networks
from fomm_tf.export import runner
from fomm_tf.inference import engines
from fomm_tf.structures import EncodedSource, Keypoints, Rendering

_PACKAGES = {"litert": "ai-edge-litert", "onnxruntime": "onnxruntime"}


class StageEngine(engines.Engine):
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
        size = self._size or len(frames)
        batches = [frames[start : start + size] for start in range(0, len(frames), size)]
        outputs = _concatenate([self._run("detector", {"frame": batch}) for batch in batches])
        return Keypoints.from_named(outputs)

    def encode_source(self, image: np.ndarray) -> EncodedSource:
        batches = [image[index : index + 1] for index in range(len(image))]
        encoded = _concatenate([self._run("source_encoder", {"source": batch}) for batch in batches])
        return EncodedSource(image, encoded["features"], self.detect(image), encoded["source_lowres"])

    def render(self, source: EncodedSource, keypoints: Keypoints, details: bool = False) -> Rendering:
        if details:
            raise errors.UserError(
                f"`details`: {self.name} computes predictions only; use the engine keras for intermediate results."
            )
        tensors = {"source": source.image, "features": source.features, "source_lowres": source.lowres}
        tensors |= source.keypoints.named("source_")
        has_one_source = len(source.image) == 1
        driving = keypoints.map(np.asarray).named("driving_")
        count = len(driving["driving_value"])
        size = self._size or count if has_one_source else 1
        predictions = []
        for start in range(0, count, size):
            state = tensors if has_one_source else {name: part[start : start + 1] for name, part in tensors.items()}
            for name, part in driving.items():
                # Absolute motion does not depend on the initial frame.
                initial = name.replace("driving_", "initial_")
                state = state | {name: part[start : start + size], initial: part[start : start + 1]}
            state |= {"relative": np.array([False]), "adapt_scale": np.array([False])}
            for stage in ("motion", "warp", "renderer"):
                state |= self._run(stage, state)
            predictions.append(state["prediction"])
        return Rendering(np.concatenate(predictions))

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


def cache_folder(run: model_folders.ModelFolder) -> pathlib.Path:
    """The cache directory of a run, which may not exist yet.

    Raises:
      errors.UserError: if the run has no weights, or the cache has no place.
    """
    key = files.digest(model_folders.run_digest(run.path), fomm_tf.__version__).hex()[:32]
    return fetch.cache_folder() / "engines" / key


def export_once(
    run: model_folders.ModelFolder, engine: str, precision: str, report: Callable[[str], object]
) -> pathlib.Path:
    """Returns the directory of a run's files for an engine; exports them if they are not in the cache.

    Raises:
      errors.UserError: if the run cannot be read, a package for the export is missing, or the cache cannot be written.
    """
    target = cache_folder(run) / f"{engine}-{precision}"
    if (target / model_folders.PIPELINE).is_file():
        return target
    report(f"exporting {run.path} for {engine} in {precision}, once")
    try:
        # Converters report much, in Python and in C++, that does not matter here.
        with warnings.catch_warnings(), networks.suppress_stderr():
            warnings.simplefilter("ignore")
            if engine == "litert":
                from fomm_tf.export import tflite

                tflite.write(run.path, target, [precision])
            else:
                from fomm_tf.export import onnx

                onnx.write(run.path, target, [precision], whole=False)
    except ModuleNotFoundError as error:
        raise missing(engine) from error
    except errors.UserError:
        # Another process may have been faster.
        if not (target / model_folders.PIPELINE).is_file():
            raise
    return target


def missing(engine: str) -> errors.UserError:
    """The error that an engine's package is not installed."""
    return errors.UserError(
        f'{_PACKAGES[engine]} is not installed; use the engine keras, or install it with: pip install "fomm-tf[export]"'
    )


def _concatenate(outputs: list[runner.Arrays]) -> runner.Arrays:
    return {name: np.concatenate([each[name] for each in outputs]) for name in outputs[0]}

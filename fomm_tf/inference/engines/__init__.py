"""Engines that run a model: Keras, SavedModels in TensorFlow, and exported files on ai-edge-litert or onnxruntime."""

from __future__ import annotations

import abc
import sys
from collections.abc import Callable

import numpy as np

from fomm_tf import errors, model_folders
from fomm_tf.structures import EncodedSource, Keypoints, Rendering

AUTO = "auto"
# What each engine can compute in. Those of exported files are the variants of `fomm export`: `dynamic` stores 8-bit
# weights and quantizes activations while it runs, `int8` is calibrated when it is exported.
PRECISIONS = {
    "keras": ("float32", "float16", "bfloat16"),
    "litert": ("float32", "float16", "dynamic", "int8"),
    "onnxruntime": ("float32", "float16"),
}
# The engine of each kind of model directory.
OWN = {"run": "keras", "tflite": "litert", "onnx": "onnxruntime", "saved_model": "saved_model"}


class Engine(abc.ABC):
    """Runs a model's networks on frames of the model's size, float32 in [0, 1].

    Attributes:
      name: a key of `PRECISIONS`, or `saved_model`.
      precision: what the networks compute in.
      has_details: whether `render` fills all fields that `details` asks for.
    """

    name: str
    precision: str
    has_details = True

    @abc.abstractmethod
    def detect(self, frames: np.ndarray) -> Keypoints:
        """Finds the keypoints of N frames, `[N, H, W, 3]`."""

    @abc.abstractmethod
    def encode_source(self, image: np.ndarray) -> EncodedSource:
        """Computes what depends only on the source, `[1, H, W, 3]`, or on the sources of N driving frames."""

    @abc.abstractmethod
    def render(self, source: EncodedSource, keypoints: Keypoints, details: bool = False) -> Rendering:
        """Generates the source in the pose of N driving frames."""

    @abc.abstractmethod
    def weights_sha256(self) -> str:
        """Identifies the weights; equal for a run and for what was exported from it."""

    @abc.abstractmethod
    def device(self) -> str:
        """What the engine runs on, in words."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name} {self.precision}>"


def print_to_stderr(line: str) -> None:
    """Reports a line where no result is printed."""
    print(line, file=sys.stderr)


def load(
    folder: model_folders.ModelFolder,
    engine: str | None = None,
    precision: str | None = None,
    report: Callable[[str], object] = print_to_stderr,
) -> Engine:
    """Loads a model directory for an engine; a run is exported into the cache first if the engine needs files.

    Args:
      folder: from `model_folders.read`.
      engine: a key of `PRECISIONS`; None is the directory's own: keras for a run.
      precision: one of the engine's, and of the directory's variants; None is float32 where there is a choice.
      report: receives a line before an export.

    Raises:
      errors.UserError: if the directory has no such engine or precision, or cannot be read.
    """
    own = OWN[folder.kind]
    engine = engine or own
    if folder.kind == "run":
        return _load_run(folder, engine, precision or "float32", report)
    if engine != own:
        raise errors.UserError(
            f"`engine`: got {engine}; {folder.path} was exported for {own} only; choose that, or give the run."
        )
    precision = precision or default_precision(folder)
    if precision not in folder.variants:
        raise errors.UserError(
            f"`precision`: got {precision}; {folder.path} has {', '.join(folder.variants)}; choose one of these, or "
            "export the model again."
        )
    if engine == "saved_model":
        from fomm_tf.inference.engines import keras

        return keras.SavedModelEngine(folder)
    from fomm_tf.inference.engines import stages

    return stages.StageEngine(folder, precision)


def default_precision(folder: model_folders.ModelFolder) -> str:
    """float32, or the first variant of exported files without it."""
    return folder.variants[0] if folder.variants and "float32" not in folder.variants else "float32"


def _load_run(
    folder: model_folders.ModelFolder, engine: str, precision: str, report: Callable[[str], object]
) -> Engine:
    known = PRECISIONS.get(engine)
    if known is None:
        raise errors.UserError(f"engine must be one of {', '.join(PRECISIONS)}; got {engine!r}.")
    if precision not in known:
        raise errors.UserError(f"precision must be one of {', '.join(known)}; got {precision!r}.")
    if engine == "keras":
        from fomm_tf.inference.engines import keras

        return keras.load(folder.path, precision)
    from fomm_tf.inference.engines import stages

    return stages.StageEngine(model_folders.read(stages.export_once(folder, engine, precision, report)), precision)

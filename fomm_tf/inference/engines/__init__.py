"""Engines that run a model: Keras, SavedModels in TensorFlow, and exported files on ai-edge-litert or onnxruntime."""

from __future__ import annotations

from fomm_tf import errors, model_folders
from fomm_tf.inference.engines.base import AUTO, PRECISIONS, Engine

__all__ = ["AUTO", "PRECISIONS", "Engine", "load"]

# The engine of each kind of model directory.
OWN = {"run": "keras", "tflite": "litert", "onnx": "onnxruntime", "saved_model": "saved_model"}


def load(folder: model_folders.ModelFolder, engine: str | None = None, precision: str | None = None) -> Engine:
    """Loads a model directory for an engine; a run is exported into the cache first if the engine needs files.

    Args:
      folder: from `model_folders.read`.
      engine: a key of `PRECISIONS`; None is the directory's own: keras for a run.
      precision: one of the engine's, and of the directory's variants; None is float32 where there is a choice.

    Raises:
      errors.UserError: if the directory has no such engine or precision, or cannot be read.
    """
    own = OWN[folder.kind]
    engine = engine or own
    if folder.kind == "run":
        return _load_run(folder, engine, precision or "float32")
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


def _load_run(folder: model_folders.ModelFolder, engine: str, precision: str) -> Engine:
    known = PRECISIONS.get(engine)
    if known is None:
        raise errors.UserError(f"engine must be one of {', '.join(PRECISIONS)}; got {engine!r}.")
    if precision not in known:
        raise errors.UserError(f"precision must be one of {', '.join(known)}; got {precision!r}.")
    if engine == "keras":
        from fomm_tf.inference.engines import keras

        return keras.load(folder.path, precision)
    from fomm_tf.inference.engines import stages

    return stages.StageEngine(model_folders.read(stages.export_once(folder, engine, precision)), precision)

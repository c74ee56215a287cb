"""Model directories without TensorFlow: which kind one is, its config, and what identifies its weights.

Kinds: a `run` (checkpoints or packaged weights), and what `fomm export` writes: `tflite`, `onnx`, `saved_model` (the
directory of a version or of all versions).
"""

from __future__ import annotations

import pathlib
import re
from typing import NamedTuple

from fomm_tf import config, errors, files

# The default model, which is part of the package.
BUNDLED = pathlib.Path(__file__).parent / "assets" / "people-256"
PACKAGED, PIPELINE, SAVED_MODEL = "weights.npz", "pipeline.json", "saved_model.pb"
_METADATA = pathlib.PurePath("assets.extra", "metadata.json")
_RUN_FILES = ("config.yaml", "checkpoint", "ckpt-*", "best", PACKAGED, "README.txt")
_NEWEST = re.compile(r'^model_checkpoint_path: "(.*)"', re.M)


class ModelFolder(NamedTuple):
    """What a model directory holds.

    Attributes:
      path: the directory; of a SavedModel, that of the version.
      kind: `run`, `tflite`, `onnx` or `saved_model`.
      config: the run's; of an export, the sections `model` and `animate`, and defaults.
      variants: what the files of an export store or compute in; empty for a run.
      weights_sha256: of the weights that were exported; None for a run, whose weights TensorFlow reads.
      step: how many steps an exported model was trained; None for a run.
    """

    path: pathlib.Path
    kind: str
    config: config.Config
    variants: tuple[str, ...] = ()
    weights_sha256: str | None = None
    step: int | None = None


def read(folder: str | pathlib.Path) -> ModelFolder:
    """Reads what a model directory holds.

    Raises:
      errors.UserError: if it is not a model directory.
    """
    path = pathlib.Path(folder)
    if (path / PIPELINE).is_file():
        description = _read_description(path / PIPELINE)
        variants = description["variants"]
        suffixes = {pathlib.PurePath(name).suffix for stages in variants.values() for name in stages.values()}
        kind = "onnx" if suffixes == {".onnx"} else "tflite"
        return ModelFolder(path, kind, *_exported(description, path / PIPELINE, tuple(variants)))
    version = _version(path)
    if version is not None:
        description = _read_description(version / _METADATA)
        names = (description["precision"],)
        return ModelFolder(version, "saved_model", *_exported(description, version / _METADATA, names))
    return ModelFolder(path, "run", read_config(path))


def read_config(folder: str | pathlib.Path) -> config.Config:
    """Reads the config of a run directory.

    Raises:
      errors.UserError: if it has none.
    """
    path = pathlib.Path(folder) / "config.yaml"
    if not path.is_file():
        reason = "does not exist" if not path.parent.exists() else "has no config.yaml"
        raise errors.UserError(
            f"{folder} is not a run directory: it {reason}; create one with `fomm convert` or `fomm train`."
        )
    return config.load(path)


def list_files(folder: str | pathlib.Path) -> list[pathlib.Path]:
    """The files and directories that loading a model may read; other files may be added beside those of a run."""
    path = pathlib.Path(folder)
    if (path / PIPELINE).is_file() or _version(path) is not None:
        return [path]
    return [file for pattern in _RUN_FILES for file in path.glob(pattern)]


def run_digest(folder: str | pathlib.Path) -> str:
    """Identifies the model of a run directory by the contents of its config and its newest weights, in 64 hex digits.

    Raises:
      errors.UserError: if it has no weights.
    """
    path = pathlib.Path(folder)
    weights = [path / PACKAGED]
    if not weights[0].is_file():
        newest = _NEWEST.search((path / "checkpoint").read_text("utf-8")) if (path / "checkpoint").is_file() else None
        weights = sorted(path.glob(f"{pathlib.PurePath(newest[1]).name}.*")) if newest else []
    if not weights:
        raise errors.UserError(f"{folder} has no checkpoint (ckpt-*.index and the file `checkpoint`).")
    contents = [config.dump(read_config(path))]
    return files.digest(*contents, *(files.file_digest(file) for file in weights)).hex()


def _version(path: pathlib.Path) -> pathlib.Path | None:
    """The directory of a SavedModel: `path` itself or its newest version."""
    versions = sorted((each for each in path.glob("*") if each.name.isdecimal()), key=lambda each: int(each.name))
    return next((each for each in (path, *reversed(versions)) if (each / SAVED_MODEL).is_file()), None)


def _read_description(path: pathlib.Path) -> dict:
    description = files.read_json(path)
    if not (isinstance(description, dict) and {"config", "weights_sha256", "step"} <= description.keys()):
        raise errors.UserError(f"{path} does not describe the model that it belongs to; export the model again.")
    return description


def _exported(
    description: dict, source: pathlib.Path, variants: tuple[str, ...]
) -> tuple[config.Config, tuple[str, ...], str, int]:
    settings = config.parse(description["config"], str(source))
    return settings, variants, description["weights_sha256"], description["step"]

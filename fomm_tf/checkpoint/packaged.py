"""Packaged models: float16 weights in one `weights.npz` instead of checkpoints, for distribution."""

from __future__ import annotations

import pathlib
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterator

import numpy as np
import tensorflow as tf

from fomm_tf import errors, model_folders
from fomm_tf.checkpoint import runs

NAME = model_folders.PACKAGED
# What NumPy raises for a damaged file; its headers are parsed as Python literals.
_UNREADABLE = (
    OSError, EOFError, LookupError, MemoryError, RuntimeError, SyntaxError, TypeError, ValueError, struct.error,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def is_packaged(folder: str | pathlib.Path) -> bool:
    """Whether a directory holds a packaged model."""
    return (pathlib.Path(folder) / NAME).is_file()


def write(folder: str | pathlib.Path, run: runs.Run) -> None:
    """Writes the model's variables by their paths, such as `detector/keypoint_head/kernel`.

    Raises:
      errors.UserError: if a weight is NaN, infinite or too large for float16.
    """
    arrays = {name: np.int64(getattr(run, name)) for name in runs.COUNTS}
    for name, variable in _variables(run):
        value = variable.numpy()
        with np.errstate(over="ignore"):
            arrays[name] = value.astype(np.float16) if value.dtype == np.float32 else value
        if not np.isfinite(arrays[name]).all():
            raise errors.UserError(
                f"{name} holds NaN or values beyond the range of float16; this run cannot be packaged."
            )
    np.savez_compressed(pathlib.Path(folder) / NAME, **arrays)


def load(folder: str | pathlib.Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Reads the arrays of a packaged model by their names.

    Args:
      folder: the model's directory.
      names: which to read; None is all.

    Raises:
      errors.UserError: if they cannot be read.
    """
    path = pathlib.Path(folder) / NAME
    try:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in (stored.files if names is None else names)}
        # NumPy returns the bytes of what is no array.
        if foreign := [name for name, value in arrays.items() if not isinstance(value, np.ndarray)]:
            raise ValueError(f"{foreign[0]} is not an array")
        return arrays
    except _UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise errors.UserError(f"{path} cannot be read: {reason}; download or copy it again.") from error


def read_count(folder: str | pathlib.Path, name: str) -> int:
    """Reads the `epoch` or the `step`; raises as `load`."""
    return _whole_number(load(folder, [name])[name], name, f"{folder}/{NAME}")


def _whole_number(value: np.ndarray, name: str, source: str) -> int:
    if value.shape or value.dtype.kind not in "iu":
        raise errors.UserError(f"{source}: {name} must be a whole number; got {value.dtype}{list(value.shape)}.")
    return int(value)


def restore(run: runs.Run, folder: str | pathlib.Path) -> None:
    """Assigns the weights and counts of a packaged model to a run.

    Raises:
      errors.UserError: if the weights cannot be read or belong to another model.
    """
    arrays, wrong = load(folder), f"{folder}/{NAME} does not hold the model of {folder}/config.yaml"
    for name in runs.COUNTS:
        setattr(run, name, _whole_number(arrays.pop(name, np.int64(0)), name, wrong))
    for name, variable in _variables(run):
        value = arrays.pop(name, None)
        if value is None or value.shape != variable.shape:
            problem = "is missing" if value is None else f"is {list(value.shape)}, not {list(variable.shape)}"
            raise errors.UserError(f"{wrong}: {name} {problem}.")
        if value.dtype.kind not in "fiu":
            raise errors.UserError(f"{wrong}: {name} must be of numbers; got {value.dtype}.")
        variable.assign(value.astype(variable.dtype.as_numpy_dtype))
    if arrays:
        raise errors.UserError(f"{wrong}: {min(arrays)} is unexpected.")


def _variables(run: runs.Run) -> Iterator[tuple[str, tf.Variable]]:
    for name in runs.NETWORKS:
        yield from _below(name, getattr(run.model, name), set())


def _below(path: str, trackable: object, seen: set[int]) -> Iterator[tuple[str, tf.Variable]]:
    """Yields the variables below an object, each once, by attribute path as in a checkpoint."""
    if id(trackable) in seen:
        return
    seen.add(id(trackable))
    if isinstance(trackable, tf.Variable):
        yield path, trackable
        return
    for name, child in sorted(tf.train.TrackableView.children(trackable).items()):
        yield from _below(f"{path}/{name}", child, seen)

"""Restores runs from run directories."""

from __future__ import annotations

import pathlib
import textwrap
from collections.abc import Collection

import tensorflow as tf

from fomm_tf import config, errors
from fomm_tf.checkpoint import packed
from fomm_tf.checkpoint import run as runs
from fomm_tf.models import execution

# What TensorFlow raises for a damaged checkpoint; a file that is cut short is an IndexError.
_UNREADABLE = (IndexError, ValueError, tf.errors.OpError)
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def load(folder: str | pathlib.Path, training: bool = False, precision: str = "float32") -> runs.Run:
    """Loads the newest checkpoint of a run directory, or a packaged model.

    Args:
      folder: the run directory.
      training: load the discriminator and the optimizers too, where the run has them.
      precision: what the networks compute in, one of `config.PRECISIONS`.

    Raises:
      errors.UserError: if the directory is not a run directory, its checkpoint does not fit its config, or the
        precision is unknown.
    """
    with execution.mixed_precision_scope(precision):
        settings = read_config(folder)
        stored = stored_parts(folder) if training else ()
        run = runs.build(settings, "discriminator" in stored, "optimizers" in stored)
        restore(run, folder)
    return run


def restore(
    run: runs.Run,
    folder: str | pathlib.Path,
    parts: Collection[str] = runs.PARTS,
    optimizers: Collection[str] | None = None,
) -> None:
    """Restores a run, or parts of it, from the newest checkpoint of a run directory.

    Args:
      run: built with the checkpoint's config.
      folder: the run directory.
      parts: which of the networks to restore.
      optimizers: which of the optimizers; None is all.

    Raises:
      errors.UserError: if the checkpoint cannot be read or does not fit.
    """
    if packed.is_packed(folder):
        packed.restore(run, folder)
        return
    prefix, stored = newest(folder), stored_shapes(folder)
    target = runs.trackable(run, parts, optimizers)
    try:
        status = target.read(prefix).expect_partial()
        status.assert_existing_objects_matched()
    except (AssertionError, *_UNREADABLE) as error:
        # TensorFlow lists every variable that it cannot match.
        reason = textwrap.shorten(str(error).strip().splitlines()[0], 300, placeholder=" ...")
        raise errors.UserError(f"{prefix} does not hold the model of {folder}/config.yaml: {reason}") from error
    for name, network in run.parts().items():
        surplus = sum(key.startswith(f"{name}/") for key in stored) - len(network.weights)
        if surplus and name in parts:
            raise errors.UserError(
                f"{prefix} does not hold the model of {folder}/config.yaml: it has {surplus} more tensors for {name}."
            )
    run.epoch, run.step = int(target.epoch.numpy()), int(target.step.numpy())


def stored_parts(folder: str | pathlib.Path) -> frozenset[str]:
    """The parts of the newest checkpoint, such as `generator`, `optimizers` and `optimizers/NAME`.

    Raises:
      errors.UserError: if there is no readable checkpoint.
    """
    keys = [key.split("/") for key in stored_shapes(folder)]
    return frozenset(key[0] for key in keys) | {"/".join(key[:2]) for key in keys if key[0] == "optimizers"}


def read_config(folder: str | pathlib.Path) -> config.Config:
    """Reads the config of a run directory.

    Raises:
      errors.UserError: if it has none.
    """
    path = pathlib.Path(folder) / "config.yaml"
    if not path.is_file():
        found = "does not exist" if not path.parent.exists() else "has no config.yaml"
        raise errors.UserError(
            f"{folder} is not a run directory: it {found}; `fomm convert` and `fomm train` make one."
        )
    return config.load(path)


def newest(folder: str | pathlib.Path) -> str:
    """The prefix of the newest checkpoint in a run directory.

    Raises:
      errors.UserError: if there is none.
    """
    prefix = tf.train.latest_checkpoint(str(folder))
    if prefix is None:
        raise errors.UserError(f"{folder} has no checkpoint (ckpt-*.index and the file `checkpoint`).")
    return prefix


def stored_shapes(folder: str | pathlib.Path) -> dict[str, tuple[int, ...]]:
    """The tensors of the newest checkpoint, `part/path/to/it` -> shape, without reading them.

    Raises:
      errors.UserError: if there is no readable checkpoint.
    """
    if packed.is_packed(folder):
        return {name: value.shape for name, value in packed.load(folder).items()}
    prefix = newest(folder)
    try:
        variables = tf.train.list_variables(prefix)
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0]
        raise errors.UserError(f"{prefix} is not a readable checkpoint: {reason}") from error
    return {name.removesuffix(_SUFFIX): tuple(shape) for name, shape in variables if name.endswith(_SUFFIX)}


def read_count(folder: str | pathlib.Path, name: str) -> int:
    """Reads the `epoch` or the `step` of the newest checkpoint.

    Raises:
      errors.UserError: if there is no readable checkpoint.
    """
    if packed.is_packed(folder):
        return int(packed.load(folder, [name])[name])
    prefix = newest(folder)
    try:
        return int(tf.train.load_variable(prefix, name + _SUFFIX))
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0]
        raise errors.UserError(f"{prefix} is not a readable checkpoint: {reason}") from error

"""Restores runs from run directories, resumes training, and initializes a new run from another one's weights."""

from __future__ import annotations

import itertools
import pathlib
import textwrap
from collections.abc import Collection, Iterator

import tensorflow as tf

from fomm_tf import config, errors, model_folders
from fomm_tf.checkpoint import runs
from fomm_tf.models import execution

# Raised by TensorFlow for a damaged checkpoint; IndexError for a truncated file.
_UNREADABLE = (IndexError, ValueError, tf.errors.OpError)
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
# Keys of the model section that may differ from the run that initializes a new one: they do not change what a weight
# means.
_FREE = (
    "frame_size", "align_corners", "resize_displacements", "motion_scale", "keypoint_detector.scale",
    "keypoint_detector.antialias_size", "dense_motion.antialias_size", "generator.scale", "discriminator",
)  # fmt: skip


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
        settings = model_folders.read_config(folder)
        stored = stored_parts(folder) if training else ()
        run = runs.build(settings, "discriminator" in stored, "optimizers" in stored)
        _restore(run, folder)
    return run


def resume(folder: str | pathlib.Path, settings: config.Config, discriminator: bool) -> tuple[runs.Run, list[str]]:
    """Restores a run, with optimizers, from the newest checkpoint of a run directory.

    Args:
      folder: the run directory.
      settings: of the resumed run; its model is the directory's.
      discriminator: whether the run needs one.

    Returns:
      The run, and the parts that the checkpoint lacks, which are initialized again.

    Raises:
      errors.UserError: if the checkpoint cannot be read or does not fit.
    """
    if runs.is_packaged(folder):
        raise errors.UserError(
            f"{folder} is a packaged model ({runs.PACKAGED}) without training state; start a new run with `init_from`."
        )
    stored = stored_parts(folder)
    run = runs.build(settings, discriminator or "discriminator" in stored, optimizers=True)
    optimizers = [name for name in run.optimizers if f"optimizers/{name}" in stored]
    _restore(run, folder, stored, optimizers)
    missing = [name for name in run.parts() if name not in stored]
    return run, missing + [f"Adam of the {name}" for name in run.optimizers if name not in optimizers]


def initialize(run: runs.Run, folder: str | pathlib.Path) -> list[str]:
    """Copies the weights of another run into a new one; optimizers and counts stay as initialized.

    The frame size, the scales of the frames that the networks see and the discriminator may differ.

    Args:
      run: the new run.
      folder: the other run's directory; a converted or packaged model works too.

    Returns:
      The networks that stay randomly initialized, since the other run has none that fits.

    Raises:
      errors.UserError: if the other run cannot be read or has another model.
    """
    other = load(folder, training=run.discriminator is not None)
    theirs, missing = other.parts(), []
    for name, network in run.parts().items():
        pairs = list(_pairs(network, theirs.get(name)))
        if all(mine is not None and value is not None and mine.shape == value.shape for mine, value in pairs):
            for variable, value in pairs:
                variable.assign(value)
        elif name == "discriminator":
            missing.append(name)
        else:
            raise errors.UserError(
                f"{folder} has another model than the config: {_differences(run, other)}; copy its model section, or "
                "omit `init_from`."
            )
    return missing


def newest(folder: str | pathlib.Path) -> str:
    """The prefix of the newest checkpoint in a run directory.

    Raises:
      errors.UserError: if there is none.
    """
    try:
        prefix = tf.train.latest_checkpoint(str(folder))
    except _UNREADABLE as error:
        raise _unreadable(f"{folder}/checkpoint", error) from error
    if prefix is None:
        raise errors.UserError(f"{folder} has no checkpoint (ckpt-*.index and the file `checkpoint`).")
    return prefix


def stored_parts(folder: str | pathlib.Path) -> frozenset[str]:
    """The parts of the newest checkpoint, such as `generator`, `optimizers` and `optimizers/NAME`.

    Raises:
      errors.UserError: if there is no readable checkpoint.
    """
    keys = [key.split("/") for key in stored_shapes(folder)]
    return frozenset(key[0] for key in keys) | {"/".join(key[:2]) for key in keys if key[0] == "optimizers"}


def stored_shapes(folder: str | pathlib.Path) -> dict[str, tuple[int, ...]]:
    """The tensors of the newest checkpoint, `part/path/to/it` -> shape, without reading them.

    Raises:
      errors.UserError: if there is no readable checkpoint.
    """
    if runs.is_packaged(folder):
        return {name: value.shape for name, value in runs.load_packaged(folder).items()}
    prefix = newest(folder)
    try:
        variables = tf.train.list_variables(prefix)
    except _UNREADABLE as error:
        raise _unreadable(prefix, error) from error
    return {name.removesuffix(_SUFFIX): tuple(shape) for name, shape in variables if name.endswith(_SUFFIX)}


def read_count(folder: str | pathlib.Path, name: str) -> int:
    """Reads the `epoch` or the `step` of the newest checkpoint.

    Raises:
      errors.UserError: if there is no readable checkpoint.
    """
    if runs.is_packaged(folder):
        return runs.read_packaged_count(folder, name)
    prefix = newest(folder)
    try:
        return int(tf.train.load_variable(prefix, name + _SUFFIX))
    except _UNREADABLE as error:
        raise _unreadable(prefix, error) from error


def _restore(
    run: runs.Run,
    folder: str | pathlib.Path,
    parts: Collection[str] | None = None,
    optimizers: Collection[str] | None = None,
) -> None:
    """Restores a run, or parts of it; None means all of them."""
    if runs.is_packaged(folder):
        runs.restore_packaged(run, folder)
        return
    prefix, stored = newest(folder), stored_shapes(folder)
    target = runs.trackable(run, parts, optimizers)
    try:
        status = target.read(prefix).expect_partial()
        status.assert_existing_objects_matched()
    except (AssertionError, *_UNREADABLE) as error:
        reason = _reason(error)
        raise errors.UserError(f"{prefix} does not hold the model of {folder}/config.yaml: {reason}") from error
    for name, network in run.parts().items():
        surplus = sum(key.startswith(f"{name}/") for key in stored) - len(network.weights)
        if surplus and (parts is None or name in parts):
            raise errors.UserError(
                f"{prefix} does not hold the model of {folder}/config.yaml: it has {surplus} more tensors for {name}."
            )
    run.epoch, run.step = int(target.epoch.numpy()), int(target.step.numpy())


def _unreadable(prefix: str, error: Exception) -> errors.UserError:
    return errors.UserError(f"{prefix} is not a readable checkpoint: {_reason(error)}")


def _reason(error: Exception) -> str:
    # TensorFlow lists every variable that it cannot match.
    first = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return textwrap.shorten(first, 300, placeholder=" ...")


def _pairs(network: tf.keras.Model, other: tf.keras.Model | None) -> Iterator[tuple[tf.Variable, tf.Variable | None]]:
    """Pairs the variables of two networks; anti-alias kernels only where both have the same."""
    if other is None:
        yield network.weights[0], None
        return
    kernels = [getattr(getattr(each, "antialias", None), "kernel", None) for each in (network, other)]
    weights = (
        [weight for weight in each.weights if weight is not kernel]
        for each, kernel in zip((network, other), kernels, strict=True)
    )
    yield from itertools.zip_longest(*weights)
    if all(kernel is not None for kernel in kernels) and kernels[0].shape == kernels[1].shape:
        yield tuple(kernels)


def _differences(run: runs.Run, other: runs.Run) -> str:
    """The keys of the model section that differ and must not."""
    free = tuple(f"model.{key}" for key in _FREE)
    different = config.differences(run.config, other.config)
    fixed = {key: pair for key, pair in different.items() if key.startswith("model.") and not key.startswith(free)}
    return ", ".join(f"{key} is {theirs} there and {ours} here" for key, (ours, theirs) in fixed.items())

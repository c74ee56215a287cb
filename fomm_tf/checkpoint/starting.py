"""Starts training: resumes a run directory, or initializes a new run from another run's weights."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import tensorflow as tf

from fomm_tf import config, errors
from fomm_tf.checkpoint import packed, reading
from fomm_tf.checkpoint import run as runs

# May differ from the run that the weights come from: none of it changes the meaning of a weight.
_FREE = ("frame_size", "align_corners", "motion_scale", "keypoint_detector.scale", "discriminator")


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
    if packed.is_packed(folder):
        raise errors.UserError(
            f"{folder} is a packaged model ({packed.NAME}) without training state; start a new run with --init-from."
        )
    stored = reading.stored_parts(folder)
    run = runs.build(settings, discriminator or "discriminator" in stored, optimizers=True)
    optimizers = [name for name in run.optimizers if f"optimizers/{name}" in stored]
    reading.restore(run, folder, stored, optimizers)
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
    other = reading.load(folder, training=run.discriminator is not None)
    theirs, missing = other.parts(), []
    for name, network in run.parts().items():
        pairs = list(_pairs(network, theirs.get(name)))
        if name == "discriminator" and not _fit(pairs):
            missing.append(name)
            continue
        if not _fit(pairs):
            raise errors.UserError(
                f"{folder} has another model than the config: {_differences(run, other)}; copy its model section, or "
                "omit --init-from."
            )
        for variable, value in pairs:
            variable.assign(value)
    return missing


def _pairs(network: tf.keras.Model, other: tf.keras.Model | None) -> Iterator[tuple[tf.Variable, tf.Variable | None]]:
    """Pairs the variables of two networks; anti-alias kernels only where both have the same."""
    if other is None:
        yield network.weights[0], None
        return
    kernels = [getattr(getattr(each, "antialias", None), "kernel", None) for each in (network, other)]
    mine, theirs = (
        [weight for weight in each.weights if weight is not kernel]
        for each, kernel in zip((network, other), kernels, strict=True)
    )
    for i in range(max(len(mine), len(theirs))):
        yield (mine[i] if i < len(mine) else None), (theirs[i] if i < len(theirs) else None)
    if all(kernel is not None for kernel in kernels) and kernels[0].shape == kernels[1].shape:
        yield tuple(kernels)


def _fit(pairs: list[tuple[tf.Variable | None, tf.Variable | None]]) -> bool:
    return all(mine is not None and theirs is not None and mine.shape == theirs.shape for mine, theirs in pairs)


def _differences(run: runs.Run, other: runs.Run) -> str:
    """The keys of the model section that differ and must not."""
    free = tuple(f"model.{key}" for key in _FREE)
    different = config.differences(run.config, other.config)
    fixed = {key: pair for key, pair in different.items() if key.startswith("model.") and not key.startswith(free)}
    return ", ".join(f"{key} is {theirs} there and {ours} here" for key, (ours, theirs) in fixed.items())

"""How a training run begins: with what a run folder holds, or with another run's weights."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import tensorflow as tf

from fomm_tf import config, errors
from fomm_tf.checkpoint import packed, reading
from fomm_tf.checkpoint import run as runs

# What may differ from the run that the weights come from: none of it changes what a weight means.
_FREE = ("frame_size", "align_corners", "motion_scale", "keypoint_detector.scale", "discriminator")


def resume(folder: str | pathlib.Path, settings: config.Config, discriminator: bool) -> tuple[runs.Run, list[str]]:
    """A run that goes on from a folder's newest checkpoint.

    Args:
      folder: the run folder.
      settings: of the run that goes on; its model is the folder's.
      discriminator: whether it needs one.

    Returns:
      The run with optimisers, and what of it the checkpoint does not hold and starts anew.

    Raises:
      errors.UserError: if the checkpoint cannot be read or does not fit.
    """
    if packed.is_packed(folder):
        raise errors.UserError(f"{folder} holds weights alone ({packed.NAME}): begin a new run with --init-from.")
    stored = reading.stored_parts(folder)
    run = runs.build(settings, discriminator or "discriminator" in stored, optimizers=True)
    optimizers = [name for name in run.optimizers if f"optimizers/{name}" in stored]
    reading.restore(run, folder, stored, optimizers)
    anew = [name for name in run.parts() if name not in stored]
    return run, anew + [f"Adam of the {name}" for name in run.optimizers if name not in optimizers]


def initialise(run: runs.Run, folder: str | pathlib.Path) -> list[str]:
    """Gives a new run the weights of another one; optimisers and counts start anew.

    The size of the frames, the scales that the networks look at them at and the discriminator may differ.

    Args:
      run: to fill.
      folder: run folder of the other one; converted ones will do.

    Returns:
      The networks that start anew, since the other run has none that fits.

    Raises:
      errors.UserError: if the other one cannot be read or is another model.
    """
    other = reading.load(folder, training=run.discriminator is not None)
    theirs, anew = other.parts(), []
    for name, network in run.parts().items():
        pairs = list(_pairs(network, theirs.get(name)))
        if name == "discriminator" and not _fit(pairs):
            anew.append(name)
            continue
        if not _fit(pairs):
            raise errors.UserError(
                f"{folder} holds another model than the config: {_differences(run, other)}; take over its model "
                "section, or leave --init-from out."
            )
        for mine, found in pairs:
            mine.assign(found)
    return anew


def _pairs(network: tf.keras.Model, other: tf.keras.Model | None) -> Iterator[tuple[tf.Variable, tf.Variable | None]]:
    """The variables of two networks; anti-alias kernels only where both have the same."""
    if other is None:
        yield network.weights[0], None
        return
    kernels = [getattr(getattr(found, "antialias", None), "kernel", None) for found in (network, other)]
    mine, theirs = (
        [weight for weight in found.weights if weight is not kernel]
        for found, kernel in zip((network, other), kernels, strict=True)
    )
    for i in range(max(len(mine), len(theirs))):
        yield (mine[i] if i < len(mine) else None), (theirs[i] if i < len(theirs) else None)
    if all(kernel is not None for kernel in kernels) and kernels[0].shape == kernels[1].shape:
        yield tuple(kernels)


def _fit(pairs: list[tuple[tf.Variable | None, tf.Variable | None]]) -> bool:
    return all(mine is not None and theirs is not None and mine.shape == theirs.shape for mine, theirs in pairs)


def _differences(run: runs.Run, other: runs.Run) -> str:
    """The keys of the model section that two runs do not share and should."""
    free = tuple(f"model.{key}" for key in _FREE)
    different = config.differences(run.config, other.config)
    wanted = {key: pair for key, pair in different.items() if key.startswith("model.") and not key.startswith(free)}
    return ", ".join(f"{key} is {theirs} there and {ours} here" for key, (ours, theirs) in wanted.items())

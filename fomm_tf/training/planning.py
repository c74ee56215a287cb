"""What precedes a training: a recipe for a user's own clips or for one person, a dry run, a learning rate test."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import resource
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fomm_tf import checkpoint, config, errors
from fomm_tf.training import reporting, setup
from fomm_tf.training import step as steps

_TIMED_STEPS = 2
# Of a training on a user's own clips: steps, tests, the part of the time that steps take, and decay of the rates.
_FEWEST_STEPS, _MOST_STEPS, _TESTS, _SHARE_OF_STEPS, _DECAY = 20, 20_000, 6, 0.85, (0.7, 0.9)
# Of a fine-tuning for one person: most steps, tests, patience, the part of the recipe's learning rates, the largest
# batch, and the most test frames.
_FEW_STEPS, _MORE_TESTS, _PATIENCE, _LOW_RATE, _SMALL_BATCH, _FEW_FRAMES = 500, 10, 3, 0.1, 8, 64
# Few clips: colors are varied, so that a model does not learn them by heart.
_AUGMENT = config.AugmentConfig(brightness=0.1, contrast=0.1, saturation=0.1, hue=0.05)
# In place of one whose file a user must give.
_BACKBONE = "efficientnet_lite0"
_RATES, _LOWEST, _HIGHEST = 100, 1e-6, 1e-1
# Steps whose losses are averaged, and the growth of the loss at which a test ends.
_WINDOW, _DIVERGED = 5, 4.0


class Plan(NamedTuple):
    """How to train on a user's own clips.

    Attributes:
      settings: the config, without data and steps.
      init_from: run directory whose weights to start from; None initializes randomly.
      reason: why, in words.
      most_steps: upper limit of the steps.
      tests: number of validations.
    """

    settings: config.Config
    init_from: pathlib.Path | None
    reason: str
    most_steps: int = _MOST_STEPS
    tests: int = _TESTS


def choose_plan(side: int, init_from: pathlib.Path | None, has_gpu: bool) -> Plan:
    """Chooses a recipe by the videos' size and the machine.

    Args:
      side: the shorter side of the smallest video, in pixels.
      init_from: run directory whose weights to start from; None starts from random ones.
      has_gpu: whether TensorFlow finds a GPU.

    Raises:
      errors.UserError: if `init_from` is not a run directory.
    """
    if init_from is not None:
        return Plan(*_start_from(init_from))
    name = "face-128" if has_gpu and side >= 96 else "face-64"
    why = "a GPU" if has_gpu else "no GPU"
    return Plan(config.load(config.recipes()[name]), None, f"the recipe {name}, for {why} and videos of {side} pixels")


def choose_personal_plan(init_from: pathlib.Path) -> Plan:
    """Plans a fine-tuning for one person: few steps, low learning rates, early stopping on held-out frames.

    The moving statistics are frozen: batches of one person have others than those that the weights were trained with.

    Args:
      init_from: run directory whose weights to start from.

    Raises:
      errors.UserError: if `init_from` is not a run directory.
    """
    settings, init_from, reason = _start_from(init_from)
    train = settings.train
    rates = {
        name: _LOW_RATE * getattr(train, name)
        for name in ("learning_rate_generator", "learning_rate_detector", "learning_rate_discriminator")
    }
    batch, frames = min(train.batch_size, _SMALL_BATCH), min(train.test_frames, _FEW_FRAMES)
    kept = {"patience": _PATIENCE, "freeze_statistics": True}
    train = dataclasses.replace(train, batch_size=batch, test_frames=frames, **kept, **rates)
    reason += f", at {_LOW_RATE:g} of its learning rates"
    return Plan(dataclasses.replace(settings, train=train), init_from, reason, _FEW_STEPS, _MORE_TESTS)


def _start_from(init_from: pathlib.Path) -> tuple[config.Config, pathlib.Path, str]:
    """The recipe of a run to start from, the run, and a description."""
    settings = checkpoint.read_config(init_from)
    height, width = settings.model.frame_size
    reason = f"frames of {width}x{height} and the weights of {init_from.name} to start from"
    if settings.train.backbone == "vgg19" and settings.train.backbone_file is None:
        train = dataclasses.replace(settings.train, backbone=_BACKBONE, feature_scales=None)
        settings = dataclasses.replace(settings, train=train)
        reason += f", with the perceptual loss of {_BACKBONE}, since vgg19 needs a file (train.backbone_file)"
    return settings, init_from, reason


def plan_training(
    plan: Plan, root: pathlib.Path, minutes: float, overrides: Sequence[str], report: Callable[[str], object]
) -> config.Config:
    """The config of a training that takes so many minutes, whose steps are timed.

    Args:
      plan: from `choose_plan` or `choose_personal_plan`.
      root: directory of the clips, which training splits.
      minutes: how long the training may take.
      overrides: `section.key=value` assignments of the user; `train.steps` is used as it is.
      report: receives lines for the user.

    Raises:
      errors.UserError: for clips or settings that cannot be used.
    """
    data = config.DataConfig(root=str(root), augment=_AUGMENT)
    train = dataclasses.replace(plan.settings.train, steps=plan.most_steps, lr_decay_fractions=_DECAY, init_from=None)
    settings = config.override(dataclasses.replace(plan.settings, data=data, train=train), overrides)
    count = settings.train.steps
    if not any(assignment.startswith("train.steps=") for assignment in overrides):
        session = setup.prepare(settings, setup.choose_strategy(), None, plan.init_from, lambda line: None)
        seconds = dry_run(session, lambda line: None) / _SHARE_OF_STEPS
        count = min(plan.most_steps, max(_FEWEST_STEPS, int(minutes * 60 / seconds)))
        batch, duration = settings.train.batch_size, reporting.format_duration(count * seconds)
        at_most = "at most " if settings.train.patience else ""
        report(f"{count} steps of {batch} pairs take {at_most}about {duration}, with tests and pictures")
    tests = max(1, count // plan.tests)
    cadence = {"test_steps": tests, "checkpoint_steps": tests, "log_steps": max(1, min(50, tests // 4))}
    train = dataclasses.replace(settings.train, steps=count, **cadence)
    return config.override(dataclasses.replace(settings, train=train), overrides)


def dry_run(session: setup.Session, report: Callable[[str], object]) -> float:
    """Makes a few steps; reports the time that compiling and a step take, the memory, and the time of the whole run.

    Args:
      session: whose networks it trains, in memory only.
      report: receives lines for the user.

    Returns:
      Seconds per step, without compilation.
    """
    train_step, batches = _compile(session), session.open_batches()
    times = [time.perf_counter()]
    for step in range(1 + _TIMED_STEPS):
        losses = train_step(next(batches), tf.constant(session.run.step + step, tf.int64))
        loss = _total(losses)  # waits for the step
        times.append(time.perf_counter())
    first, *others = np.diff(times)
    seconds = float(np.mean(others))
    left = (session.schedule.total - session.run.step) * seconds
    batch = session.settings.train.batch_size
    report(f"dry run: compiled in {reporting.format_duration(first)}, then {seconds:.3g} s per step of {batch} pairs")
    report(f"dry run: loss {loss:.4g}; memory peak {_peak_memory()}")
    report(
        f"dry run: {session.schedule.total - session.run.step} steps take about {reporting.format_duration(left)}, and "
        "tests and pictures some more; no run was written"
    )
    return seconds


def try_learning_rates(session: setup.Session, report: Callable[[str], object]) -> float:
    """Raises the learning rates of all optimizers step by step until the loss explodes, and suggests one.

    The suggestion is a tenth of the rate at which the smoothed loss is the lowest (after Smith, "Cyclical Learning
    Rates for Training Neural Networks", 2017).

    Args:
      session: whose networks it trains, in memory only.
      report: receives lines for the user.

    Returns:
      The suggestion.

    Raises:
      errors.UserError: if the loss is NaN or infinite at the lowest rate.
    """
    train_step, batches = _compile(session), session.open_batches()
    rates, losses, smooth = np.geomspace(_LOWEST, _HIGHEST, _RATES), [], []
    for step, rate in enumerate(rates):
        for optimizer in session.run.optimizers.values():
            optimizer.learning_rate.assign(rate)
        losses.append(_total(train_step(next(batches), tf.constant(session.run.step + step, tf.int64))))
        smooth.append(float(np.mean(losses[-_WINDOW:])))
        if step % 10 == 0:
            report(f"learning rate {rate:.2g}: loss {smooth[-1]:.4g}")
        if not math.isfinite(smooth[-1]) or smooth[-1] > _DIVERGED * min(smooth):
            report(f"learning rate {rate:.2g}: loss {smooth[-1]:.4g}, too high")
            break
    if not math.isfinite(smooth[0]):
        raise errors.UserError(
            f"the loss is {smooth[0]} at the first step already; check the frames, and the weights that it starts from."
        )
    best = rates[int(np.nanargmin(smooth))] / 10
    report(
        f"suggestion: train.learning_rate_generator={best:.1g} train.learning_rate_detector={best:.1g}, a tenth of the "
        "rate with the lowest loss; no run was written"
    )
    return float(best)


def _compile(session: setup.Session) -> Callable[[dict[str, tf.Tensor], tf.Tensor], dict[str, tf.Tensor]]:
    return steps.compile_step(session.run, session.objective, session.settings.train, session.strategy)


def _total(losses: dict[str, tf.Tensor]) -> float:
    terms = reporting.loss_terms({name: float(loss.numpy()) for name, loss in losses.items()})
    return next(iter(terms.values()))


def _peak_memory() -> str:
    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        peaks = [tf.config.experimental.get_memory_info(gpu.name.removeprefix("/device:"))["peak"] for gpu in gpus]
        return " and ".join(f"{peak / 2**30:.2f} GiB" for peak in peaks) + " on the GPU"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB"

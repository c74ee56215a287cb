"""Everything that a run needs before its first step: data, networks, losses, and what it goes on from."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

import tensorflow as tf

from fomm_tf import checkpoint, config, errors
from fomm_tf.data import frames, pairs
from fomm_tf.data.puppets import dataset as puppets
from fomm_tf.losses import backbones
from fomm_tf.models import precision
from fomm_tf.training import objective, schedule, strategies


@dataclasses.dataclass(frozen=True)
class Session:
    """A run that is ready to step.

    Attributes:
      settings: the config, resolved.
      strategy: where it trains.
      run: networks and optimisers.
      objective: the losses.
      schedule: how long.
      train: the training clips.
      test: the test clips, or None.
    """

    settings: config.Config
    strategy: tf.distribute.Strategy
    run: checkpoint.Run
    objective: objective.Objective
    schedule: schedule.Schedule
    train: frames.Index
    test: frames.Index | None


def prepare(
    settings: config.Config,
    strategy: tf.distribute.Strategy,
    resume_from: pathlib.Path | None,
    init_from: pathlib.Path | None,
    report: Callable[[str], object],
) -> Session:
    """Reads data and weights and builds the networks.

    Args:
      settings: the config.
      strategy: where to train.
      resume_from: run folder to go on from; it may hold no checkpoint yet.
      init_from: run folder whose weights to begin with.
      report: takes lines for the user.

    Raises:
      errors.UserError: for data, weights or settings that will not do.
    """
    train = settings.train
    pairs.check_batch(train.batch_size, strategy.num_replicas_in_sync)
    if train.xla and strategy.num_replicas_in_sync > 1:
        raise errors.UserError(
            f"train.xla compiles the step of one replica; got {strategy.num_replicas_in_sync}, which exchange "
            "statistics within it: set train.xla to false, or show TensorFlow one device."
        )
    tf.keras.utils.set_random_seed(train.seed)
    training, test = _load_data(settings, strategies.count_workers(strategy) == 1, report)
    backbone, settings = _load_backbone(settings, training, report)
    plan = schedule.plan(settings.train, pairs.steps_per_epoch(training, settings.data, train.batch_size))
    adversarial = train.loss_weights.generator_gan != 0
    with strategy.scope(), precision.mixed_precision_scope(train.precision):
        if resume_from is not None:
            run, anew = checkpoint.resume(resume_from, settings, adversarial)
            run.step = run.step or run.epoch * plan.epoch
            _report_anew(resume_from, anew, report)
        else:
            run = checkpoint.build(settings, adversarial, optimizers=True)
        if init_from is not None:
            _report_anew(init_from, checkpoint.initialise(run, init_from), report)
        if train.precision == "float16":
            scaled = tf.keras.mixed_precision.LossScaleOptimizer
            run.optimizers = {name: scaled(inner) for name, inner in run.optimizers.items()}
    losses = objective.Objective(settings, run.networks, run.discriminator, backbone)
    return Session(settings, strategy, run, losses, plan, training, test)


def reconcile(settings: config.Config | None, folder: pathlib.Path, report: Callable[[str], object]) -> config.Config:
    """The config with which a run goes on: the folder's, with what the user has changed since.

    Args:
      settings: the user's; None for the folder's as it is.
      folder: the run folder.
      report: takes a line a change.

    Raises:
      errors.UserError: if `folder` is no run folder, or the model is another one.
    """
    stored = checkpoint.read_config(folder)
    if settings is None:
        return stored
    if settings.train.feature_scales is None:
        measured = stored.train.feature_scales
        settings = dataclasses.replace(settings, train=dataclasses.replace(settings.train, feature_scales=measured))
    for key, (before, now) in config.differences(stored, settings).items():
        if key.startswith("model."):
            raise errors.UserError(
                f"{folder} cannot go on with another model: {key} is {before} there and {now} here; begin a new run "
                "with --init-from."
            )
        report(f"{key} is {now} from here on; it was {before}")
    return settings


def _load_data(
    settings: config.Config, alone: bool, report: Callable[[str], object]
) -> tuple[frames.Index, frames.Index | None]:
    data, size = settings.data, settings.model.frame_size
    if data.puppets is not None and not pathlib.Path(data.root).exists():
        if not alone:
            raise errors.UserError(
                f"{data.root} does not exist, and several workers would draw it at once; draw it first, with python -m "
                "fomm_tf.data.puppets."
            )
        report(f"{data.root} does not exist: drawing it")
        report(puppets.write(pathlib.Path(data.root), size=size, **dataclasses.asdict(data.puppets)))

    def load(split: str) -> frames.Index:
        return frames.load(data.root, split, size, cache=data.cache, test_share=data.test_share, seed=data.split_seed)

    training = load("train")
    report(f"{data.root}: {_describe(training)} to train on")
    try:
        test = load("test")
    except errors.UserError as error:
        report(f"without a test on unseen clips, and so without a best checkpoint: {error}")
        return training, None
    report(f"{data.root}: {_describe(test)} to test on")
    return training, test


def _describe(index: frames.Index) -> str:
    skipped = f" ({len(index.skipped)} skipped)" if index.skipped else ""
    return f"{len(index)} clips of {len(index.by_identity())} identities, {sum(map(len, index.clips))} frames{skipped}"


def _load_backbone(
    settings: config.Config, index: frames.Index, report: Callable[[str], object]
) -> tuple[Callable, config.Config]:
    train = settings.train
    backbone = backbones.load(train.backbone, train.backbone_file, report)
    scales = train.feature_scales
    if scales is None and backbone.relative:
        # The first batch of the whole run, whatever the replicas: all of them must divide by the same.
        first = next(iter(pairs.make_dataset(index, settings.data, train.batch_size, train.seed)))
        scales = backbones.measure(backbone, first["driving"])
        settings = dataclasses.replace(settings, train=dataclasses.replace(train, feature_scales=scales))
    return (backbone if scales is None else backbones.Scaled(backbone, scales)), settings


def _report_anew(folder: pathlib.Path, anew: list[str], report: Callable[[str], object]) -> None:
    if anew:
        report(f"{folder} does not hold {', '.join(anew)}: begun anew")

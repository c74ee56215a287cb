"""Everything that a run needs before its first step: devices, data, networks, losses, starting weights."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator

import tensorflow as tf

from fomm_tf import checkpoint, config, errors, files
from fomm_tf.data import frames, layout, pairs, shards
from fomm_tf.data.puppets import dataset as puppets
from fomm_tf.losses import backbones
from fomm_tf.models import execution
from fomm_tf.training import cluster, landmarks, schedules, step
from fomm_tf.training.objective import Objective


@dataclasses.dataclass(frozen=True)
class Session:
    """A run that is ready for its first step.

    Attributes:
      settings: the resolved config.
      strategy: the devices.
      run: networks and optimizers.
      objective: the losses.
      schedule: length and learning rates.
      train: the training clips.
      test: the test clips, or None.
    """

    settings: config.Config
    strategy: tf.distribute.Strategy
    run: checkpoint.Run
    objective: Objective
    schedule: schedules.Schedule
    train: frames.Index
    test: frames.Index | None

    def open_batches(self) -> Iterator[dict[str, tf.Tensor]]:
        """The training pairs from the run's next step on, distributed to the devices.

        Raises:
          errors.UserError: from the iterator, if a file cannot be read any more.
        """
        settings = self.settings
        source = self.train, settings.data, settings.train.batch_size, settings.train.seed

        def make_dataset(context: tf.distribute.InputContext) -> tf.data.Dataset:
            return pairs.make_dataset(*source, self.run.step, context)

        return pairs.unwrap_errors(iter(self.strategy.distribute_datasets_from_function(make_dataset)))


def prepare(
    settings: config.Config,
    strategy: tf.distribute.Strategy,
    resume_from: pathlib.Path | None,
    init_from: pathlib.Path | None,
    report: Callable[[str], object],
    output: pathlib.Path | None = None,
) -> Session:
    """Reads data and weights and builds the networks.

    Args:
      settings: the config.
      strategy: the devices to train on.
      resume_from: run directory to resume, with a checkpoint; None starts a new run.
      init_from: run directory whose weights to start from, or None.
      report: receives lines for the user.
      output: a new run directory, which must not lie among the frames of a clip.

    Raises:
      errors.UserError: for data, weights or settings that cannot be used.
    """
    train = settings.train
    settings.model.check_has_keypoints("train.freeze_detector", train.freeze_detector)
    if train.landmark_steps and "equivariance_jacobian" not in settings.model.traits.equivariances:
        raise errors.UserError(
            f"train.landmark_steps must be 0 for model.kind {settings.model.kind}, which has no keypoints with "
            f"Jacobians; got {train.landmark_steps}."
        )
    pairs.check_batch(train.batch_size, strategy.num_replicas_in_sync)
    if train.xla and strategy.num_replicas_in_sync > 1:
        raise errors.UserError(
            f"train.xla compiles the step of one replica; got {strategy.num_replicas_in_sync}, which exchange "
            "statistics within it: set train.xla to false, or make one device visible to TensorFlow."
        )
    tf.keras.utils.set_random_seed(train.seed)
    training, test = _load_data(settings, cluster.count_workers(strategy) == 1, report, output)
    if train.patience is not None and test is None:
        raise errors.UserError(
            f"train.patience is {train.patience}, but there is no clip to test on; add clips to data.root, or set "
            "train.patience to null."
        )
    backbone, settings = _load_backbone(settings, training, report)
    schedule = schedules.plan_schedule(settings.train, pairs.steps_per_epoch(training, settings.data, train.batch_size))
    adversarial = train.loss_weights.generator_gan != 0
    with strategy.scope(), execution.mixed_precision_scope(train.precision):
        if resume_from is not None:
            run, missing = checkpoint.resume(resume_from, settings, adversarial)
            run.step = run.step or run.epoch * schedule.epoch
            _report_missing(resume_from, missing, report)
        else:
            run = checkpoint.build(settings, adversarial, optimizers=True)
        if init_from is not None:
            _report_missing(init_from, checkpoint.initialize(run, init_from), report)
        elif train.landmark_steps and resume_from is None and not (train.dry_run or train.learning_rate_test):
            landmarks.train(
                run.model.detector, training, test, settings.data.root, train.landmark_steps, train.seed, report
            )
        if train.precision == "float16":
            scaled = tf.keras.mixed_precision.LossScaleOptimizer
            run.optimizers = {name: scaled(inner) for name, inner in run.optimizers.items()}
    step.freeze(run.model, train)
    losses = Objective(settings, run.model, run.discriminator, backbone)
    return Session(settings, strategy, run, losses, schedule, training, test)


def reconcile(stored: config.Config, settings: config.Config | None, folder: pathlib.Path) -> config.Config:
    """The config of a resumed run: the user's, with what is measured or chosen only once from the stored one.

    Args:
      stored: the config in `folder`.
      settings: the user's; None for the stored one unchanged.
      folder: the run directory.

    Raises:
      errors.UserError: if the user's config has another model.
    """
    if settings is None:
        return stored
    for key, (before, now) in config.differences(stored, settings).items():
        if key.startswith("model."):
            raise errors.UserError(
                f"{folder} cannot be resumed with another model: {key} is {before} there and {now} here; start a new "
                "run with `init_from`."
            )
    mine, theirs = settings.train, stored.train
    scales = mine.feature_scales
    if (mine.backbone, mine.backbone_file) == (theirs.backbone, theirs.backbone_file):
        scales = scales or theirs.feature_scales
    elif scales == theirs.feature_scales:
        scales = None  # to measure the other backbone
    # Initial weights are those that the run started from.
    train = dataclasses.replace(mine, feature_scales=scales, init_from=theirs.init_from)
    return dataclasses.replace(settings, train=train)


def _load_data(
    settings: config.Config, single_worker: bool, report: Callable[[str], object], output: pathlib.Path | None
) -> tuple[frames.Index, frames.Index | None]:
    data, size, root = settings.data, settings.model.frame_size, pathlib.Path(settings.data.root)
    if output is not None:
        files.check_other_directory(output, root)
    is_sharded = shards.is_sharded(data.root)
    if data.puppets is not None and not is_sharded and not root.exists():
        if not single_worker:
            raise errors.UserError(
                f"data.root {data.root} does not exist, and several workers would draw it at once; draw it first with "
                "python -m fomm_tf.data.puppets."
            )
        report(f"{data.root} does not exist: drawing it")
        report(puppets.write(root, size=size, **dataclasses.asdict(data.puppets)))
    splits = frames.find_splits(root, data.test_share, data.split_seed) if root.is_dir() and not is_sharded else {}
    if output is not None:
        layout.inputs_of(path for clips in splits.values() for path in clips.paths).check(output)

    def load(split: str) -> frames.Index:
        return frames.load(data.root, split, size, cache=data.cache, splits=splits)

    training = load("train")
    report(f"{data.root}: {_describe(training)} to train on")
    try:
        test = load("test")
    except errors.UserError as error:
        report(f"no validation on unseen clips, and no best checkpoint: {error}")
        return training, None
    report(f"{data.root}: {_describe(test)} to test on")
    return training, test


def _describe(index: frames.Index) -> str:
    skipped = f" ({len(index.skipped)} skipped)" if index.skipped else ""
    return f"{len(index)} clips of {len(index.by_identity())} identities, {sum(map(len, index.clips))} frames{skipped}"


def _load_backbone(
    settings: config.Config, index: frames.Index, report: Callable[[str], object]
) -> tuple[Callable | None, config.Config]:
    train = settings.train
    backbone = backbones.load_for(train, report)
    if backbone is None:
        return None, settings
    scales = train.feature_scales
    if scales is None and backbone.relative:
        # The first batch of the whole run: all replicas must divide by the same scales.
        first = next(iter(pairs.make_dataset(index, settings.data, train.batch_size, train.seed)))
        scales = backbones.measure(backbone, first["driving"])
        settings = dataclasses.replace(settings, train=dataclasses.replace(train, feature_scales=scales))
    return (backbone if scales is None else backbones.Scaled(backbone, scales)), settings


def _report_missing(folder: pathlib.Path, missing: list[str], report: Callable[[str], object]) -> None:
    if missing:
        report(f"{folder} has no {', '.join(missing)}: randomly initialized")


def choose_strategy() -> tf.distribute.Strategy:
    """`MultiWorkerMirroredStrategy` if TF_CONFIG is set, else `MirroredStrategy` over all GPUs, or the CPU.

    Raises:
      errors.UserError: if TF_CONFIG is set and cannot be used.
      tf.errors.OpError: one of `cluster.UNREACHABLE`, if another worker cannot be reached.
    """
    if os.environ.get("TF_CONFIG"):
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except cluster.UNREACHABLE:
            raise
        except (KeyError, TypeError, ValueError, tf.errors.OpError) as error:
            reason = str(error).splitlines()[0]
            raise errors.UserError(
                f'TF_CONFIG cannot be used: {reason}; expected {{"cluster": {{"worker": ["host:port", ...]}}, '
                '"task": {"type": "worker", "index": 0}}.'
            ) from error
    return tf.distribute.MirroredStrategy()

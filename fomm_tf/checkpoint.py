"""The run folder: config.yaml, ckpt-* + checkpoint (TensorFlow object checkpoints), README.txt."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

import tensorflow as tf

from fomm_tf import config, errors, models, optimizer

NETWORKS = ("detector", "dense_motion", "generator")
# What TensorFlow raises for a damaged checkpoint; a file that is cut short is an IndexError.
_UNREADABLE = (IndexError, ValueError, tf.errors.OpError)


@dataclasses.dataclass
class Run:
    """What a run folder holds, in memory.

    Attributes:
      config: the whole resolved config.
      networks: the three networks that animate.
      discriminator: None if the run has none.
      optimizers: `generator`, `detector` and, with a discriminator, `discriminator` -> its optimiser; empty if the run
        cannot go on training where it stopped.
      epoch: how many epochs the weights were trained.
    """

    config: config.Config
    networks: models.Networks
    discriminator: models.Discriminator | None = None
    optimizers: dict[str, optimizer.Adam] = dataclasses.field(default_factory=dict)
    epoch: int = 0

    def trainable(self, name: str) -> list[tf.Variable]:
        """The variables that the optimiser `name` steps, in the order of its moments."""
        if name == "generator":
            return self.networks.dense_motion.trainable_variables + self.networks.generator.trainable_variables
        return {"detector": self.networks.detector, "discriminator": self.discriminator}[name].trainable_variables


def build(settings: config.Config, discriminator: bool = False, optimizers: bool = False) -> Run:
    """A run with freshly drawn weights.

    Args:
      settings: the config.
      discriminator: build the discriminator too.
      optimizers: build the optimisers with their moments too.
    """
    run = Run(settings, models.build(settings.model))
    if discriminator:
        run.discriminator = models.build_discriminator(settings.model)
    if optimizers:
        rates = {
            "generator": settings.train.learning_rate_generator,
            "detector": settings.train.learning_rate_detector,
            "discriminator": settings.train.learning_rate_discriminator,
        }
        for name in ["generator", "detector"] + ["discriminator"] * discriminator:
            run.optimizers[name] = optimizer.Adam(rates[name])
            run.optimizers[name].build(run.trainable(name))
    return run


def refuse_existing(folder: str | pathlib.Path) -> None:
    """Refuses a name that is taken; to be asked before long work.

    Raises:
      errors.UserError: if there is a file or a folder that is not empty.
    """
    folder = pathlib.Path(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise errors.UserError(f"{folder} exists already; give another --out, or delete it first.")


@contextlib.contextmanager
def new_folder(folder: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder to fill, which gets the name `folder` only when the block ends without an exception.

    Raises:
      errors.UserError: if `folder` exists and is not empty, or cannot be made.
    """
    folder = pathlib.Path(folder)
    refuse_existing(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise errors.UserError(f"Cannot make the folder {folder}: {error}; give another --out.") from error
    try:
        yield work
        work.chmod(0o755)
        if folder.is_dir():
            folder.rmdir()
        work.rename(folder)
    except OSError as error:
        raise errors.UserError(f"Cannot write {folder}: {error}.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def save(folder: str | pathlib.Path, run: Run, story: str) -> None:
    """Writes a new run folder; nothing is left if that fails.

    Args:
      folder: must not exist, or be empty.
      run: what to write.
      story: how the weights came about, for README.txt.

    Raises:
      errors.UserError: if `folder` exists already or cannot be written.
    """
    with new_folder(folder) as work:
        (work / "config.yaml").write_text(config.dump(run.config), encoding="utf-8")
        (work / "README.txt").write_text(story.rstrip() + "\n", encoding="utf-8")
        manager = tf.train.CheckpointManager(_checkpoint(run), str(work), max_to_keep=None)
        try:
            manager.save(checkpoint_number=run.epoch)
        except tf.errors.OpError as error:
            raise errors.UserError(f"Cannot write the weights to {folder}: {error.message}.") from error
        # The manager notes absolute paths where the folder is not below the current one.
        (work / "checkpoint").write_text(
            f'model_checkpoint_path: "ckpt-{run.epoch}"\nall_model_checkpoint_paths: "ckpt-{run.epoch}"\n'
        )


def load(folder: str | pathlib.Path, training: bool = False) -> Run:
    """Reads a run folder's newest checkpoint.

    Args:
      folder: the run folder.
      training: read the discriminator and the optimisers too, where the run has them.

    Raises:
      errors.UserError: if the folder is no run folder or its checkpoint does not fit its config.
    """
    settings, prefix = read_config(folder), newest(folder)
    stored = stored_shapes(folder)
    has = {name: any(key.startswith(f"{name}/") for key in stored) for name in ("discriminator", "optimizers")}
    run = build(settings, has["discriminator"] and training, has["optimizers"] and training)
    target = _checkpoint(run)
    try:
        status = target.restore(prefix).expect_partial()
        status.assert_existing_objects_matched()
    except (AssertionError, *_UNREADABLE) as error:
        reason = str(error).strip().splitlines()[0]
        raise errors.UserError(f"{prefix} does not hold the model of {folder}/config.yaml: {reason}") from error
    for name, network in _networks(run).items():
        surplus = sum(key.startswith(f"{name}/") for key in stored) - len(network.weights)
        if surplus:
            raise errors.UserError(
                f"{prefix} does not hold the model of {folder}/config.yaml: it has {surplus} more tensors for {name}."
            )
    run.epoch = int(target.epoch.numpy())
    return run


def read_config(folder: str | pathlib.Path) -> config.Config:
    """The config of a run folder.

    Raises:
      errors.UserError: if there is none.
    """
    path = pathlib.Path(folder) / "config.yaml"
    if not path.is_file():
        found = "does not exist" if not path.parent.exists() else "holds no config.yaml"
        raise errors.UserError(f"{folder} is not a run folder: it {found}; `fomm convert` and train.py make one.")
    return config.load(path)


def newest(folder: str | pathlib.Path) -> str:
    """The prefix of the newest checkpoint in a run folder.

    Raises:
      errors.UserError: if there is none.
    """
    prefix = tf.train.latest_checkpoint(str(folder))
    if prefix is None:
        raise errors.UserError(f"{folder} holds no checkpoint (ckpt-*.index and the file `checkpoint`).")
    return prefix


def stored_shapes(folder: str | pathlib.Path) -> dict[str, tuple[int, ...]]:
    """The tensors of a run folder's newest checkpoint, `part/path/to/it` -> shape, without reading them.

    Raises:
      errors.UserError: if there is no readable checkpoint.
    """
    prefix = newest(folder)
    try:
        variables = tf.train.list_variables(prefix)
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0]
        raise errors.UserError(f"{prefix} is not a readable checkpoint: {reason}") from error
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    return {name.removesuffix(suffix): tuple(shape) for name, shape in variables if name.endswith(suffix)}


def read_epoch(folder: str | pathlib.Path) -> int:
    """The epoch of a run folder's newest checkpoint.

    Raises:
      errors.UserError: if there is no readable checkpoint.
    """
    prefix = newest(folder)
    try:
        return int(tf.train.load_variable(prefix, "epoch/.ATTRIBUTES/VARIABLE_VALUE"))
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0]
        raise errors.UserError(f"{prefix} is not a readable checkpoint: {reason}") from error


def _networks(run: Run) -> dict[str, tf.keras.Model]:
    parts = dict(zip(NETWORKS, run.networks, strict=True))
    return parts if run.discriminator is None else parts | {"discriminator": run.discriminator}


def _checkpoint(run: Run) -> tf.train.Checkpoint:
    parts: dict = _networks(run)
    if run.optimizers:
        parts["optimizers"] = tf.train.Checkpoint(**run.optimizers)
    return tf.train.Checkpoint(epoch=tf.Variable(run.epoch, dtype=tf.int64, trainable=False), **parts)

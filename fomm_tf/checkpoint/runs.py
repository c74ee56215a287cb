"""A run in memory: its networks and optimizers, the parts that its checkpoints consist of; and packaged models.

A packaged model has float16 weights in one `weights.npz` instead of checkpoints, for distribution.
"""

from __future__ import annotations

import dataclasses
import pathlib
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterator

import numpy as np
import tensorflow as tf

from fomm_tf import config, errors, model_folders, models

# How long the weights were trained.
COUNTS = ("epoch", "step")


class Adam(tf.keras.optimizers.Adam):
    """Adam as PyTorch computes it: epsilon is added after the bias correction; Keras adds it before.

    So training continues from a reference checkpoint's moments as in PyTorch. At a gradient of 1e-8 torch's first step
    is half the learning rate, Keras' a thirty-third of it.

    Args:
      learning_rate: a float.
      beta_1: decay of the first moment.
      beta_2: decay of the second moment.
      epsilon: added to the denominator after the bias correction.
    """

    def __init__(
        self,
        learning_rate: float = 2e-4,
        beta_1: float = 0.5,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        name: str = "adam",
        **kwargs,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, name=name, **kwargs)

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Updates one variable; the caller increments `iterations`."""
        first, second = self.moments(variable)
        kind = variable.dtype
        beta_1, beta_2 = tf.constant(self.beta_1, kind), tf.constant(self.beta_2, kind)
        step = tf.cast(self.iterations + 1, kind)
        power_1, power_2 = tf.pow(beta_1, step), tf.pow(beta_2, step)
        # One kernel instead of a dozen passes over the weights. It adds epsilon before it corrects the root of the
        # second moment by sqrt(1 - power_2); scaling torch's epsilon by that is equivalent. Its 1 - beta_2 is rounded
        # to float32: the second moment is 1.3e-5 smaller than torch's, but so is the correction, and the step agrees.
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=first.handle,
            v=second.handle,
            beta1_power=power_1,
            beta2_power=power_2,
            lr=tf.cast(self.learning_rate, kind),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=self.epsilon * tf.sqrt(1.0 - power_2),
            grad=gradient,
        )

    def moments(self, variable: tf.Variable) -> tuple[tf.Variable, tf.Variable]:
        """Returns the running means of the gradient of `variable` and of its square."""
        index = self._index_dict[self._var_key(variable)]
        return self._momentums[index], self._velocities[index]


@dataclasses.dataclass
class Run:
    """The content of a run directory.

    Attributes:
      config: the whole resolved config.
      model: the model that animates.
      discriminator: None if the run has none.
      optimizers: `generator`, `detector` and, with a discriminator, `discriminator` -> its optimizer; empty if training
        cannot be resumed.
      epoch: how many epochs the weights were trained.
      step: how many steps; 0 if they were converted.
    """

    config: config.Config
    model: models.AnimationModel
    discriminator: models.Discriminator | None = None
    optimizers: dict[str, Adam] = dataclasses.field(default_factory=dict)
    epoch: int = 0
    step: int = 0

    def trainable(self, name: str) -> list[tf.Variable]:
        """The variables that the optimizer `name` updates, in the order of its moments."""
        if name == "discriminator":
            return self.discriminator.trainable_variables
        networks = self.model.networks
        return [variable for part in self.model.TRAINED_BY[name] for variable in networks[part].trainable_variables]

    def parts(self) -> dict[str, tf.keras.Model]:
        """The networks by name, including the discriminator if there is one."""
        parts = self.model.networks
        return parts if self.discriminator is None else parts | {"discriminator": self.discriminator}


def build(settings: config.Config, discriminator: bool = False, optimizers: bool = False) -> Run:
    """Builds a run with randomly initialized weights; on request with discriminator, and optimizers with moments."""
    run = Run(settings, models.create(settings.model))
    add_training_parts(run, discriminator, optimizers)
    return run


def add_training_parts(run: Run, discriminator: bool, optimizers: bool = True) -> None:
    """Adds a randomly initialized discriminator, and optimizers with moments, on request."""
    if discriminator:
        run.discriminator = models.Discriminator(run.config.model)
    if optimizers:
        for name in [*run.model.TRAINED_BY] + ["discriminator"] * discriminator:
            run.optimizers[name] = Adam(getattr(run.config.train, f"learning_rate_{name}"))
            run.optimizers[name].build(run.trainable(name))


def trackable(
    run: Run, parts: Collection[str] | None = None, optimizers: Collection[str] | None = None
) -> tf.train.Checkpoint:
    """The object whose TensorFlow checkpoints a run directory holds.

    Args:
      run: what to save or restore.
      parts: which of its networks; None is all.
      optimizers: which of its optimizers; None is all.
    """
    objects: dict = {name: network for name, network in run.parts().items() if parts is None or name in parts}
    chosen = {name: stepper for name, stepper in run.optimizers.items() if optimizers is None or name in optimizers}
    if chosen:
        objects["optimizers"] = tf.train.Checkpoint(**chosen)
    for name in COUNTS:
        objects[name] = tf.Variable(getattr(run, name), dtype=tf.int64, trainable=False)
    return tf.train.Checkpoint(**objects)


PACKAGED = model_folders.PACKAGED
# What NumPy raises for a damaged file; its headers are parsed as Python literals.
_UNREADABLE = (
    OSError, EOFError, LookupError, MemoryError, RuntimeError, SyntaxError, TypeError, ValueError, struct.error,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def is_packaged(folder: str | pathlib.Path) -> bool:
    """Whether a directory holds a packaged model."""
    return (pathlib.Path(folder) / PACKAGED).is_file()


def write_packaged(folder: str | pathlib.Path, run: Run) -> None:
    """Writes the model's variables by their paths, such as `detector/keypoint_head/kernel`.

    Raises:
      errors.UserError: if a weight is NaN, infinite or too large for float16.
    """
    arrays = {name: np.int64(getattr(run, name)) for name in COUNTS}
    for name, variable in _variables(run):
        value = variable.numpy()
        with np.errstate(over="ignore"):
            arrays[name] = value.astype(np.float16) if value.dtype == np.float32 else value
        if not np.isfinite(arrays[name]).all():
            raise errors.UserError(
                f"{name} holds NaN or values beyond the range of float16; this run cannot be packaged."
            )
    np.savez_compressed(pathlib.Path(folder) / PACKAGED, **arrays)


def load_packaged(folder: str | pathlib.Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Reads the arrays of a packaged model by their names.

    Args:
      folder: the model's directory.
      names: which to read; None is all.

    Raises:
      errors.UserError: if they cannot be read.
    """
    path = pathlib.Path(folder) / PACKAGED
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


def read_packaged_count(folder: str | pathlib.Path, name: str) -> int:
    """Reads the `epoch` or the `step`; raises as `load`."""
    return _whole_number(load_packaged(folder, [name])[name], name, f"{folder}/{PACKAGED}")


def _whole_number(value: np.ndarray, name: str, source: str) -> int:
    if value.shape or value.dtype.kind not in "iu":
        raise errors.UserError(f"{source}: {name} must be a whole number; got {value.dtype}{list(value.shape)}.")
    return int(value)


def restore_packaged(run: Run, folder: str | pathlib.Path) -> None:
    """Assigns the weights and counts of a packaged model to a run.

    Raises:
      errors.UserError: if the weights cannot be read or belong to another model.
    """
    arrays, wrong = load_packaged(folder), f"{folder}/{PACKAGED} does not hold the model of {folder}/config.yaml"
    for name in COUNTS:
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


def _variables(run: Run) -> Iterator[tuple[str, tf.Variable]]:
    for name, network in run.model.networks.items():
        yield from _below(name, network)


def _below(path: str, trackable: object) -> Iterator[tuple[str, tf.Variable]]:
    """Yields the variables below an object by attribute path as in a checkpoint."""
    if isinstance(trackable, tf.Variable):
        yield path, trackable
        return
    for name, child in sorted(tf.train.TrackableView.children(trackable).items()):
        yield from _below(f"{path}/{name}", child)

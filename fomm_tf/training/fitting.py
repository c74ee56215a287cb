"""`FirstOrderMotionModel.compile` and `fit`: Keras' loop around the same compiled step as `fomm train`.

Convention: step s, counted from 0 over all calls of `fit`, trains on batch s with the deformations of s. With a dataset
of `fomm_tf.training_dataset`, whose batches are a function of (seed, s), `fit` and `fomm train` compute the same bits.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Callable, Iterator

import tensorflow as tf
import yaml

from fomm_tf import checkpoint, config, models
from fomm_tf.losses import backbones
from fomm_tf.training import schedules
from fomm_tf.training import step as steps
from fomm_tf.training.objective import Objective

Recipe = str | pathlib.Path | config.Config | config.TrainConfig


def choose_settings(recipe: Recipe | None, changes: dict[str, object]) -> config.TrainConfig:
    """The training settings of `compile`.

    Args:
      recipe: a recipe by its name or file, a config, or its section `train`; None for the defaults.
      changes: fields of the section `train`; `learning_rate` sets those of all optimizers.

    Raises:
      errors.UserError: if there is no such recipe, or a value is invalid.
    """
    if isinstance(recipe, str | pathlib.Path):
        recipe = config.load_recipe(recipe)
    train = recipe.train if isinstance(recipe, config.Config) else recipe or config.TrainConfig()
    changes = dict(changes)
    if (rate := changes.pop("learning_rate", None)) is not None:
        names = (f"learning_rate_{name}" for name in ("generator", "detector", "discriminator"))
        changes = {**dict.fromkeys(names, rate), **changes}
    return dataclasses.replace(train, **changes)


class Trainer:
    """What a compiled model trains with.

    Args:
      model: the model, whose variables live in the current distribution strategy.
      train: the settings.

    Attributes:
      run: the model, its discriminator and its optimizers.
      metrics: of `evaluate`: the mean L1 distance, and that of the source-copy baseline.
    """

    def __init__(self, model: models.AnimationModel, train: config.TrainConfig) -> None:
        self.run = checkpoint.Run(config.Config(model=model.config, train=train), model)
        checkpoint.add_training_parts(self.run, train.loss_weights.generator_gan != 0)
        model.config.check_has_keypoints("freeze_detector", train.freeze_detector)
        steps.freeze(model, train)
        if model.compute_dtype == "float16":
            scaled = tf.keras.mixed_precision.LossScaleOptimizer
            self.run.optimizers = {name: scaled(inner) for name, inner in self.run.optimizers.items()}
        self.metrics = [tf.keras.metrics.Mean(name) for name in ("l1", "source_copy_l1")]
        self.reset()
        self._strategy = tf.distribute.get_strategy()
        self._objective = self._step = self._dataset = None
        self._rates = self._schedule = None

    @property
    def others(self) -> dict[str, tf.keras.Model]:
        """The networks that are no part of the model."""
        return {} if self.run.discriminator is None else {"discriminator": self.run.discriminator}

    @property
    def train(self) -> config.TrainConfig:
        """The settings, with the divisors of the backbone's features once these are measured."""
        return self.run.config.train

    def start(self, dataset: tf.data.Dataset, steps_per_epoch: int | None) -> None:
        """Prepares a call of `fit`.

        Args:
          dataset: batches of {source, driving}.
          steps_per_epoch: for the schedule of the learning rates, whose milestones are epochs.

        Raises:
          errors.UserError: if the backbone cannot be loaded.
        """
        self._dataset, scale = dataset, self._rates.scale if self._rates else 1.0
        if self._objective is None:
            backbone = backbones.load_for(self.train)
            scales = self.train.feature_scales
            if scales is None and backbone is not None and backbone.relative:
                scales = backbones.measure(backbone, next(iter(dataset))["driving"])
                train = dataclasses.replace(self.train, feature_scales=scales)
                self.run.config = dataclasses.replace(self.run.config, train=train)
            features = backbone if None in (backbone, scales) else backbones.Scaled(backbone, scales)
            self._objective = Objective(self.run.config, self.run.model, self.run.discriminator, features)
            self._step = steps.compile_step(self.run, self._objective, self.train, self._strategy)
        self._schedule = schedules.plan_schedule(self.train, steps_per_epoch or 1)
        self._rates = schedules.LearningRates(self.run, self.train, self._schedule)
        self._rates.scale = scale
        self._rates.apply(self.run.step)
        self._expected = self._expected_rate(self.run.step)

    def make_train_function(self, count: tf.Variable) -> Callable[[Iterator], dict[str, tf.Tensor]]:
        """The function that makes one step, for `tf.keras.Model.make_train_function`.

        Args:
          count: Keras' counter of the steps of this call of `fit`; `BackupAndRestore` may set it before the first one.
        """
        before = self.run.step
        own: list[Iterator] = []

        def train_function(iterator: Iterator) -> dict[str, tf.Tensor]:
            step = before + int(count.numpy())
            if not own:
                if step > before and self._rate() != self._expected:
                    # BackupAndRestore has restored the learning rates of the last step too.
                    self._expected = self._expected_rate(step - 1)
                own.append(self._open(step))
            self._follow_callbacks(step)
            self._rates.apply(step)
            losses = self._step(next(own[0] or iterator), tf.constant(step, tf.int64))
            count.assign_add(1)
            self.run.step = step + 1
            return self._update(losses)

        return train_function

    def evaluate(self, pair: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Rebuilds a batch of driving frames, and updates the mean errors.

        Args:
          pair: `source` and `driving`, `[B, H, W, 3]` each.

        Returns:
          The L1 distance to the driving frames, and its share of the source-copy baseline's.
        """
        for metric, image in zip(self.metrics, (self.run.model(pair).prediction, pair["source"]), strict=True):
            metric.update_state(tf.reduce_mean(tf.abs(image - pair["driving"]), (1, 2, 3)))
        return _shares(*(metric.result() for metric in self.metrics))

    def reset(self) -> None:
        """Starts the means of another epoch."""
        self._sum, self._count = None, 0

    def dump(self) -> dict:
        """Everything that `.keras` files need to compile the model again, as plain values."""
        settings = config.dump(dataclasses.replace(self.run.config, model=config.ModelConfig()))
        return {"train": yaml.safe_load(settings)["train"], "step": self.run.step}

    def _open(self, step: int) -> Iterator | None:
        """Continues the dataset at a later step; None if Keras' iterator, which starts at its first batch, does."""
        reopen = getattr(self._dataset, "from_step", None)
        if step == 0 or reopen is None:
            return None
        return iter(self._strategy.experimental_distribute_dataset(reopen(step)))

    def _rate(self) -> float:
        return float(self.run.optimizers["generator"].learning_rate.numpy())

    def _expected_rate(self, step: int) -> float:
        """What `_rate` is after step `step`, unless a callback has changed it."""
        rate = self._rates.initial("generator") * self._schedule.factor(step) * self._rates.scale
        return float(tf.constant(rate, tf.float32))

    def _follow_callbacks(self, step: int) -> None:
        """Scales all learning rates by what a callback has done to that of `model.optimizer`, the generator's."""
        rate = self._rate()
        if self._expected > 0 and not math.isclose(rate, self._expected, rel_tol=1e-6):
            self._rates.scale *= rate / self._expected
        self._expected = self._expected_rate(step)

    def _update(self, losses: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The means of the epoch up to this step."""
        self._count, names = self._count + 1, list(losses)
        values = tf.stack(list(losses.values()))
        self._sum = values if self._sum is None else self._sum + values
        means = dict(zip(names, tf.unstack(self._sum / self._count), strict=True))
        terms = {
            name: value for name, value in means.items() if not name.startswith((steps.MEASURE, steps.GRADIENT_NORM))
        }
        loss = tf.add_n([value for name, value in terms.items() if not name.startswith("disc_")])
        return {"loss": loss, **terms, **_shares(means[steps.L1], means[steps.SOURCE_COPY_L1])}


def _shares(l1: tf.Tensor, source_copy_l1: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"l1": l1, "l1_over_source_copy": tf.math.divide_no_nan(l1, source_copy_l1)}

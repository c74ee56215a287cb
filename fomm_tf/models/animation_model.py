"""The protocol of all models, which training, animation, evaluation and export call, and their use as Keras models.

Convention (all methods):
  * images are NHWC, RGB, float in [0, 1] or uint8; NumPy arrays or tensors;
  * a source has batch 1, which serves N driving frames, or the batch of the driving frames.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import yaml

from fomm_tf import config as configs
from fomm_tf import errors, ops
from fomm_tf.models import execution
from fomm_tf.models.motion_estimation import DenseMotion
from fomm_tf.structures import EncodedSource, Keypoints, Rendering


class Reconstruction(NamedTuple):
    """Driving frames rebuilt from their sources: the forward pass of training.

    Attributes:
      prediction: `[B, H, W, 3]` float32 in [0, 1].
      source_keypoints: of the sources; None in a model that does not need them.
      driving_keypoints: of the driving frames.
      motion: from the driving frames back to the sources.
    """

    prediction: tf.Tensor
    source_keypoints: Keypoints | None
    driving_keypoints: Keypoints
    motion: DenseMotion


class AnimationModel(tf.keras.Model):
    """What animates a source image by driving frames: `FirstOrderMotionModel`, or one of the baselines.

    All variables exist after construction, randomly initialized; `from_preset` loads trained ones. `compile`, `fit`,
    `evaluate`, `summary`, `save`, `save_weights`, `load_weights` and `tf.train.Checkpoint` work as for every Keras
    model, and `load_weights` also takes the `ckpt-N` prefix of a run directory.

    Subclasses define the class attributes, `detect`, `encode_source`, `render` and `call`.

    Args:
      config: the sizes; see `fomm_tf.config.ModelConfig`.

    Attributes:
      KIND: the model's `config.kind`.
      NETWORKS: the attributes that hold its networks, which are the parts of a checkpoint.
      TRAINED_BY: optimizer -> the networks that it updates.
      config: as given.
    """

    KIND: str
    NETWORKS: tuple[str, ...]
    TRAINED_BY: Mapping[str, tuple[str, ...]]

    _training_state = None  # Keras deletes that of the instance after a `fit` with BackupAndRestore, and reads it later

    def __init__(self, config: configs.ModelConfig, **kwargs) -> None:
        super().__init__(autocast=False, **kwargs)
        if config.kind != self.KIND:
            raise errors.UserError(
                f"model.kind must be {self.KIND} for {type(self).__name__}; got {config.kind}; use "
                "fomm_tf.models.create."
            )
        self.config = config
        self._recipe = self._trainer = None

    def detect(self, frames: np.ndarray | tf.Tensor, training: bool = False) -> Keypoints:
        """Finds what N driving frames are described by: keypoints, or a code in their place.

        Args:
          frames: `[N, H, W, 3]`.
          training: normalize with the batch's statistics and update the moving ones.

        Returns:
          `Keypoints` of N frames.

        Raises:
          ValueError: if the frames are of another rank or of a size that the networks do not divide.
        """
        raise NotImplementedError

    def encode_source(self, image: np.ndarray | tf.Tensor, training: bool = False) -> EncodedSource:
        """Computes what depends only on the source; animation does this once.

        Args:
          image: `[H, W, 3]` or `[B, H, W, 3]`.
          training: as in `detect`.

        Raises:
          ValueError: as in `detect`.
        """
        raise NotImplementedError

    def render(self, source: EncodedSource, keypoints: Keypoints, details: bool = False) -> Rendering:
        """Generates the source in the pose of N driving frames.

        Args:
          source: from `encode_source`.
          keypoints: of N driving frames, from `detect` or `fomm_tf.transfer`.
          details: fill the last four fields of the result, as far as the model has them.

        Raises:
          errors.UserError: if the keypoints are not this model's.
        """
        raise NotImplementedError

    def call(self, inputs: dict[str, np.ndarray | tf.Tensor], training: bool = False) -> Reconstruction:
        """Rebuilds driving frames from source frames of the same videos: the forward pass of training.

        Args:
          inputs: `source` and `driving`, `[B, H, W, 3]` each.
          training: as in `detect`.

        Returns:
          `Reconstruction`.
        """
        raise NotImplementedError

    @property
    def networks(self) -> dict[str, tf.keras.Model]:
        """The networks by name."""
        return {name: getattr(self, name) for name in self.NETWORKS}

    @classmethod
    def from_preset(
        cls, preset: str, *, precision: str = "float32", reference_config: str | None = None, align_corners: bool = True
    ) -> AnimationModel:
        """Loads a trained model, of whichever kind it is.

        Args:
          preset: the name of a bundled model such as `people-256`, a run directory, or a checkpoint file of the
            PyTorch reference implementation.
          precision: what the networks compute in, one of `config.PRECISIONS`; variables, keypoints and predictions
            stay float32.
          reference_config: of a reference checkpoint: its YAML file or the name of a recipe; None infers the sizes
            from the tensors.
          align_corners: of a reference checkpoint: see `fomm_tf.ops.to_pixels`.

        Raises:
          errors.UserError: if there is no such model, or it cannot be read.
        """
        # Presets know the run directory and the reference's format, which are built on the models.
        from fomm_tf import presets

        run = presets.load(preset, precision, reference_config, align_corners)
        run.model._recipe = run.config.train
        return run.model

    def compile(self, recipe: object = None, **changes: object) -> None:
        """Chooses losses and optimizers; `fomm train` with the same settings computes the same.

        Args:
          recipe: the name of a recipe such as `vox-256`, a YAML file, a `config.Config` or a `config.TrainConfig`; by
            default what a preset was trained with, or the defaults of `config.TrainConfig`.
          **changes: fields of `config.TrainConfig`, such as `backbone`, `batch_size` or `learning_rate_detector`;
            `learning_rate` sets all of them. Of `steps` and `epochs`, only the decay of the learning rates is used.

        Raises:
          errors.UserError: if there is no such recipe, or a value is invalid.
        """
        # Training is built on the models.
        from fomm_tf.training import fitting

        settings = fitting.choose_settings(recipe or self._recipe, changes)
        with self.distribute_strategy.scope():
            trainer = fitting.Trainer(self, settings)
            super().compile(optimizer=trainer.run.optimizers["generator"])
        self._trainer, self.optimizers = trainer, trainer.run.optimizers
        # Tracked for checkpoints such as those of BackupAndRestore, but no part of the model.
        self._others = tf.train.Checkpoint(**trainer.others)

    def fit(self, x: tf.data.Dataset, **options: object) -> tf.keras.callbacks.History:
        """Trains the compiled model.

        Args:
          x: batches of {source, driving} as of `fomm_tf.training_dataset`, of the compiled `batch_size`.
          **options: those of `tf.keras.Model.fit`; `steps_per_epoch` is by default that of the dataset.

        Returns:
          The means of the total loss (`loss`), its terms, the L1 distance and its share of the source-copy baseline's.

        Raises:
          errors.UserError: if the backbone of the perceptual loss cannot be loaded.
        """
        self._assert_compile_was_called()
        options.setdefault("steps_per_epoch", getattr(x, "steps_per_epoch", None))
        with self.distribute_strategy.scope():
            self._trainer.start(x, options["steps_per_epoch"])
        return super().fit(x, **options)

    def make_train_function(self, force: bool = False) -> Callable:
        """The function with which Keras makes a step: a new one for each call of `fit`."""
        del force
        self.train_function = self._trainer.make_train_function(self._train_counter)
        return self.train_function

    @tf.autograph.experimental.do_not_convert
    def test_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Evaluates a batch of {source, driving}: `l1`, and `l1_over_source_copy`."""
        return self._trainer.evaluate(data)

    @property
    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """Those of `evaluate`."""
        return self._trainer.metrics if self._trainer else []

    def reset_metrics(self) -> None:
        """Starts the means of an epoch, for Keras."""
        super().reset_metrics()
        self._trainer.reset()

    def get_compile_config(self) -> dict | None:
        """The training settings and the number of steps, for Keras; None if the model is not compiled."""
        return self._trainer.dump() if self._trainer else None

    def compile_from_config(self, config: dict) -> None:
        """Compiles the model with what `get_compile_config` returned."""
        self.compile(configs.parse({"train": config["train"]}, "get_compile_config()").train)
        self._trainer.run.step = config["step"]

    def build_from_config(self, config: dict) -> None:
        """Does nothing, for Keras: all variables exist after construction."""

    def weights_sha256(self) -> str:
        """SHA-256 of all weights, network by network: identifies what a model was trained to."""
        digest = hashlib.sha256()
        for weight in self.weights:
            digest.update(weight.numpy().tobytes())
        return digest.hexdigest()

    def get_config(self) -> dict:
        """The constructor's argument as plain values, for Keras."""
        tree = yaml.safe_load(configs.dump(configs.Config(model=self.config)))
        return {"name": self.name, "config": tree["model"], "precision": self.compute_dtype}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> AnimationModel:
        """A randomly initialized model from `get_config`."""
        del custom_objects
        with execution.mixed_precision_scope(config.get("precision", "float32")):
            return cls(configs.parse({"model": config["config"]}, "get_config()").model, name=config["name"])

    def __repr__(self) -> str:
        height, width = self.config.frame_size
        parts = [f"frames {width}x{height}", *self._describe(), f"{self.count_params():,} parameters"]
        return f"<{type(self).__name__}: {', '.join([*parts, self.compute_dtype])}>"

    def _describe(self) -> list[str]:
        """What `repr` says of the model itself."""
        return []

    def _as_images(self, name: str, images: np.ndarray | tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        ops.check_shape(name, images, "N H W 3", last=3)
        height, width = images.shape[1:3]
        if height is not None and width is not None:
            self.config.check_frame_size(height, width)
        return tf.cast(images, tf.float32) / 255.0 if images.dtype == tf.uint8 else images

"""The composed model: keypoint detector, dense motion network and generator as one `tf.keras.Model`.

Convention (all methods):
  * images are NHWC, RGB, float in [0, 1] or uint8; NumPy arrays or tensors;
  * the networks are fully convolutional: any size works that `ModelConfig.check_frame_size` accepts, but the weights
    were trained at `config.frame_size`; `fomm_tf.Animator` fits frames to it;
  * a source has batch 1, which serves N driving frames, or the batch of the driving frames.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import yaml

from fomm_tf import config as configs
from fomm_tf import ops
from fomm_tf.models import blocks, execution
from fomm_tf.models.generator import Generator
from fomm_tf.models.motion_estimation import DenseMotion, DenseMotionNetwork, KeypointDetector
from fomm_tf.structures import EncodedSource, Keypoints, Rendering


class Reconstruction(NamedTuple):
    """Driving frames rebuilt from their sources: the forward pass of training.

    Attributes:
      prediction: `[B, H, W, 3]` float32 in [0, 1].
      source_keypoints: of the sources.
      driving_keypoints: of the driving frames.
      motion: from the driving frames back to the sources.
    """

    prediction: tf.Tensor
    source_keypoints: Keypoints
    driving_keypoints: Keypoints
    motion: DenseMotion


@tf.keras.saving.register_keras_serializable(package="fomm_tf")
class FirstOrderMotionModel(tf.keras.Model):
    """Animates a source image by the keypoints of driving frames.

    All variables exist after construction, randomly initialized; `from_preset` loads trained ones. `compile`, `fit`,
    `evaluate`, `summary`, `save`, `save_weights`, `load_weights` and `tf.train.Checkpoint` work as for every Keras
    model, and `load_weights` also takes the `ckpt-N` prefix of a run directory.

    Args:
      config: the sizes; see `fomm_tf.config.ModelConfig`.

    Attributes:
      config: as given.
      detector: frame to keypoints.
      dense_motion: keypoints of two frames to a dense motion.
      generator: source and dense motion to a frame.
    """

    _training_state = None  # Keras deletes that of the instance after a `fit` with BackupAndRestore, and reads it later

    def __init__(self, config: configs.ModelConfig, **kwargs) -> None:
        super().__init__(autocast=False, **kwargs)
        self.config = config
        self.detector = KeypointDetector(config, name="detector")
        self.dense_motion = DenseMotionNetwork(config, name="dense_motion")
        self.generator = Generator(config, name="generator")

        def forward(frame: tf.Tensor) -> tf.Tensor:
            keypoints = self.detector(frame)
            return self.generator(frame, self.dense_motion(self.dense_motion.downsample(frame), keypoints, keypoints))

        blocks.create_variables(forward, config.frame_size)
        self.built = True
        self._recipe = self._trainer = None

    @classmethod
    def from_preset(
        cls, preset: str, *, precision: str = "float32", reference_config: str | None = None, align_corners: bool = True
    ) -> FirstOrderMotionModel:
        """Loads a trained model.

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

    def detect(self, frames: np.ndarray | tf.Tensor, training: bool = False) -> Keypoints:
        """Finds the keypoints of N frames.

        Args:
          frames: `[N, H, W, 3]`.
          training: normalize with the batch's statistics and update the moving ones.

        Returns:
          `Keypoints` of N frames.

        Raises:
          ValueError: if the frames are of another rank or of a size that the networks do not divide.
        """
        return self.detector(self._as_images("frames", frames), training=training)

    def encode_source(self, image: np.ndarray | tf.Tensor, training: bool = False) -> EncodedSource:
        """Computes what depends only on the source; animation does this once.

        Args:
          image: `[H, W, 3]` or `[B, H, W, 3]`.
          training: as in `detect`.

        Raises:
          ValueError: as in `detect`.
        """
        image = self._as_images("image", image[tf.newaxis] if len(image.shape) == 3 else image)
        features = self.generator.encode(image, training=training)
        keypoints = self.detector(image, training=training)
        return EncodedSource(image, features, keypoints, self.dense_motion.downsample(image))

    def render(self, source: EncodedSource, keypoints: Keypoints, details: bool = False) -> Rendering:
        """Generates the source in the pose of N driving frames.

        Args:
          source: from `encode_source`.
          keypoints: of N driving frames, from `detect` or `fomm_tf.transfer`.
          details: fill the last four fields of the result.

        Raises:
          errors.UserError: if the keypoints are not this model's.
        """
        keypoints.check(self.config.num_keypoints, self.config.jacobian)
        motion, deformed, prediction = self._generate(source, keypoints)
        more = (motion.occlusion, motion.deformation, motion.mask, motion.sparse_deformed) if details else ()
        return Rendering(prediction, deformed, *more)

    @tf.autograph.experimental.do_not_convert  # Keras would, and has no zip(strict=True)
    def call(self, inputs: dict[str, np.ndarray | tf.Tensor], training: bool = False) -> Reconstruction:
        """Rebuilds driving frames from source frames of the same videos: the forward pass of training (sec. 3.3).

        Args:
          inputs: `source` and `driving`, `[B, H, W, 3]` each.
          training: as in `detect`. The detector sees the sources first, then the driving frames: the order in which
            the reference updates the moving statistics.

        Returns:
          `Reconstruction`.
        """
        source = self.encode_source(inputs["source"], training=training)
        keypoints = self.detect(inputs["driving"], training=training)
        motion, _, prediction = self._generate(source, keypoints, training=training)
        return Reconstruction(prediction, source.keypoints, keypoints, motion)

    def weights_sha256(self) -> str:
        """SHA-256 of all weights, network by network: identifies what a model was trained to."""
        digest = hashlib.sha256()
        for weight in self.weights:
            digest.update(weight.numpy().tobytes())
        return digest.hexdigest()

    def get_config(self) -> dict:
        """The constructor's argument as plain values, for Keras."""
        tree = yaml.safe_load(configs.dump(configs.Config(model=self.config)))
        return {"name": self.name, "config": tree["model"], "precision": self.generator.compute_dtype}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> FirstOrderMotionModel:
        """A randomly initialized model from `get_config`."""
        del custom_objects
        with execution.mixed_precision_scope(config.get("precision", "float32")):
            return cls(configs.parse({"model": config["config"]}, "get_config()").model, name=config["name"])

    def __repr__(self) -> str:
        height, width = self.config.frame_size
        parts = [
            f"frames {width}x{height}",
            f"{self.config.num_keypoints} keypoints {'with' if self.config.jacobian else 'without'} Jacobians",
            f"{'' if self.config.occlusion else 'no '}occlusion map",
            f"{self.count_params():,} parameters",
            self.generator.compute_dtype,
        ]
        return f"<{type(self).__name__}: {', '.join(parts)}>"

    def _generate(
        self, source: EncodedSource, keypoints: Keypoints, training: bool = False
    ) -> tuple[DenseMotion, tf.Tensor, tf.Tensor]:
        """The motion, the warped source image, and the prediction."""
        motion = self.dense_motion(source.lowres, source.keypoints, keypoints, training=training)
        # Exported signatures carry the features as float32, whatever the generator computes in.
        features = tf.cast(source.features, self.generator.compute_dtype)
        deformed = self.generator.warp_image(source.image, motion.deformation)
        prediction = self.generator.decode(self.generator.warp_features(features, motion), deformed, training)
        return motion, deformed, prediction

    def _as_images(self, name: str, images: np.ndarray | tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        ops.check_shape(name, images, "N H W 3", last=3)
        height, width = images.shape[1:3]
        if height is not None and width is not None:
            self.config.check_frame_size(height, width)
        return tf.cast(images, tf.float32) / 255.0 if images.dtype == tf.uint8 else images

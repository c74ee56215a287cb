"""The composed model: keypoint detector, dense motion network and generator as one `tf.keras.Model`.

Convention (all methods):
  * images are NHWC, RGB, float in [0, 1] or uint8; NumPy arrays or tensors;
  * the networks are fully convolutional: any size works that `ModelConfig.check_frame_size` accepts, but the weights
    were trained at `config.frame_size`; `fomm_tf.Animator` fits frames to it;
  * a source has batch 1, which serves N driving frames, or the batch of the driving frames.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import tensorflow as tf

from fomm_tf import config as configs
from fomm_tf.models import blocks
from fomm_tf.models.animation_model import AnimationModel, Reconstruction
from fomm_tf.models.generator import Generator
from fomm_tf.models.motion_estimation import DenseMotion, DenseMotionNetwork, KeypointDetector
from fomm_tf.structures import EncodedSource, Keypoints, Rendering


@tf.keras.saving.register_keras_serializable(package="fomm_tf")
class FirstOrderMotionModel(AnimationModel):
    """Animates a source image by the keypoints of driving frames; see `AnimationModel` for its use with Keras.

    Args:
      config: the sizes; see `fomm_tf.config.ModelConfig`.

    Attributes:
      config: as given.
      detector: frame to keypoints.
      dense_motion: keypoints of two frames to a dense motion.
      generator: source and dense motion to a frame.
    """

    KIND = "fomm"
    NETWORKS = ("detector", "dense_motion", "generator")
    TRAINED_BY: ClassVar = {"generator": ("dense_motion", "generator"), "detector": ("detector",)}

    def __init__(self, config: configs.ModelConfig, **kwargs) -> None:
        super().__init__(config, **kwargs)
        self._create_networks()
        blocks.create_variables(self._forward, config.frame_size)
        self.built = True

    def _create_networks(self) -> None:
        self.detector = KeypointDetector(self.config, name="detector")
        self.dense_motion = DenseMotionNetwork(self.config, name="dense_motion")
        self.generator = Generator(self.config, name="generator")

    def _forward(self, frame: tf.Tensor) -> tf.Tensor:
        """Calls all networks, in the order in which their variables are created."""
        keypoints = self.detector(frame)
        return self.generator(frame, self.dense_motion(self.dense_motion.downsample(frame), keypoints, keypoints))

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

    def _describe(self) -> list[str]:
        return [
            f"{self.config.num_keypoints} keypoints {'with' if self.config.jacobian else 'without'} Jacobians",
            f"{'' if self.config.occlusion else 'no '}occlusion map",
        ]

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

"""The forward pass of a training step and its losses, a value an example (sec. 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from fomm_tf import config, models
from fomm_tf.losses import adversarial, equivariance, perceptual
from fomm_tf.models import recompute
from fomm_tf.ops import keypoints, resample, tps


class Forward(NamedTuple):
    """What the networks make of a batch.

    Attributes:
      source_keypoints: of the sources.
      driving_keypoints: of the driving frames.
      motion: from the driving frames back to the sources.
      prediction: `[B, H, W, 3]`, the driving frames rebuilt.
      transformed_frame: `[B, H, W, 3]`, the driving frames deformed; None without equivariance losses.
      transformed_keypoints: of those.
    """

    source_keypoints: keypoints.Keypoints
    driving_keypoints: keypoints.Keypoints
    motion: models.DenseMotion
    prediction: tf.Tensor
    transformed_frame: tf.Tensor | None
    transformed_keypoints: keypoints.Keypoints | None


class Objective:
    """The losses of the generator's side and of the discriminator's.

    Args:
      settings: the run's config.
      networks: the three networks that animate.
      discriminator: the fourth; used only if `train.loss_weights.generator_gan` is not 0.
      features: the backbone of the perceptual loss.
    """

    def __init__(
        self,
        settings: config.Config,
        networks: models.Networks,
        discriminator: models.Discriminator | None,
        features: Callable[[tf.Tensor], list[tf.Tensor]],
    ) -> None:
        self.weights = settings.train.loss_weights
        self.adversarial = self.weights.generator_gan != 0
        self._scales = settings.train.pyramid_scales
        self._align_corners = settings.model.align_corners
        self._equivariance_of_jacobians = settings.model.jacobian and self.weights.equivariance_jacobian != 0
        self._equivariance = self._equivariance_of_jacobians or self.weights.equivariance_value != 0
        self._networks, self._discriminator, self._features = networks, discriminator, features
        if settings.train.recompute:
            recompute.switch_on(features, *networks)

    def forward(self, source: tf.Tensor, driving: tf.Tensor, transform: tps.Transform) -> Forward:
        """Runs the networks in training mode, in the order in which the reference moves its running statistics.

        Args:
          source: `[B, H, W, 3]` float in [0, 1].
          driving: `[B, H, W, 3]`, other frames of the same videos.
          transform: B deformations for the equivariance losses.

        Returns:
          `Forward`.
        """
        detector, dense_motion, generator = self._networks
        source_keypoints = detector(source, training=True)
        driving_keypoints = detector(driving, training=True)
        motion = dense_motion(dense_motion.downsample(source), source_keypoints, driving_keypoints, training=True)
        prediction = generator(source, motion, training=True)
        transformed_frame = transformed_keypoints = None
        if self._equivariance:
            transformed_frame = tps.warp_image(transform, driving, self._align_corners)
            transformed_keypoints = detector(transformed_frame, training=True)
        return Forward(
            source_keypoints, driving_keypoints, motion, prediction, transformed_frame, transformed_keypoints
        )

    def generator_losses(self, driving: tf.Tensor, made: Forward, transform: tps.Transform) -> dict[str, tf.Tensor]:
        """The weighted terms that the generator, the dense motion network and the detector minimise the sum of.

        Args:
          driving: `[B, H, W, 3]`.
          made: from `forward`.
          transform: the one that `forward` was given.

        Returns:
          name -> `[B]`.
        """
        generated = resample.pyramid(made.prediction, self._scales)
        real = resample.pyramid(driving, self._scales)
        losses = {"perceptual": perceptual.perceptual_loss(self._features, generated, real, self.weights.perceptual)}
        if self.adversarial:
            fake_outputs = self._judge(made.prediction, made)
            real_outputs = self._judge(driving, made)
            losses["gen_gan"] = self.weights.generator_gan * adversarial.generator_loss(fake_outputs)
            losses["feature_matching"] = adversarial.feature_matching_loss(
                real_outputs, fake_outputs, self.weights.feature_matching
            )
        if self.weights.equivariance_value:
            value = equivariance.value_loss(made.driving_keypoints, made.transformed_keypoints, transform)
            losses["equivariance_value"] = self.weights.equivariance_value * value
        if self._equivariance_of_jacobians:
            jacobian = equivariance.jacobian_loss(made.driving_keypoints, made.transformed_keypoints, transform)
            losses["equivariance_jacobian"] = self.weights.equivariance_jacobian * jacobian
        return losses

    def discriminator_losses(self, driving: tf.Tensor, made: Forward) -> dict[str, tf.Tensor]:
        """The weighted terms that the discriminator minimises, on the same generated frames, detached.

        Args:
          driving: `[B, H, W, 3]`.
          made: from `forward`.

        Returns:
          name -> `[B]`.
        """
        fake = self._judge(tf.stop_gradient(made.prediction), made)
        real = self._judge(driving, made)
        return {"disc_gan": self.weights.discriminator_gan * adversarial.discriminator_loss(real, fake)}

    def _judge(self, frames: tf.Tensor, made: Forward) -> dict[float, models.DiscriminatorOutput]:
        pyramid = resample.pyramid(frames, self._discriminator.scales)
        return self._discriminator(pyramid, tf.stop_gradient(made.driving_keypoints.value), training=True)

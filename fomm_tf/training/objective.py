"""The forward pass of a training step and its losses, one value per example (sec. 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from fomm_tf import config, models
from fomm_tf.losses import adversarial, equivariance, perceptual
from fomm_tf.models import execution
from fomm_tf.ops import keypoints, resample, tps


class Forward(NamedTuple):
    """The outputs of the networks for a batch.

    Attributes:
      reconstruction: of the driving frames; see `fomm_tf.models.Reconstruction`.
      transformed_frame: `[B, H, W, 3]`, the driving frames deformed; None without equivariance losses.
      transformed_keypoints: of the deformed frames; None without equivariance losses.
    """

    reconstruction: models.Reconstruction
    transformed_frame: tf.Tensor | None
    transformed_keypoints: keypoints.Keypoints | None


class Objective:
    """The losses of the generator's side and of the discriminator's.

    Args:
      settings: the run's config.
      model: the model that trains.
      discriminator: used only if `train.loss_weights.generator_gan` is not 0.
      features: the backbone of the perceptual loss.
    """

    def __init__(
        self,
        settings: config.Config,
        model: models.FirstOrderMotionModel,
        discriminator: models.Discriminator | None,
        features: Callable[[tf.Tensor], list[tf.Tensor]],
    ) -> None:
        self.weights = settings.train.loss_weights
        self.adversarial = self.weights.generator_gan != 0
        self._scales = settings.train.pyramid_scales
        self._align_corners = settings.model.align_corners
        self._equivariance_of_jacobians = settings.model.jacobian and self.weights.equivariance_jacobian != 0
        self._equivariance = self._equivariance_of_jacobians or self.weights.equivariance_value != 0
        self._model, self._discriminator, self._features = model, discriminator, features
        if settings.train.recompute:
            execution.enable_recompute(features, model)

    def forward(self, source: tf.Tensor, driving: tf.Tensor, transform: tps.Transform) -> Forward:
        """Runs the networks in training mode, in the order in which the reference updates its moving statistics.

        Args:
          source: `[B, H, W, 3]` float in [0, 1].
          driving: `[B, H, W, 3]`, other frames of the same videos.
          transform: B deformations for the equivariance losses.
        """
        reconstruction = self._model({"source": source, "driving": driving}, training=True)
        if not self._equivariance:
            return Forward(reconstruction, None, None)
        transformed_frame = tps.warp_image(transform, driving, self._align_corners)
        return Forward(reconstruction, transformed_frame, self._model.detect(transformed_frame, training=True))

    def generator_losses(self, driving: tf.Tensor, forward: Forward, transform: tps.Transform) -> dict[str, tf.Tensor]:
        """The weighted terms of the total loss (Eq. 9, 11, 13 and the adversarial ones), which the model minimizes.

        Args:
          driving: `[B, H, W, 3]`.
          forward: from `forward`.
          transform: the one that `forward` got.

        Returns:
          name -> `[B]`; the total loss is their sum.
        """
        prediction = forward.reconstruction.prediction
        generated, real = resample.pyramid(prediction, self._scales), resample.pyramid(driving, self._scales)
        losses = {  # Eq. 9
            "perceptual": perceptual.perceptual_loss(self._features, generated, real, self.weights.perceptual)
        }
        if self.adversarial:
            fake_outputs = self._discriminate(prediction, forward)
            real_outputs = self._discriminate(driving, forward)
            losses["gen_gan"] = self.weights.generator_gan * adversarial.generator_loss(fake_outputs)
            losses["feature_matching"] = adversarial.feature_matching_loss(
                real_outputs, fake_outputs, self.weights.feature_matching
            )
        both = forward.reconstruction.driving_keypoints, forward.transformed_keypoints
        if self.weights.equivariance_value:  # Eq. 11
            losses["equivariance_value"] = self.weights.equivariance_value * equivariance.value_loss(*both, transform)
        if self._equivariance_of_jacobians:  # Eq. 13
            jacobian_loss = equivariance.jacobian_loss(*both, transform)
            losses["equivariance_jacobian"] = self.weights.equivariance_jacobian * jacobian_loss
        return losses

    def discriminator_losses(self, driving: tf.Tensor, forward: Forward) -> dict[str, tf.Tensor]:
        """The weighted terms that the discriminator minimizes, on the same generated frames, detached.

        Args:
          driving: `[B, H, W, 3]`.
          forward: from `forward`.

        Returns:
          name -> `[B]`.
        """
        fake = self._discriminate(tf.stop_gradient(forward.reconstruction.prediction), forward)
        real = self._discriminate(driving, forward)
        return {"disc_gan": self.weights.discriminator_gan * adversarial.discriminator_loss(real, fake)}

    def _discriminate(self, frames: tf.Tensor, forward: Forward) -> dict[float, models.DiscriminatorOutput]:
        pyramid = resample.pyramid(frames, self._discriminator.scales)
        driving_keypoints = forward.reconstruction.driving_keypoints
        return self._discriminator(pyramid, tf.stop_gradient(driving_keypoints.value), training=True)

"""What training minimizes: the forward pass and the weighted terms of the total loss (sec. 3.3).

Convention: losses have one value per example; `fomm_tf.training.step` divides their sum by the global batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from fomm_tf import config, errors, models, structures
from fomm_tf.losses import terms
from fomm_tf.models import execution
from fomm_tf.ops import resample, tps


class Forward(NamedTuple):
    """The outputs of the networks for a batch.

    Attributes:
      reconstruction: of the driving frames; see `fomm_tf.models.Reconstruction`.
      transformed_frame: `[B, H, W, 3]`, the driving frames deformed; None without equivariance losses.
      transformed_keypoints: of the deformed frames; None without equivariance losses.
    """

    reconstruction: models.Reconstruction
    transformed_frame: tf.Tensor | None
    transformed_keypoints: structures.Keypoints | None


class Objective:
    """The losses of the generator's side and of the discriminator's.

    Args:
      settings: the run's config.
      model: the model that trains; a detector whose `trainable` is False has no equivariance losses.
      discriminator: used only if `train.loss_weights.generator_gan` is not 0.
      features: the backbone of the perceptual loss; None without that loss.

    Raises:
      errors.UserError: if no loss compares the frames, or the model does not have what an equivariance loss compares.
    """

    def __init__(
        self,
        settings: config.Config,
        model: models.AnimationModel,
        discriminator: models.Discriminator | None,
        features: Callable[[tf.Tensor], list[tf.Tensor]] | None,
    ) -> None:
        self.weights = settings.train.loss_weights
        for name in ("equivariance_value", "equivariance_jacobian"):
            weight = getattr(self.weights, name)
            if weight and name not in settings.model.traits.equivariances:
                raise errors.UserError(
                    f"train.loss_weights.{name} must be 0 for model.kind {settings.model.kind}; got {weight:g}."
                )
        self.adversarial = self.weights.generator_gan != 0
        if features is None and not self.weights.pixel and not self.adversarial:
            raise errors.UserError(
                "train.loss_weights: perceptual, pixel and generator_gan are all 0; set one of them to compare frames."
            )
        self._scales = settings.train.pyramid_scales
        self._align_corners = settings.model.align_corners
        # A frozen detector cannot lower its equivariance losses.
        trains_detector = settings.model.traits.has_keypoints and model.detector.trainable
        self._equivariance_of_values = trains_detector and self.weights.equivariance_value != 0
        self._equivariance_of_jacobians = (
            trains_detector and settings.model.jacobian and self.weights.equivariance_jacobian != 0
        )
        self._equivariance = self._equivariance_of_values or self._equivariance_of_jacobians
        self._model, self._discriminator, self._features = model, discriminator, features
        if settings.train.recompute:
            execution.enable_recompute(*([] if features is None else [features]), model)

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
        weights, losses = self.weights, {}
        if self._features is not None:  # Eq. 9
            losses["perceptual"] = terms.perceptual_loss(self._features, generated, real, weights.perceptual)
        if weights.pixel:
            losses["pixel"] = weights.pixel * terms.pixel_loss(prediction, driving)
        if self.adversarial:
            fake, real = (self._discriminate(frames, forward) for frames in (prediction, driving))
            losses["gen_gan"] = weights.generator_gan * terms.generator_loss(fake)
            losses["feature_matching"] = terms.feature_matching_loss(real, fake, weights.feature_matching)
        both = forward.reconstruction.driving_keypoints, forward.transformed_keypoints
        if self._equivariance_of_values:  # Eq. 11
            value_loss = terms.equivariance_value_loss(*both, transform)
            losses["equivariance_value"] = weights.equivariance_value * value_loss
        if self._equivariance_of_jacobians:  # Eq. 13
            jacobian_loss = terms.equivariance_jacobian_loss(*both, transform)
            losses["equivariance_jacobian"] = weights.equivariance_jacobian * jacobian_loss
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
        return {"disc_gan": self.weights.discriminator_gan * terms.discriminator_loss(real, fake)}

    def _discriminate(self, frames: tf.Tensor, forward: Forward) -> dict[float, models.DiscriminatorOutput]:
        pyramid = resample.pyramid(frames, self._discriminator.scales)
        driving_keypoints = forward.reconstruction.driving_keypoints
        return self._discriminator(pyramid, tf.stop_gradient(driving_keypoints.value), training=True)

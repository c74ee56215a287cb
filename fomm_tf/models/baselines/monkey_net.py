"""Monkey-Net (Siarohin et al., "Animating Arbitrary Objects via Deep Motion Transfer", CVPR 2019).

The networks of the first order model in their earlier form, with the paper's three contributions: keypoints whose
Gaussians have the shape of their heatmap (sec. 3.1), dense motion as masked translations of keypoints plus a residual
(sec. 3.2), and a generator whose encoder features are deformed at every resolution (sec. 3.3).

What the keys of the model section mean here:
  * `jacobian`: covariances, which travel in the field `jacobian` of `Keypoints`; false gives every keypoint the
    variance `dense_motion.heatmap_variance`. The relative transfer of Jacobians, J_D J_D1^-1 J_S, is the paper's of
    covariances too, after which they are made symmetric again;
  * `generator.num_residual_blocks`: the refinement blocks, at full resolution.

Left open by the paper, and chosen here:
  * the blocks are those of the first order model: 7x7 convolutions first and last, average pools, nearest-neighbor
    upsampling, torch's batch normalization;
  * the smallest eigenvalue of a covariance is 0.001; the Gaussian is exp(-x / 2) with a maximum of 1;
  * the motion network sees the source under each keypoint's translation besides the heatmaps' differences;
  * the residual starts at 0, in normalized units, and is not bounded;
  * the heatmaps' differences are resized to each resolution of the decoder, and concatenated to its deformed features;
  * of the discriminator, which is that of the first order model with `use_keypoints`, the Gaussians have a fixed
    variance, and no gradient reaches the keypoints through it. The reconstruction loss on its features is
    `loss_weights.feature_matching`, and on its input `loss_weights.pixel`.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from fomm_tf import config as configs
from fomm_tf import ops
from fomm_tf.models import blocks, first_order_motion_model, generator, motion_estimation
from fomm_tf.models.motion_estimation import DenseMotion
from fomm_tf.ops import covariances, motion, resample
from fomm_tf.ops import keypoints as keypoint_ops
from fomm_tf.structures import EncodedSource, Keypoints


class CovarianceKeypointDetector(motion_estimation.KeypointDetector):
    """Keypoints and the covariances of their heatmaps.

    Args:
      settings: sizes; see `fomm_tf.config.ModelConfig`.
    """

    def __init__(self, settings: configs.ModelConfig, **kwargs) -> None:
        super().__init__(dataclasses.replace(settings, jacobian=False), **kwargs)
        self.has_covariances = settings.jacobian

    def call(self, frame: tf.Tensor, training: bool = False) -> Keypoints:
        """Finds the keypoints of B frames.

        Args:
          frame: `[B, H, W, 3]` float in [0, 1].
          training: normalize with the batch's statistics and move the running ones.

        Returns:
          `Keypoints` of B frames, float32, with covariances as `jacobian`.
        """
        heatmap, _ = self.maps(frame, training)
        value = keypoint_ops.soft_argmax(heatmap)
        if not self.has_covariances:
            return Keypoints(value, None)
        return Keypoints(value, covariances.clip(covariances.from_heatmaps(heatmap, value)))


class ResidualDenseMotionNetwork(motion_estimation.DenseMotionNetwork):
    """Masked translations of keypoints, plus a residual.

    Args:
      settings: sizes; see `fomm_tf.config.ModelConfig`.
    """

    def __init__(self, settings: configs.ModelConfig, **kwargs) -> None:
        super().__init__(settings, **kwargs)
        self.residual_head = blocks.Convolution(
            2, 7, kernel_initializer="zeros", bias_initializer=tf.keras.initializers.Constant(0.0)
        )

    def local_motions(
        self, source: Keypoints, driving: Keypoints, height: int | tf.Tensor, width: int | tf.Tensor
    ) -> tf.Tensor:
        """Translations: a neighborhood moves as its keypoint does."""
        return motion.local_motions(source._replace(jacobian=None), driving._replace(jacobian=None), height, width)

    def heatmaps(self, points: Keypoints, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
        """Gaussians of the shape of the covariances."""
        if points.jacobian is None:
            return super().heatmaps(points, height, width)
        return covariances.gaussian_heatmaps(points.value, points.jacobian, height, width)

    def combine(self, motions: tf.Tensor, mask: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """The coarse deformation plus the residual."""
        residual = ops.at_least_float32(self.residual_head(features))
        return super().combine(motions, mask, features) + residual


class MotionTransferGenerator(generator.Generator):
    """A U-Net whose skip connections are deformed, and joined by the heatmaps' differences.

    Args:
      settings: sizes; see `fomm_tf.config.ModelConfig`.
    """

    def __init__(self, settings: configs.ModelConfig, **kwargs) -> None:
        sizes = settings.generator
        shared = dataclasses.replace(sizes, num_residual_blocks=0)
        super().__init__(dataclasses.replace(settings, generator=shared), **kwargs)
        first = min(sizes.max_features, sizes.block_expansion)
        # Of the last up block, the deformed features, and the differences; without down blocks, of the latter two.
        width = first * (2 if sizes.num_down_blocks else 1) + settings.num_keypoints
        self.refinement = [blocks.ResidualBlock(width) for _ in range(sizes.num_residual_blocks)]

    def decode(self, features: tf.Tensor, difference: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Decodes warped features to an image.

        Args:
          features: `[B, h, w, C]` from `warp_features`.
          difference: `[B, h', w', K]`, of the heatmaps of driving and source keypoints.
          training: normalize with the batch's statistics and update the moving ones.

        Returns:
          `[B, H, W, 3]` float32 in [0, 1].
        """
        *skips, lowest = self.unpack(features)
        outputs = tf.concat(_with_difference(lowest, difference), axis=-1)
        for block, skip in zip(self.up_blocks, reversed(skips), strict=True):
            outputs = tf.concat([block(outputs, training=training), *_with_difference(skip, difference)], axis=-1)
        for block in self.refinement:
            outputs = block(outputs, training=training)
        return tf.sigmoid(ops.at_least_float32(self.final(outputs)))

    def call(self, source: tf.Tensor, motion: DenseMotion, difference: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Deforms the source: `encode`, `warp_features`, `decode`."""
        return self.decode(self.warp_features(self.encode(source, training), motion), difference, training)


def _with_difference(features: tf.Tensor, difference: tf.Tensor) -> list[tf.Tensor]:
    _, height, width, _ = ops.sizes(features)
    return [features, tf.cast(resample.resize(difference, height, width), features.dtype)]


@tf.keras.saving.register_keras_serializable(package="fomm_tf")
class MonkeyNet(first_order_motion_model.FirstOrderMotionModel):
    """Monkey-Net: the three networks of `FirstOrderMotionModel`, of the kinds in this module.

    Args:
      config: the sizes, of kind `monkey-net`.
    """

    KIND = "monkey-net"

    def _create_networks(self) -> None:
        self.detector = CovarianceKeypointDetector(self.config, name="detector")
        self.dense_motion = ResidualDenseMotionNetwork(self.config, name="dense_motion")
        self.generator = MotionTransferGenerator(self.config, name="generator")

    def _forward(self, frame: tf.Tensor) -> tf.Tensor:
        keypoints = self.detector(frame)
        lowres = self.dense_motion.downsample(frame)
        motion = self.dense_motion(lowres, keypoints, keypoints)
        return self.generator(frame, motion, self._difference(lowres, keypoints, keypoints))

    def _describe(self) -> list[str]:
        return [f"{self.config.num_keypoints} keypoints {'with' if self.config.jacobian else 'without'} covariances"]

    def _difference(self, lowres: tf.Tensor, source: Keypoints, driving: Keypoints) -> tf.Tensor:
        _, height, width, _ = ops.sizes(lowres)
        return self.dense_motion.heatmap_difference(source, driving, height, width)

    def _generate(
        self, source: EncodedSource, keypoints: Keypoints, training: bool = False
    ) -> tuple[DenseMotion, tf.Tensor, tf.Tensor]:
        """The motion, the warped source image, and the prediction."""
        motion = self.dense_motion(source.lowres, source.keypoints, keypoints, training=training)
        features = tf.cast(source.features, self.generator.compute_dtype)
        difference = self._difference(source.lowres, source.keypoints, keypoints)
        prediction = self.generator.decode(self.generator.warp_features(features, motion), difference, training)
        return motion, self.generator.warp_image(source.image, motion.deformation), prediction

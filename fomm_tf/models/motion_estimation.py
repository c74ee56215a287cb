"""Motion estimation: the keypoint detector (sec. 3.1, B.1) and the dense motion network (sec. 3.2, Eq. 4-7).

The detector finds the K keypoints of a frame, with Jacobians; the dense motion network makes a deformation and an
occlusion map of the keypoints of two frames.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from fomm_tf import config, ops, structures
from fomm_tf.models import blocks, execution
from fomm_tf.ops import keypoints, motion, warp


class KeypointDetector(execution.Network):
    """An hourglass on the downsampled frame, a head of K heatmaps, and a head of Jacobian maps.

    Args:
      settings: sizes; see `fomm_tf.config.ModelConfig`.
    """

    def __init__(self, settings: config.ModelConfig, **kwargs) -> None:
        super().__init__(autocast=False, **kwargs)
        sizes = settings.keypoint_detector
        self.temperature, self.pad = sizes.temperature, sizes.pad
        self.antialias = blocks.AntiAlias(sizes.scale, sizes.antialias_size) if sizes.scale != 1 else None
        self.hourglass = blocks.Hourglass(sizes.block_expansion, sizes.num_blocks, sizes.max_features)
        self.keypoint_head = blocks.Convolution(settings.num_keypoints, 7, padding="valid")
        self.jacobian_head = None
        if settings.jacobian:
            maps = 1 if sizes.single_jacobian_map else settings.num_keypoints
            # Every map starts as the identity: at first, the neighborhood of a keypoint does not rotate.
            self.jacobian_head = blocks.Convolution(
                4 * maps,
                7,
                padding="valid",
                kernel_initializer="zeros",
                bias_initializer=tf.keras.initializers.Constant([1.0, 0.0, 0.0, 1.0] * maps),
            )

    def call(self, frame: tf.Tensor, training: bool = False) -> structures.Keypoints:
        """Finds the keypoints of B frames.

        Args:
          frame: `[B, H, W, 3]` float in [0, 1].
          training: normalize with the batch's statistics and move the running ones.

        Returns:
          `Keypoints` of B frames, float32.

        Raises:
          ValueError: if the hourglass does not divide the frame's size.
        """
        heatmap, jacobian_maps = self.maps(frame, training)
        jacobian = None if jacobian_maps is None else keypoints.average_jacobian(heatmap, jacobian_maps)
        return structures.Keypoints(keypoints.soft_argmax(heatmap), jacobian)

    def maps(self, frame: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Computes the maps that keypoints are computed from.

        Args:
          frame: `[B, H, W, 3]` float in [0, 1].
          training: normalize with the batch's statistics and move the running ones.

        Returns:
          The heatmaps `[B, h, w, K]` float32, and the Jacobian maps `[B, h, w, 4 K]` (or 4), None without Jacobians.
        """
        lowres = frame if self.antialias is None else self.antialias(frame)
        features = self.hourglass(lowres, training=training)
        if self.pad:
            features = tf.pad(features, [[0, 0], [self.pad, self.pad], [self.pad, self.pad], [0, 0]])
        heatmap = keypoints.spatial_softmax(self.keypoint_head(features), self.temperature)
        return heatmap, None if self.jacobian_head is None else self.jacobian_head(features)


class DenseMotion(NamedTuple):
    """A dense motion, at the network's own size h x w.

    Attributes:
      deformation: `[B, h, w, 2]` float32, the position in the source that each pixel comes from (Eq. 7).
      occlusion: `[B, h, w, 1]` in [0, 1], 1 = visible; None if the model has no occlusion map.
      mask: `[B, h, w, K + 1]`, the weight of each local motion; the background's is the first.
      sparse_deformed: `[B, K + 1, h, w, 3]`, the source under each local motion.
    """

    deformation: tf.Tensor
    occlusion: tf.Tensor | None
    mask: tf.Tensor
    sparse_deformed: tf.Tensor


class DenseMotionNetwork(execution.Network):
    """Hourglass over the heatmaps' differences and the locally warped sources.

    Args:
      settings: sizes; see `fomm_tf.config.ModelConfig`.
    """

    def __init__(self, settings: config.ModelConfig, **kwargs) -> None:
        super().__init__(autocast=False, **kwargs)
        sizes = settings.dense_motion
        self.variance, self.align_corners = sizes.heatmap_variance, settings.align_corners
        scale = settings.motion_scale
        self.antialias = blocks.AntiAlias(scale, sizes.antialias_size) if scale != 1 else None
        self.hourglass = blocks.Hourglass(sizes.block_expansion, sizes.num_blocks, sizes.max_features)
        self.mask_head = blocks.Convolution(settings.num_keypoints + 1, 7)
        self.occlusion_head = blocks.Convolution(1, 7) if settings.occlusion else None

    def downsample(self, source: tf.Tensor) -> tf.Tensor:
        """Downsamples the source to the network's size; animation does this once.

        Args:
          source: `[B, H, W, 3]` float in [0, 1].

        Returns:
          `[B, h, w, 3]`.
        """
        return source if self.antialias is None else self.antialias(source)

    def call(
        self,
        source_lowres: tf.Tensor,
        source_keypoints: structures.Keypoints,
        driving_keypoints: structures.Keypoints,
        training: bool = False,
    ) -> DenseMotion:
        """The motion from each driving frame back to its source.

        Args:
          source_lowres: `[B, h, w, 3]` from `downsample`; with a static batch of 1 it serves every driving frame.
          source_keypoints: of the sources, batch as `source_lowres`.
          driving_keypoints: of B driving frames.
          training: normalize with the batch's statistics and move the running ones.

        Returns:
          `DenseMotion` of B frames.

        Raises:
          ValueError: if the hourglass does not divide h and w, or the keypoints do not fit.
        """
        _, height, width, channels = ops.sizes(source_lowres)
        motions = self.local_motions(source_keypoints, driving_keypoints, height, width)
        batch, count = ops.sizes(motions)[:2]
        # The K + 1 warps sample one image, which is not copied: their grids are stacked vertically.
        grids = tf.reshape(motions, [batch, count * height, width, 2])
        deformed = warp.backward_warp(source_lowres, grids, align_corners=self.align_corners)
        deformed = tf.reshape(deformed, [batch, count, height, width, channels])

        difference = self.heatmap_difference(source_keypoints, driving_keypoints, height, width)
        heatmap = tf.pad(tf.cast(difference, deformed.dtype), [[0, 0], [0, 0], [0, 0], [1, 0]])
        by_motion = tf.concat([heatmap[..., tf.newaxis], tf.transpose(deformed, [0, 2, 3, 1, 4])], axis=-1)
        features = self.hourglass(
            tf.reshape(by_motion, [batch, height, width, count * (channels + 1)]), training=training
        )

        occlusion = None
        if self.occlusion_head is None:
            mask = self.mask_head(features)
        else:
            mask, occlusion = blocks.convolve_together(features, self.mask_head, self.occlusion_head)
            occlusion = tf.sigmoid(ops.at_least_float32(occlusion))
        mask = tf.nn.softmax(ops.at_least_float32(mask))
        return DenseMotion(self.combine(motions, mask, features), occlusion, mask, deformed)

    def local_motions(
        self,
        source: structures.Keypoints,
        driving: structures.Keypoints,
        height: int | tf.Tensor,
        width: int | tf.Tensor,
    ) -> tf.Tensor:
        """The motion of each keypoint's neighborhood, see `fomm_tf.ops.motion.local_motions`."""
        return motion.local_motions(source, driving, height, width)

    def heatmap_difference(
        self,
        source: structures.Keypoints,
        driving: structures.Keypoints,
        height: int | tf.Tensor,
        width: int | tf.Tensor,
    ) -> tf.Tensor:
        """Heatmaps of the driving keypoints minus those of the source's, `[B, height, width, K]` (Eq. 6)."""
        heatmaps = self.heatmaps(driving, height, width)
        return heatmaps - self.heatmaps(source, height, width)

    def heatmaps(self, points: structures.Keypoints, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
        """Heatmaps of keypoints, `[B, height, width, K]`."""
        return keypoints.gaussian_heatmaps(points.value, height, width, self.variance)

    def combine(self, motions: tf.Tensor, mask: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """The deformation (Eq. 7).

        Args:
          motions: `[B, K + 1, h, w, 2]`.
          mask: `[B, h, w, K + 1]`.
          features: `[B, h, w, C]`, which the mask was computed from.

        Returns:
          `[B, h, w, 2]`.
        """
        del features
        return motion.combine(motions, mask)

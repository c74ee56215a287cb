"""The keypoint detector: a frame to K keypoints with Jacobians (sec. 3.1, B.1)."""

from __future__ import annotations

import tensorflow as tf

from fomm_tf import config
from fomm_tf.models import blocks, execution
from fomm_tf.ops import keypoints


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

    def call(self, frame: tf.Tensor, training: bool = False) -> keypoints.Keypoints:
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
        return keypoints.Keypoints(keypoints.soft_argmax(heatmap), jacobian)

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

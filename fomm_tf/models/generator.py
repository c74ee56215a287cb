"""The occlusion-aware generator: a source and a dense motion to a frame (sec. 3.2, Eq. 8).

With `generator.blend_source`, which is not in the paper, the last convolution has a fourth channel a, and the frame is
alpha * f_w(S) + (1 - alpha) * color, where alpha = sigmoid(a + 1) and f_w(S) is the warped source image: what needs no
repainting keeps the source's sharpness.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from fomm_tf import config, ops
from fomm_tf.models import blocks, execution, motion_estimation
from fomm_tf.ops import resample, warp
from fomm_tf.ops.keypoints import Keypoints

# Added to the logit of alpha: a randomly initialized generator mostly keeps the warped source (alpha 0.73).
_ALPHA_BIAS = 1.0


class EncodedSource(NamedTuple):
    """Everything that depends only on the source image.

    Attributes:
      image: `[B, H, W, 3]` float in [0, 1].
      features: `[B, h, w, C]`, the generator's.
      keypoints: of the source.
      lowres: `[B, h', w', 3]`, the image at the dense motion network's size.
    """

    image: tf.Tensor
    features: tf.Tensor
    keypoints: Keypoints
    lowres: tf.Tensor


class Generator(execution.Network):
    """Encodes the source, warps and masks its features, decodes them.

    Args:
      settings: sizes; see `fomm_tf.config.ModelConfig`.
    """

    def __init__(self, settings: config.ModelConfig, **kwargs) -> None:
        super().__init__(autocast=False, **kwargs)
        sizes = settings.generator
        self.align_corners = settings.align_corners
        widths = [min(sizes.max_features, sizes.block_expansion * 2**i) for i in range(sizes.num_down_blocks + 1)]
        self.first = blocks.SameBlock(widths[0])
        self.down_blocks = [blocks.DownBlock(width) for width in widths[1:]]
        self.bottleneck = [blocks.ResidualBlock(widths[-1]) for _ in range(sizes.num_residual_blocks)]
        self.up_blocks = [blocks.UpBlock(width) for width in reversed(widths[:-1])]
        self.blend_source = sizes.blend_source
        self.final = blocks.Convolution(4 if sizes.blend_source else 3, 7)

    def encode(self, source: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Computes the features of the source; animation does this once.

        Args:
          source: `[B, H, W, 3]` float in [0, 1]; sides multiples of 2 ** num_down_blocks.
          training: normalize with the batch's statistics and move the running ones.

        Returns:
          `[B, h, w, C]`.
        """
        features = self.first(source, training=training)
        for block in self.down_blocks:
            features = block(features, training=training)
        return features

    def warp_features(self, features: tf.Tensor, motion: motion_estimation.DenseMotion) -> tf.Tensor:
        """Warps features by the motion, and masks them where they are occluded (Eq. 8).

        Args:
          features: `[B, h, w, C]` from `encode`; with a static batch of 1 they serve every frame of `motion`.
          motion: of B frames.

        Returns:
          `[B, h, w, C]`.
        """
        warped = self.warp_image(features, motion.deformation)
        if motion.occlusion is None:
            return warped
        _, height, width, _ = ops.sizes(features)
        return warped * tf.cast(resample.resize(motion.occlusion, height, width), warped.dtype)

    def warp_image(self, image: tf.Tensor, deformation: tf.Tensor) -> tf.Tensor:
        """Warps an image by a deformation, which is resized to it; of the source, this is the paper's deformed image.

        Args:
          image: `[B, H, W, C]`.
          deformation: `[B, h, w, 2]`, (x, y).

        Returns:
          `[B, H, W, C]`.
        """
        _, height, width, _ = ops.sizes(image)
        return warp.backward_warp(image, resample.resize(deformation, height, width), align_corners=self.align_corners)

    def decode(self, features: tf.Tensor, warped_source: tf.Tensor | None = None, training: bool = False) -> tf.Tensor:
        """Decodes warped features to an image.

        Args:
          features: `[B, h, w, C]` from `warp_features`.
          warped_source: `[B, H, W, 3]`, the source image from `warp_image`; used only with `blend_source`.
          training: normalize with the batch's statistics and update the moving ones.

        Returns:
          `[B, H, W, 3]` float32 in [0, 1].

        Raises:
          ValueError: with `blend_source`, without `warped_source`.
        """
        for block in [*self.bottleneck, *self.up_blocks]:
            features = block(features, training=training)
        outputs = ops.at_least_float32(self.final(features))
        if not self.blend_source:
            return tf.sigmoid(outputs)
        if warped_source is None:
            raise ValueError("warped_source: got None; a generator with blend_source needs the warped source image.")
        alpha = tf.sigmoid(outputs[..., 3:] + _ALPHA_BIAS)
        return alpha * tf.cast(warped_source, outputs.dtype) + (1.0 - alpha) * tf.sigmoid(outputs[..., :3])

    def call(self, source: tf.Tensor, motion: motion_estimation.DenseMotion, training: bool = False) -> tf.Tensor:
        """Warps the source by the motion: `encode`, `warp_features` and `warp_image`, `decode`."""
        features = self.warp_features(self.encode(source, training), motion)
        return self.decode(features, self.warp_image(source, motion.deformation), training)

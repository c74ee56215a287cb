"""The occlusion-aware generator: a source and a dense motion to a frame (sec. 3.2, Eq. 8).

With `generator.blend_source`, which is not in the paper, the last convolution has a fourth channel a, and the frame is
alpha * f_w(S) + (1 - alpha) * color, where alpha = sigmoid(a + 1) and f_w(S) is the warped source image: what needs no
repainting keeps the source's sharpness.

With `generator.warp_skips`, which is not in the paper either (but in Monkey-Net, Siarohin et al. 2019, sec. 3.3), the
source's features of every resolution are warped and masked, and concatenated to those of the decoder. `encode` and
`warp_features` pack all resolutions into one tensor of the lowest one, so that the rest of the project, exported stages
included, need not know.

With `generator.scale` below 1, which needs `blend_source`, the networks see the source at that scale, and color and a
are scaled up before they are blended: the warped source gives the detail, at a fraction of the cost.
"""

from __future__ import annotations

import tensorflow as tf

from fomm_tf import config, ops
from fomm_tf.models import blocks, execution, motion_estimation
from fomm_tf.ops import resample, warp

# Added to the logit of alpha: a randomly initialized generator mostly keeps the warped source (alpha 0.73).
_ALPHA_BIAS = 1.0


class Generator(execution.Network):
    """Encodes the source, warps and masks its features, decodes them.

    Args:
      settings: sizes; see `fomm_tf.config.ModelConfig`.
    """

    def __init__(self, settings: config.ModelConfig, **kwargs) -> None:
        super().__init__(autocast=False, **kwargs)
        sizes = settings.generator
        self.align_corners, self._resize_displacements = settings.align_corners, settings.resize_displacements
        widths = [min(sizes.max_features, sizes.block_expansion * 2**i) for i in range(sizes.num_down_blocks + 1)]
        self.first = blocks.SameBlock(widths[0])
        self.down_blocks = [blocks.DownBlock(width) for width in widths[1:]]
        self.bottleneck = [blocks.ResidualBlock(widths[-1]) for _ in range(sizes.num_residual_blocks)]
        self.up_blocks = [blocks.UpBlock(width) for width in reversed(widths[:-1])]
        self.blend_source, self._reduction = sizes.blend_source, round(1 / sizes.scale)
        # What packed features hold, from the highest resolution to the lowest: channels, and how many times its sides.
        levels = [(width, 2 ** (sizes.num_down_blocks - index)) for index, width in enumerate(widths)]
        self._levels = levels if sizes.warp_skips else levels[-1:]
        self.final = blocks.ImageConvolution(4 if sizes.blend_source else 3)

    def encode(self, source: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Computes the features of the source; animation does this once.

        Args:
          source: `[B, H, W, 3]` float in [0, 1]; sides multiples of 2 ** num_down_blocks / scale.
          training: normalize with the batch's statistics and move the running ones.

        Returns:
          `[B, h, w, C]`; with `warp_skips`, the features of all resolutions, packed.
        """
        if self._reduction > 1:
            source = tf.nn.avg_pool2d(source, self._reduction, self._reduction, "VALID")
        levels = [self.first(source, training=training)]
        for block in self.down_blocks:
            levels.append(block(levels[-1], training=training))
        return self._pack(levels[-len(self._levels) :])

    def warp_features(self, features: tf.Tensor, motion: motion_estimation.DenseMotion) -> tf.Tensor:
        """Warps features by the motion, and masks them where they are occluded (Eq. 8).

        Args:
          features: `[B, h, w, C]` from `encode`; with a static batch of 1 they serve every frame of `motion`.
          motion: of B frames.

        Returns:
          `[B, h, w, C]`.
        """
        return self._pack([self._warp_level(level, motion) for level in self.unpack(features)])

    def _warp_level(self, features: tf.Tensor, motion: motion_estimation.DenseMotion) -> tf.Tensor:
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
        grid = self.resize_deformation(deformation, height, width)
        return warp.backward_warp(image, grid, align_corners=self.align_corners)

    def resize_deformation(self, deformation: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
        """Resizes a deformation, see `resize_displacements` of `fomm_tf.config.ModelConfig`.

        Args:
          deformation: `[B, h, w, 2]`, (x, y).
          height: rows of the result.
          width: columns of the result.

        Returns:
          `[B, height, width, 2]`.
        """
        if self._resize_displacements:
            return warp.resize_displacements(deformation, height, width, self.align_corners)
        return resample.resize(deformation, height, width)

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
        *skips, features = self.unpack(features)
        for block in self.bottleneck:
            features = block(features, training=training)
        for block in self.up_blocks:
            features = block(features, training=training)
            if skips:
                features = tf.concat([features, skips.pop()], axis=-1)
        outputs = ops.at_least_float32(self.final(features, training=training))
        if not self.blend_source:
            return tf.sigmoid(outputs)
        if warped_source is None:
            raise ValueError("warped_source: got None; a generator with blend_source needs the warped source image.")
        _, height, width, _ = ops.sizes(warped_source)
        outputs = resample.resize(outputs, height, width)
        alpha = tf.sigmoid(outputs[..., 3:] + _ALPHA_BIAS)
        return alpha * tf.cast(warped_source, outputs.dtype) + (1.0 - alpha) * tf.sigmoid(outputs[..., :3])

    def call(self, source: tf.Tensor, motion: motion_estimation.DenseMotion, training: bool = False) -> tf.Tensor:
        """Warps the source by the motion: `encode`, `warp_features` and `warp_image`, `decode`."""
        features = self.warp_features(self.encode(source, training), motion)
        return self.decode(features, self.warp_image(source, motion.deformation), training)

    def unpack(self, features: tf.Tensor) -> list[tf.Tensor]:
        """Splits features from `encode` or `warp_features` by resolution, from the highest to the lowest.

        Args:
          features: `[B, h, w, C]`.

        Returns:
          One tensor; with `warp_skips` one per resolution, each with half the sides of the one before.
        """
        if len(self._levels) == 1:
            return [features]
        parts = tf.split(features, [width * factor**2 for width, factor in self._levels], axis=-1)
        return [
            part if factor == 1 else tf.nn.depth_to_space(part, factor)
            for part, (_, factor) in zip(parts, self._levels, strict=True)
        ]

    def _pack(self, features: list[tf.Tensor]) -> tf.Tensor:
        """The inverse of `unpack`."""
        if len(self._levels) == 1:
            return features[0]
        parts = [
            level if factor == 1 else tf.nn.space_to_depth(level, factor)
            for level, (_, factor) in zip(features, self._levels, strict=True)
        ]
        return tf.concat(parts, axis=-1)

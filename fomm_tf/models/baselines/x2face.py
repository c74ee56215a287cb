"""X2Face (Wiles, Koepke and Zisserman, "X2Face: A network for controlling face generation", ECCV 2018), of two frames.

An embedding network maps the source to an embedded face: it predicts where each pixel of that face comes from. A
driving network maps a driving frame to a code of few numbers, and the code to where each pixel of the result comes from
in the embedded face. Nothing is painted: every pixel of the result is a pixel of the source.

What the keys of the model section mean here:
  * `num_keypoints`: half of the code's length, since a code travels as the `value` of `Keypoints`, [N, K, 2]. The paper
    has 128 numbers. Its relative transfer is arithmetic of codes: c_S + (c_D - c_D1);
  * `keypoint_detector`: the driving network, whose encoder and decoder have `num_blocks` blocks each;
  * `generator`: the embedding network, with `num_down_blocks` halvings and as many skip connections;
  * `dense_motion`: not used.

Left open by the paper, or changed:
  * it has several source frames, whose embedded faces are averaged; here there is one;
  * it trains with L1 first, then with identity losses on frames of other people; these are left out;
  * the blocks are those of the first order model, instead of convolutions of stride 2: a U-Net for the embedding
    network; an encoder, two dense layers around the code, and a decoder without skip connections for the driving one;
  * both grids are the identity plus a prediction that starts at 0 and is not bounded, so that a new model copies the
    source; outside, the border is repeated. The grids are in the units of `fomm_tf.ops`.

The dense layers fix the frame size to that of the config.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import tensorflow as tf

from fomm_tf import config as configs
from fomm_tf import ops
from fomm_tf.models import blocks, execution
from fomm_tf.models.animation_model import AnimationModel, Reconstruction
from fomm_tf.models.motion_estimation import DenseMotion
from fomm_tf.ops import resample, warp
from fomm_tf.structures import EncodedSource, Keypoints, Rendering


class GridHead(tf.keras.layers.Layer):
    """Convolution 7x7 to a sampling grid: the identity at first."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.conv = blocks.Convolution(
            2, 7, kernel_initializer="zeros", bias_initializer=tf.keras.initializers.Constant(0.0)
        )

    def call(self, features: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
        """`[B, h, w, C]` to `[B, height, width, 2]` float32, (x, y)."""
        offset = resample.resize(ops.at_least_float32(self.conv(features)), height, width)
        return ops.identity_grid(height, width, offset.dtype) + offset


class EmbeddingNetwork(execution.Network):
    """Source to the grid that samples its embedded face.

    Args:
      settings: sizes; see `fomm_tf.config.ModelConfig`.
    """

    def __init__(self, settings: configs.ModelConfig, **kwargs) -> None:
        super().__init__(autocast=False, **kwargs)
        sizes = settings.generator
        self.hourglass = blocks.Hourglass(sizes.block_expansion, sizes.num_down_blocks, sizes.max_features)
        self.head = GridHead()

    def call(self, source: tf.Tensor, training: bool = False) -> tf.Tensor:
        """`[B, H, W, 3]` to `[B, H, W, 2]`, where each pixel of the embedded face comes from."""
        _, height, width, _ = ops.sizes(source)
        return self.head(self.hourglass(source, training=training), height, width)


class DrivingNetwork(execution.Network):
    """Driving frame to a code, and code to the grid that samples the embedded face.

    Args:
      settings: sizes; see `fomm_tf.config.ModelConfig`.
    """

    def __init__(self, settings: configs.ModelConfig, **kwargs) -> None:
        super().__init__(autocast=False, **kwargs)
        sizes = settings.keypoint_detector
        self.antialias = blocks.AntiAlias(sizes.scale, sizes.antialias_size) if sizes.scale != 1 else None
        self.frame_size = settings.frame_size
        halvings = int(1 / sizes.scale) * 2**sizes.num_blocks
        self.lowest = [-(-size // halvings) for size in settings.frame_size]
        widths = [min(sizes.max_features, sizes.block_expansion * 2**i) for i in range(sizes.num_blocks + 1)]
        self.channels = widths[-1]
        self.down_blocks = [blocks.DownBlock(width) for width in widths[1:]]
        self.to_code = tf.keras.layers.Dense(2 * settings.num_keypoints)
        self.from_code = tf.keras.layers.Dense(self.lowest[0] * self.lowest[1] * self.channels)
        self.up_blocks = [blocks.UpBlock(width) for width in reversed(widths[:-1])]
        self.head = GridHead()

    def encode(self, frame: tf.Tensor, training: bool = False) -> tf.Tensor:
        """`[B, H, W, 3]` to codes `[B, 2 K]` float32."""
        features = frame if self.antialias is None else self.antialias(frame)
        for block in self.down_blocks:
            features = block(features, training=training)
        flat = tf.reshape(features, [-1, self.lowest[0] * self.lowest[1] * self.channels])
        return ops.at_least_float32(self.to_code(flat))

    def decode(self, code: tf.Tensor, training: bool = False) -> tf.Tensor:
        """`[B, 2 K]` to `[B, H, W, 2]`, where each pixel of the result comes from in the embedded face."""
        features = tf.reshape(tf.nn.relu(self.from_code(code)), [-1, *self.lowest, self.channels])
        for block in self.up_blocks:
            features = block(features, training=training)
        return self.head(features, *self.frame_size)

    def call(self, frame: tf.Tensor, training: bool = False) -> tf.Tensor:
        """`encode`, then `decode`."""
        return self.decode(self.encode(frame, training), training)


@tf.keras.saving.register_keras_serializable(package="fomm_tf")
class X2Face(AnimationModel):
    """Moves the pixels of a source by the codes of driving frames.

    Args:
      config: the sizes, of kind `x2face`.

    Attributes:
      config: as given.
      embedding: source to the grid of its embedded face.
      driving: driving frame to code, and code to grid.
    """

    KIND = "x2face"
    NETWORKS = ("embedding", "driving")
    TRAINED_BY: ClassVar = {"generator": ("embedding",), "detector": ("driving",)}

    def __init__(self, config: configs.ModelConfig, **kwargs) -> None:
        super().__init__(config, **kwargs)
        self.embedding = EmbeddingNetwork(config, name="embedding")
        self.driving = DrivingNetwork(config, name="driving")
        blocks.create_variables(lambda frame: (self.embedding(frame), self.driving(frame)), config.frame_size)
        self.built = True

    def detect(self, frames: np.ndarray | tf.Tensor, training: bool = False) -> Keypoints:
        """Computes the codes of N frames.

        Args:
          frames: `[N, H, W, 3]` of the config's size.
          training: normalize with the batch's statistics and update the moving ones.

        Returns:
          `Keypoints` of N frames, whose `value` is the code.

        Raises:
          ValueError: if the frames are of another rank or size.
        """
        code = self.driving.encode(self._as_frames("frames", frames), training)
        return Keypoints(tf.reshape(code, [-1, self.config.num_keypoints, 2]), None)

    def encode_source(self, image: np.ndarray | tf.Tensor, training: bool = False) -> EncodedSource:
        """Computes the embedded face, once for an animation.

        Args:
          image: `[H, W, 3]` or `[B, H, W, 3]` of the config's size.
          training: as in `detect`.

        Returns:
          `EncodedSource` with the embedded face as `features`, and the grid that samples it as `lowres`.

        Raises:
          ValueError: as in `detect`.
        """
        image = self._as_frames("image", image[tf.newaxis] if len(image.shape) == 3 else image)
        embedded, grid = self._embed(image, training)
        return EncodedSource(image, embedded, self.detect(image, training), grid)

    def render(self, source: EncodedSource, keypoints: Keypoints, details: bool = False) -> Rendering:
        """Samples the embedded face by N codes.

        Args:
          source: from `encode_source`.
          keypoints: codes of N driving frames, from `detect` or `fomm_tf.transfer`.
          details: fill `deformation`, the only other field that this model has.

        Raises:
          errors.UserError: if the codes are not of this model.
        """
        keypoints.check(self.config.num_keypoints, self.config.jacobian)
        grid, prediction = self._sample(source.features, keypoints)
        # The prediction is the warped source: nothing is painted.
        return Rendering(prediction, prediction, deformation=self._warp(source.lowres, grid) if details else None)

    @tf.autograph.experimental.do_not_convert
    def call(self, inputs: dict[str, np.ndarray | tf.Tensor], training: bool = False) -> Reconstruction:
        """Rebuilds driving frames from source frames of the same videos: the forward pass of training.

        Args:
          inputs: `source` and `driving`, `[B, H, W, 3]` each.
          training: as in `detect`.

        Returns:
          `Reconstruction`, without source keypoints.
        """
        embedded, embedding = self._embed(self._as_frames("source", inputs["source"]), training)
        keypoints = self.detect(inputs["driving"], training)
        grid, prediction = self._sample(embedded, keypoints, training)
        motion = DenseMotion(self._warp(embedding, grid), None, None, None)
        return Reconstruction(prediction, None, keypoints, motion)

    def _embed(self, image: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """The embedded face, and the grid that samples it."""
        grid = self.embedding(image, training=training)
        return self._warp(image, grid), grid

    def _sample(self, embedded: tf.Tensor, keypoints: Keypoints, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """The grids of codes, and the embedded face sampled by them."""
        grid = self.driving.decode(tf.reshape(keypoints.value, [-1, 2 * self.config.num_keypoints]), training)
        return grid, self._warp(embedded, grid)

    def _warp(self, image: tf.Tensor, grid: tf.Tensor) -> tf.Tensor:
        return warp.backward_warp(image, grid, padding="border", align_corners=self.config.align_corners)

    def _as_frames(self, name: str, images: np.ndarray | tf.Tensor) -> tf.Tensor:
        images = self._as_images(name, images)
        if None not in images.shape[1:3] and tuple(images.shape[1:3]) != tuple(self.config.frame_size):
            raise ValueError(f"{name} must be of {self.config.frame_size} pixels; got {tuple(images.shape[1:3])}.")
        return images

    def _describe(self) -> list[str]:
        return [f"codes of {2 * self.config.num_keypoints} numbers"]

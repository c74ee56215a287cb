"""The multi-scale patch discriminator of the reference's adversarial fine-tuning (its `*-adv` configs)."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from fomm_tf import config, ops
from fomm_tf.models import blocks
from fomm_tf.ops import keypoints

layers = tf.keras.layers


class DiscriminatorOutput(NamedTuple):
    """Output of the discriminator of one scale.

    Attributes:
      features: `[B, h_i, w_i, C_i]` of each block, for feature matching.
      prediction: `[B, h, w, 1]`, one value per patch; 1 = real.
    """

    features: list[tf.Tensor]
    prediction: tf.Tensor


class SpectralConvolution(blocks.Convolution):
    """A convolution divided by its largest singular value; one power iteration per training pass, as in torch."""

    def build(self, input_shape: tf.TensorShape) -> None:
        super().build(input_shape)
        columns = input_shape[-1] * self.kernel_size[0] * self.kernel_size[1]
        self.left = self.add_weight("left", [self.filters], initializer=_random_direction, **blocks.STATISTIC)
        self.right = self.add_weight("right", [columns], initializer=_random_direction, **blocks.STATISTIC)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        kernel = ops.at_least_float32(self.kernel)
        # Columns as in torch, input channel first, since `right` is part of its checkpoints.
        matrix = tf.reshape(tf.transpose(kernel, [3, 2, 0, 1]), [self.filters, -1])
        left, right = self.left.read_value(), self.right.read_value()
        if training:
            right = _normalize(tf.linalg.matvec(matrix, left, transpose_a=True))
            left = _normalize(tf.linalg.matvec(matrix, right))
            right, left = tf.stop_gradient(right), tf.stop_gradient(left)
            self.right.assign(right)
            self.left.assign(left)
        largest = tf.tensordot(left, tf.linalg.matvec(matrix, right), 1)
        outputs = tf.nn.conv2d(inputs, tf.cast(kernel / largest, inputs.dtype), 1, self.padding.upper())
        return tf.nn.bias_add(outputs, tf.cast(self.bias, outputs.dtype))


def _random_direction(shape: list[int], dtype: tf.DType = tf.float32, **_) -> tf.Tensor:
    return _normalize(tf.random.normal(shape, dtype=dtype))


def _normalize(vector: tf.Tensor) -> tf.Tensor:
    return vector / tf.maximum(tf.norm(vector), 1e-12)


class InstanceNorm(layers.Layer):
    """Normalizes each channel of each image to mean 0 and variance 1, then applies an affine map."""

    EPSILON = 1e-5

    def build(self, input_shape: tf.TensorShape) -> None:
        shape = [input_shape[-1]]
        self.gamma = self.add_weight("gamma", shape, initializer="ones", experimental_autocast=False)
        self.beta = self.add_weight("beta", shape, initializer="zeros", experimental_autocast=False)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        values = ops.at_least_float32(inputs)
        mean, variance = tf.nn.moments(values, axes=[1, 2], keepdims=True)
        outputs = tf.nn.batch_normalization(values, mean, variance, self.beta, self.gamma, self.EPSILON)
        return tf.cast(outputs, inputs.dtype)


class DiscriminatorBlock(layers.Layer):
    """Convolution 4x4 without padding, instance norm, leaky ReLU, average pool."""

    def __init__(self, filters: int, convolution: type[blocks.Convolution], norm: bool, pool: bool, **kwargs) -> None:
        super().__init__(**kwargs)
        self.conv = convolution(filters, 4, padding="valid")
        self.norm = InstanceNorm() if norm else None
        self.pool = pool

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        outputs = self.conv(inputs, training=training)
        if self.norm is not None:
            outputs = self.norm(outputs)
        outputs = tf.nn.leaky_relu(outputs, 0.2)
        return tf.nn.avg_pool2d(outputs, 2, 2, "VALID") if self.pool else outputs


class ScaleDiscriminator(layers.Layer):
    """The patch discriminator of one scale.

    Args:
      sizes: see `fomm_tf.config.DiscriminatorConfig`.
    """

    def __init__(self, sizes: config.DiscriminatorConfig, **kwargs) -> None:
        super().__init__(**kwargs)
        convolution = SpectralConvolution if sizes.spectral_norm else blocks.Convolution
        widths = [min(sizes.max_features, sizes.block_expansion * 2 ** (i + 1)) for i in range(sizes.num_blocks)]
        self.down_blocks = [
            DiscriminatorBlock(width, convolution, norm=i > 0, pool=i < sizes.num_blocks - 1)
            for i, width in enumerate(widths)
        ]
        self.conv = convolution(1, 1)

    def call(self, inputs: tf.Tensor, training: bool = False) -> DiscriminatorOutput:
        features = []
        for block in self.down_blocks:
            inputs = block(inputs, training=training)
            features.append(inputs)
        return DiscriminatorOutput(features, ops.at_least_float32(self.conv(inputs, training=training)))


class Discriminator(tf.keras.Model):
    """One patch discriminator per scale; all variables exist after construction, randomly initialized.

    Args:
      settings: sizes; see `fomm_tf.config.ModelConfig`.
    """

    def __init__(self, settings: config.ModelConfig, name: str = "discriminator", **kwargs) -> None:
        super().__init__(name=name, autocast=False, **kwargs)
        sizes = settings.discriminator
        self.scales, self.variance, self.use_keypoints = sizes.scales, sizes.heatmap_variance, sizes.use_keypoints
        self.by_scale = [ScaleDiscriminator(sizes) for _ in sizes.scales]
        keypoint_values = tf.zeros([1, settings.num_keypoints, 2])
        blocks.create_variables(
            lambda frame: self(dict.fromkeys(self.scales, frame), keypoint_values), settings.frame_size
        )

    def call(
        self, pyramid: dict[float, tf.Tensor], keypoint_values: tf.Tensor | None = None, training: bool = False
    ) -> dict[float, DiscriminatorOutput]:
        """Scores images at each scale.

        Args:
          pyramid: scale -> `[B, h, w, 3]`, from `fomm_tf.ops.resample.pyramid`.
          keypoint_values: `[B, K, 2]` driving keypoints, needed if `use_keypoints` is set.
          training: do a power iteration of the spectral norm.

        Returns:
          scale -> `DiscriminatorOutput`.

        Raises:
          ValueError: if keypoints are needed and missing.
        """
        if self.use_keypoints and keypoint_values is None:
            raise ValueError("keypoint_values is None; this discriminator (use_keypoints) expects `[B, K, 2]`.")
        outputs = {}
        for scale, discriminator in zip(self.scales, self.by_scale, strict=True):
            image = pyramid[scale]
            if self.use_keypoints:
                _, height, width, _ = ops.sizes(image)
                heatmaps = keypoints.gaussian_heatmaps(keypoint_values, height, width, self.variance)
                image = tf.concat([image, tf.cast(heatmaps, image.dtype)], axis=-1)
            outputs[scale] = discriminator(image, training=training)
        return outputs

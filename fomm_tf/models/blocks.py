"""The building blocks that the networks share (B.1), as the reference computes them.

Convention: NHWC; `training` is a Python bool. Convolutions start from torch's initial weights (uniform, within
1 / sqrt(fan-in) of 0), for which the paper's learning rates were chosen.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from fomm_tf import ops
from fomm_tf.models import execution
from fomm_tf.ops import conv, resample

layers = tf.keras.layers
# Options of a weight that each training pass assigns, such as a moving mean; one replica's value is saved.
STATISTIC = {
    "trainable": False,
    "experimental_autocast": False,
    "synchronization": tf.VariableSynchronization.ON_READ,
    "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
}


def create_variables(forward: Callable[[tf.Tensor], object], frame_size: tuple[int, int]) -> None:
    """Creates the variables of networks, whose shapes depend on the channels of their inputs; computes nothing.

    Args:
      forward: calls the networks with a frame, `[1, H, W, 3]`.
      frame_size: (H, W).
    """
    dtype = tf.keras.mixed_precision.global_policy().variable_dtype
    # As Keras builds a model; a `tf.function` would trace twice, the second time without variables to create.
    with tf.__internal__.FuncGraph("build").as_default():
        tf.autograph.experimental.do_not_convert(forward)(tf.compat.v1.placeholder(dtype, [1, *frame_size, 3]))


class Convolution(layers.Conv2D):
    """A convolution with torch's initial weights, bias included."""

    def __init__(self, filters: int, kernel_size: int, padding: str = "same", **kwargs) -> None:
        uniform = tf.keras.initializers.VarianceScaling(scale=1.0 / 3.0, mode="fan_in", distribution="uniform")
        super().__init__(filters, kernel_size, padding=padding, **{"kernel_initializer": uniform, **kwargs})

    def build(self, input_shape: tf.TensorShape) -> None:
        if isinstance(self.bias_initializer, tf.keras.initializers.Zeros):
            limit = (input_shape[-1] * self.kernel_size[0] * self.kernel_size[1]) ** -0.5
            self.bias_initializer = tf.keras.initializers.RandomUniform(-limit, limit)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        del training
        return super().call(inputs)


def convolve_together(inputs: tf.Tensor, *convolutions: Convolution) -> list[tf.Tensor]:
    """Applies several convolutions, of one kernel size and padding, to the same inputs, as one convolution.

    With few output channels, a CPU takes as long for one channel as for sixteen.
    """
    for convolution in convolutions:
        if not convolution.built:
            with tf.init_scope(), tf.name_scope(convolution.name):
                convolution.build(inputs.shape)
    kernel = tf.concat([convolution.kernel for convolution in convolutions], axis=-1)
    bias = tf.concat([convolution.bias for convolution in convolutions], axis=0)
    outputs = tf.nn.bias_add(tf.nn.conv2d(inputs, kernel, 1, convolutions[0].padding.upper()), bias)
    return tf.split(outputs, [convolution.filters for convolution in convolutions], axis=-1)


class BatchNorm(layers.Layer):
    """Batch normalization with the statistics of torch, synchronized across replicas.

    The moving variance is updated with the unbiased estimate over the GLOBAL batch; epsilon is 1e-5, momentum 0.9.
    Statistics are float32 under mixed precision, and float64 under the float64 policy. If `trainable` is False, as in
    Keras, or `keep_statistics` is True, the moving statistics are used in training too, and are not updated.
    """

    EPSILON = 1e-5
    MOMENTUM = 0.9
    keep_statistics = False

    def build(self, input_shape: tf.TensorShape) -> None:
        shape = [input_shape[-1]]
        self.gamma = self.add_weight("gamma", shape, initializer="ones", experimental_autocast=False)
        self.beta = self.add_weight("beta", shape, initializer="zeros", experimental_autocast=False)
        self.moving_mean = self.add_weight("moving_mean", shape, initializer="zeros", **STATISTIC)
        self.moving_variance = self.add_weight("moving_variance", shape, initializer="ones", **STATISTIC)
        self.batches = self.add_weight("batches", [], tf.int64, "zeros", **STATISTIC)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        fusible, statistics = inputs.dtype != tf.float64, (self.moving_mean, self.moving_variance)
        training = training and self.trainable and not self.keep_statistics
        if not training and fusible:
            return self._fused(inputs, *statistics, training=False)[0]
        if not training:
            return tf.nn.batch_normalization(inputs, *statistics, self.beta, self.gamma, self.EPSILON)
        replica = tf.distribute.get_replica_context()
        if not fusible or (replica is not None and replica.num_replicas_in_sync > 1):
            outputs, mean, variance = self._synchronized(inputs, replica)
        else:
            # The fused kernel returns the unbiased variance; Keras' unfused and synchronized ones the biased one.
            outputs, mean, variance = self._fused(inputs, None, None, training=True)
        if not execution.is_recomputing():
            for moving, batch in zip(statistics, (mean, variance), strict=True):
                moving.assign(moving * self.MOMENTUM + tf.stop_gradient(batch) * (1.0 - self.MOMENTUM))
            self.batches.assign_add(1)
        return outputs

    def _fused(self, inputs: tf.Tensor, mean: tf.Tensor | None, variance: tf.Tensor | None, training: bool) -> tuple:
        return tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma, self.beta, mean, variance, epsilon=self.EPSILON, is_training=training
        )

    def _synchronized(self, inputs: tf.Tensor, replica: tf.distribute.ReplicaContext) -> tuple:
        values = ops.at_least_float32(inputs)
        axes = [0, 1, 2]
        local_count = tf.cast(tf.size(values) / tf.shape(values)[-1], values.dtype)
        count, total = replica.all_reduce("sum", [local_count, tf.reduce_sum(values, axes)])
        mean = total / count
        # A second pass over the deviations: a mean of squares minus a squared mean loses digits in float32.
        squares = replica.all_reduce("sum", tf.reduce_sum(tf.square(values - mean), axes))
        scale = self.gamma * tf.math.rsqrt(squares / count + self.EPSILON)
        outputs = (values - mean) * scale + self.beta
        return tf.cast(outputs, inputs.dtype), mean, squares / tf.maximum(count - 1.0, 1.0)


class AntiAlias(layers.Layer):
    """Downsampling with a kernel that is part of the checkpoint, as in the reference.

    Args:
      scale: in (0, 1].
      size: of the kernel; see `fomm_tf.ops.resample.antialias_kernel`.
    """

    def __init__(self, scale: float, size: int = 0, **kwargs) -> None:
        super().__init__(**kwargs)
        self.scale, self.size = scale, size

    def build(self, input_shape: tf.TensorShape) -> None:
        kernel = np.tile(resample.antialias_kernel(self.scale, self.size)[..., None, None], [1, 1, input_shape[-1], 1])
        initializer = tf.keras.initializers.Constant(kernel)
        self.kernel = self.add_weight("kernel", kernel.shape, initializer=initializer, trainable=False)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return resample.downsample(inputs, self.scale, self.kernel)


class Block(layers.Layer):
    """A part of a network with optional gradient checkpointing.

    Subclasses implement `compute`, with the arguments of `call`.

    Attributes:
      recompute: keep only the inputs for the gradient, see `fomm_tf.models.execution`.
    """

    recompute = False

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training and self.recompute:
            return execution.recompute_in_gradient(functools.partial(self.compute, training=True), inputs)
        return self.compute(inputs, training=training)


class SameBlock(Block):
    """Convolution 7x7, normalization, ReLU; keeps the size."""

    def __init__(self, filters: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.conv, self.norm = self.create_convolution(filters), BatchNorm()

    def create_convolution(self, filters: int) -> Convolution:
        return Convolution(filters, 7)

    def compute(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return tf.nn.relu(self.norm(self.conv(inputs, training=training), training=training))


class DownBlock(SameBlock):
    """Convolution 3x3, normalization, ReLU, average pool; halves the size."""

    def create_convolution(self, filters: int) -> Convolution:
        return Convolution(filters, 3)

    def compute(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return tf.nn.avg_pool2d(super().compute(inputs, training), 2, 2, "VALID")


class UpConvolution(Convolution):
    """Upsampling by nearest neighbor to twice the size, then a convolution 3x3.

    Attributes:
      use_subpixel_conv: use `resample.subpixel_conv2d`, for exports, instead of `upsample_conv2d`.
    """

    use_subpixel_conv = False
    # With fewer pixels, the sums of the kernel's taps cost more than they save.
    MIN_PIXELS = 64

    def __init__(self, filters: int, **kwargs) -> None:
        super().__init__(filters, 3, **kwargs)
        self.upsample = layers.UpSampling2D(2, interpolation="nearest")

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        _, height, width, _ = inputs.shape
        if None not in (height, width) and height * width >= self.MIN_PIXELS:
            if self.use_subpixel_conv:
                return resample.subpixel_conv2d(inputs, self.kernel, self.bias)
            return tf.nn.bias_add(resample.upsample_conv2d(inputs, self.kernel), self.bias)
        # XLA does not compile the gradient of Keras' layer; exporters support the layer.
        return super().call(resample.upsample_nearest_2x(inputs) if training else self.upsample(inputs))


class UpBlock(SameBlock):
    """Upsampling by nearest neighbor to twice the size, convolution 3x3, normalization, ReLU."""

    def create_convolution(self, filters: int) -> Convolution:
        return UpConvolution(filters)


class ResidualConvolution(Convolution):
    """A convolution 3x3.

    Attributes:
      winograd_kernel: the kernel for `conv.winograd_conv2d`; None to compute the usual way. See `use_winograd`.
    """

    winograd_kernel: tf.Tensor | None = None
    # With fewer filters or pixels, the transforms cost more than they save.
    MIN_FILTERS = 128
    MIN_PIXELS = 1024

    def __init__(self, filters: int, **kwargs) -> None:
        super().__init__(filters, 3, **kwargs)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        _, height, width, _ = inputs.shape
        if self.winograd_kernel is None or None in (height, width):
            return super().call(inputs, training=training)
        if height % 4 or width % 4 or height * width < self.MIN_PIXELS:
            return super().call(inputs, training=training)
        return conv.winograd_conv2d(inputs, self.winograd_kernel, self.bias)


class ImageConvolution(Convolution):
    """A convolution 7x7 to the few channels of an image, four pixels at a time outside of training."""

    def __init__(self, filters: int, **kwargs) -> None:
        super().__init__(filters, 7, **kwargs)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        sides = inputs.shape[1:3]
        if training or None in sides or any(side % 2 for side in sides):
            return super().call(inputs, training=training)
        return conv.few_filters_conv2d(inputs, self.kernel, self.bias)


class ResidualBlock(Block):
    """Pre-activation: (normalization, ReLU, convolution 3x3) twice, plus the input."""

    def __init__(self, filters: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.norm1, self.norm2 = BatchNorm(), BatchNorm()
        self.conv1, self.conv2 = ResidualConvolution(filters), ResidualConvolution(filters)

    def compute(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        hidden = self.conv1(tf.nn.relu(self.norm1(inputs, training=training)))
        return inputs + self.conv2(tf.nn.relu(self.norm2(hidden, training=training)))


class Hourglass(layers.Layer):
    """U-Net of down and up blocks with skips; outputs `block_expansion` channels and the input itself.

    Args:
      block_expansion: channels before the first down block; each doubles them.
      num_blocks: number of down blocks; each side of the input must be a multiple of 2 to this power.
      max_features: upper bound of the channels.
    """

    def __init__(self, block_expansion: int, num_blocks: int, max_features: int, **kwargs) -> None:
        super().__init__(**kwargs)
        widths = [min(max_features, block_expansion * 2**i) for i in range(num_blocks + 1)]
        self.down_blocks = [DownBlock(width) for width in widths[1:]]
        self.up_blocks = [UpBlock(width) for width in reversed(widths[:-1])]

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """`[B, h, w, C]` to `[B, h, w, block_expansion + C]`.

        Raises:
          ValueError: if a static side is not a multiple of 2 ** num_blocks.
        """
        multiple = 2 ** len(self.down_blocks)
        if any(size is not None and size % multiple for size in inputs.shape[1:3]):
            raise ValueError(
                f"The hourglass got {inputs.shape[1]} x {inputs.shape[2]} pixels; each side must be a multiple of "
                f"{multiple} ({len(self.down_blocks)} halvings)."
            )
        skips = [inputs]
        for block in self.down_blocks:
            skips.append(block(skips[-1], training=training))
        outputs = skips.pop()
        for block in self.up_blocks:
            outputs = tf.concat([block(outputs, training=training), skips.pop()], axis=-1)
        return outputs

"""The networks of the method as Keras subclassed models, one paper block each."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from fomm_tf import config
from fomm_tf.models.dense_motion import DenseMotion, DenseMotionNetwork
from fomm_tf.models.discriminator import Discriminator, DiscriminatorOutput
from fomm_tf.models.generator import Generator
from fomm_tf.models.keypoint_detector import KeypointDetector

__all__ = [
    "DenseMotion",
    "DenseMotionNetwork",
    "Discriminator",
    "DiscriminatorOutput",
    "Generator",
    "KeypointDetector",
    "Networks",
    "build",
    "build_discriminator",
]


class Networks(NamedTuple):
    """The three networks that animate.

    Attributes:
      detector: frame to keypoints.
      dense_motion: keypoints of two frames to a dense motion.
      generator: source and dense motion to a frame.
    """

    detector: KeypointDetector
    dense_motion: DenseMotionNetwork
    generator: Generator


def build(settings: config.ModelConfig) -> Networks:
    """The networks with all their variables, freshly drawn.

    Args:
      settings: sizes.

    Returns:
      `Networks`, each named and built.
    """
    networks = Networks(
        KeypointDetector(settings, name="detector"),
        DenseMotionNetwork(settings, name="dense_motion"),
        Generator(settings, name="generator"),
    )

    def forward(frame: tf.Tensor) -> tf.Tensor:
        found = networks.detector(frame)
        return networks.generator(frame, networks.dense_motion(networks.dense_motion.downsample(frame), found, found))

    _trace(forward, _frame_spec(settings))
    return networks


def build_discriminator(settings: config.ModelConfig) -> Discriminator:
    """The discriminator with all its variables, freshly drawn."""
    discriminator = Discriminator(settings, name="discriminator")

    def forward(frame: tf.Tensor) -> dict[float, DiscriminatorOutput]:
        return discriminator(dict.fromkeys(discriminator.scales, frame), tf.zeros([1, settings.num_keypoints, 2]))

    _trace(forward, _frame_spec(settings))
    return discriminator


def _frame_spec(settings: config.ModelConfig) -> tf.TensorSpec:
    return tf.TensorSpec([1, *settings.frame_size, 3], tf.keras.mixed_precision.global_policy().variable_dtype)


def _trace(forward, spec: tf.TensorSpec) -> None:
    """Creates the variables, whose shapes need the inputs' channels, without computing anything."""
    # As Keras builds a model; a `tf.function` would trace twice, the second time without variables to create.
    with tf.__internal__.FuncGraph("build").as_default():
        tf.autograph.experimental.do_not_convert(forward)(tf.compat.v1.placeholder(spec.dtype, spec.shape))

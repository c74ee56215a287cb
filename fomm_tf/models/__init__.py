"""The networks of the method as Keras models, one block of the paper each, and the model that they make up."""

from fomm_tf.models.discriminator import Discriminator, DiscriminatorOutput
from fomm_tf.models.first_order_motion_model import FirstOrderMotionModel, Reconstruction
from fomm_tf.models.generator import Generator
from fomm_tf.models.motion_estimation import DenseMotion, DenseMotionNetwork, KeypointDetector

__all__ = [
    "DenseMotion",
    "DenseMotionNetwork",
    "Discriminator",
    "DiscriminatorOutput",
    "FirstOrderMotionModel",
    "Generator",
    "KeypointDetector",
    "Reconstruction",
]

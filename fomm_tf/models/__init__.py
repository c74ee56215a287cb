"""The networks of the method as Keras models, the model that they make up, and the baselines of the paper."""

from fomm_tf.models.animation_model import AnimationModel, Reconstruction
from fomm_tf.models.baselines import MonkeyNet, X2Face
from fomm_tf.models.discriminator import Discriminator, DiscriminatorOutput
from fomm_tf.models.factory import create, model_class
from fomm_tf.models.first_order_motion_model import FirstOrderMotionModel
from fomm_tf.models.generator import Generator
from fomm_tf.models.motion_estimation import DenseMotion, DenseMotionNetwork, KeypointDetector

__all__ = [
    "AnimationModel",
    "DenseMotion",
    "DenseMotionNetwork",
    "Discriminator",
    "DiscriminatorOutput",
    "FirstOrderMotionModel",
    "Generator",
    "KeypointDetector",
    "MonkeyNet",
    "Reconstruction",
    "X2Face",
    "create",
    "model_class",
]

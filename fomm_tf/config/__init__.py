"""The configuration: frozen dataclasses, read from strict YAML.

A bad combination is refused when the file is read, not when the network is built.
"""

from fomm_tf.config.files import differences, dump, load, override, parse, read_yaml, recipes
from fomm_tf.config.model import (
    DenseMotionConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    KeypointDetectorConfig,
    ModelConfig,
)
from fomm_tf.config.sections import (
    PRECISIONS,
    AnimateConfig,
    AugmentConfig,
    Config,
    DataConfig,
    LossWeightsConfig,
    PuppetsConfig,
    TrainConfig,
    TransformConfig,
)

__all__ = [
    "PRECISIONS",
    "AnimateConfig",
    "AugmentConfig",
    "Config",
    "DataConfig",
    "DenseMotionConfig",
    "DiscriminatorConfig",
    "GeneratorConfig",
    "KeypointDetectorConfig",
    "LossWeightsConfig",
    "ModelConfig",
    "PuppetsConfig",
    "TrainConfig",
    "TransformConfig",
    "differences",
    "dump",
    "load",
    "override",
    "parse",
    "read_yaml",
    "recipes",
]

"""The configuration: frozen dataclasses, read from strict YAML.

Invalid values and combinations are rejected when the file is read, not when a network is built.
"""

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
from fomm_tf.config.yaml_files import differences, dump, flatten, load, override, parse, read_yaml, recipes

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
    "flatten",
    "load",
    "override",
    "parse",
    "read_yaml",
    "recipes",
]

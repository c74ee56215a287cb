"""The kinds of models, by the `kind` of their config: the only place that chooses one by it."""

from __future__ import annotations

from fomm_tf import config as configs
from fomm_tf.models.animation_model import AnimationModel
from fomm_tf.models.baselines import MonkeyNet, X2Face
from fomm_tf.models.first_order_motion_model import FirstOrderMotionModel

_CLASSES = {model.KIND: model for model in (FirstOrderMotionModel, MonkeyNet, X2Face)}


def create(config: configs.ModelConfig) -> AnimationModel:
    """Builds the model of a config, randomly initialized."""
    return model_class(config)(config)


def model_class(config: configs.ModelConfig) -> type[AnimationModel]:
    """The class of the model of a config."""
    return _CLASSES[config.kind]

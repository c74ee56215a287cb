"""First Order Motion Model for image animation in TensorFlow/Keras.

The public names are loaded on first use: importing this package does not load TensorFlow.
"""

import importlib.util
import os

# Since TensorFlow 2.16, `tf.keras` is Keras 3 unless this variable selects tf_keras, the package of Keras 2. With
# tensorflow_addons, TensorFlow is older and includes Keras 2.
if importlib.util.find_spec("tf_keras") and not importlib.util.find_spec("tensorflow_addons"):
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

__version__ = "0.1.0"

_HOMES = {
    "Animator": "fomm_tf.inference.animator",
    "EncodedSource": "fomm_tf.structures",
    "FirstOrderMotionModel": "fomm_tf.models",
    "Keypoints": "fomm_tf.structures",
    "Rendering": "fomm_tf.structures",
    "UserError": "fomm_tf.errors",
    "test_dataset": "fomm_tf.data.pairs",
    "training_dataset": "fomm_tf.data.pairs",
    "transfer": "fomm_tf.ops.motion",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Hide TensorFlow's messages about GPU libraries and CPU instructions; the user's own setting has precedence.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return getattr(importlib.import_module(_HOMES[name]), name)

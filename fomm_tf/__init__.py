"""First Order Motion Model for image animation in TensorFlow/Keras.

The public names are loaded on first use: importing this package does not load TensorFlow.
"""

import importlib.util
import os

# From TensorFlow 2.16 on, `tf.keras` is Keras 3, unless this variable asks for tf_keras, the package of Keras 2. Beside
# tensorflow_addons, TensorFlow is older and has Keras 2 itself.
if importlib.util.find_spec("tf_keras") and not importlib.util.find_spec("tensorflow_addons"):
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

__version__ = "0.1.0"

_HOMES = {
    "Animator": "fomm_tf.inference.animator",
    "EncodedSource": "fomm_tf.models",
    "FirstOrderMotionModel": "fomm_tf.models",
    "Keypoints": "fomm_tf.ops.keypoints",
    "Rendering": "fomm_tf.models",
    "UserError": "fomm_tf.errors",
    "transfer": "fomm_tf.ops.motion",
}
__all__ = [
    "Animator",
    "EncodedSource",
    "FirstOrderMotionModel",
    "Keypoints",
    "Rendering",
    "UserError",
    "__version__",
    "transfer",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # TensorFlow's messages about GPU libraries and CPU instructions are noise to who imports a model; the user's own
    # setting stays.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return getattr(importlib.import_module(_HOMES[name]), name)

"""First Order Motion Model for image animation in TensorFlow/Keras.

The public names are loaded when they are first used: importing this package loads no TensorFlow.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "Animator": "fomm_tf.inference.animator",
    "EncodedSource": "fomm_tf.inference.animator",
    "Keypoints": "fomm_tf.ops.keypoints",
    "Rendering": "fomm_tf.inference.animator",
    "UserError": "fomm_tf.errors",
    "transfer": "fomm_tf.ops.motion",
}
__all__ = ["Animator", "EncodedSource", "Keypoints", "Rendering", "UserError", "__version__", "transfer"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)

"""The Keras networks, compiled."""

from __future__ import annotations

import tensorflow as tf

from fomm_tf import checkpoint, models
from fomm_tf.inference.engines import base
from fomm_tf.models import blocks
from fomm_tf.structures import EncodedSource, Keypoints, Rendering


class KerasEngine(base.Engine):
    """A `FirstOrderMotionModel`; its results are tensors.

    Args:
      model: the model.
      weights_sha256: of the weights before normalizations were folded; None if they are not folded.

    Attributes:
      model: the model.
    """

    name = "keras"

    def __init__(self, model: models.FirstOrderMotionModel, weights_sha256: str | None = None) -> None:
        self.model, self.precision = model, model.generator.compute_dtype
        self._weights_sha256 = weights_sha256
        # One trace per frame size: the batch axis is generalized when it first changes, as in a video's last batch.
        self._detect = tf.function(model.detect, reduce_retracing=True, autograph=False)
        self._encode = tf.function(model.encode_source, reduce_retracing=True, autograph=False)
        self._render = tf.function(self._render_details, reduce_retracing=True, autograph=False)

    def detect(self, frames: tf.Tensor) -> Keypoints:
        return self._detect(tf.convert_to_tensor(frames))

    def encode_source(self, image: tf.Tensor) -> EncodedSource:
        return self._encode(tf.convert_to_tensor(image))

    def render(self, source: EncodedSource, keypoints: Keypoints, details: bool = False) -> Rendering:
        keypoints = Keypoints(*(None if part is None else tf.convert_to_tensor(part) for part in keypoints))
        rendering = self._render(source, keypoints)
        return rendering if details else Rendering(*rendering[:2])

    def weights_sha256(self) -> str:
        return self._weights_sha256 or self.model.weights_sha256()

    def device(self) -> str:
        return describe_device()

    def _render_details(self, source: EncodedSource, keypoints: Keypoints) -> Rendering:
        return self.model.render(source, keypoints, details=True)


def load(folder: str, precision: str) -> KerasEngine:
    """Loads a run directory with normalizations folded: the model animates, but cannot be trained.

    Raises:
      errors.UserError: if its checkpoint does not fit its config, or the precision is unknown.
    """
    model = checkpoint.load(folder, precision=precision).model
    weights = model.weights_sha256()
    blocks.fold_batch_norms(model)
    return KerasEngine(model, weights)


def describe_device() -> str:
    """The device that TensorFlow uses, in words."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "CPU (TensorFlow finds no GPU)"
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    return f"GPU ({', '.join(names)})"

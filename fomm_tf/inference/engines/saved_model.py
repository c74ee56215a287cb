"""SavedModels that `fomm export --to saved_model` wrote, in TensorFlow."""

from __future__ import annotations

import tensorflow as tf

from fomm_tf import errors, model_folders
from fomm_tf.inference.engines import base, keras
from fomm_tf.structures import EncodedSource, Keypoints, Rendering


class SavedModelEngine(base.Engine):
    """The signatures `detect`, `encode_source`, `render` and `render_details`; its results are tensors.

    Args:
      folder: from `model_folders.read`.

    Raises:
      errors.UserError: if the SavedModel cannot be read.
    """

    name = "saved_model"

    def __init__(self, folder: model_folders.ModelFolder) -> None:
        self.precision, self._weights_sha256 = folder.variants[0], folder.weights_sha256
        try:
            self._model = tf.saved_model.load(str(folder.path))
        except (OSError, ValueError, tf.errors.OpError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise errors.UserError(f"{folder.path} cannot be read: {reason}; export the model again.") from error

    def detect(self, frames: tf.Tensor) -> Keypoints:
        outputs = self._model.signatures["detect"](frames=tf.convert_to_tensor(frames))
        return Keypoints(outputs["value"], outputs.get("jacobian"))

    def encode_source(self, image: tf.Tensor) -> EncodedSource:
        outputs = self._model.signatures["encode_source"](source=tf.convert_to_tensor(image))
        keypoints = Keypoints(outputs["source_value"], outputs.get("source_jacobian"))
        return EncodedSource(outputs["image"], outputs["features"], keypoints, outputs["source_lowres"])

    def render(self, source: EncodedSource, keypoints: Keypoints, details: bool = False) -> Rendering:
        inputs = {"image": source.image, "features": source.features, "source_lowres": source.lowres}
        for prefix, points in (("source_", source.keypoints), ("", keypoints)):
            inputs |= {prefix + name: part for name, part in points._asdict().items() if part is not None}
        tensors = {name: tf.convert_to_tensor(part) for name, part in inputs.items()}
        # The signatures take N driving frames of each of several sources.
        tensors |= {name: tensors[name][tf.newaxis] for name in ("value", "jacobian") if name in tensors}
        outputs = self._model.signatures["render_details" if details else "render"](**tensors)
        return Rendering(**{name: part[0] for name, part in outputs.items()})

    def weights_sha256(self) -> str:
        return self._weights_sha256

    def device(self) -> str:
        return keras.describe_device()

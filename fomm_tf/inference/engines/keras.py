"""Engines in TensorFlow: the Keras networks, compiled, and SavedModels that `fomm export` wrote."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from fomm_tf import checkpoint, devices, errors, model_folders, models
from fomm_tf.inference import engines
from fomm_tf.models import folding
from fomm_tf.structures import EncodedSource, Keypoints, Rendering


class KerasEngine(engines.Engine):
    """A Keras model; its results are tensors.

    Args:
      model: the model.
      weights_sha256: of the weights before normalizations were folded; None if they are not folded.

    Attributes:
      model: the model.
    """

    name = "keras"

    def __init__(self, model: models.AnimationModel, weights_sha256: str | None = None) -> None:
        self.model, self.precision = model, model.compute_dtype
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
        rendering = self._render(source, keypoints.map(tf.convert_to_tensor))
        return rendering if details else Rendering(*rendering[:2])

    def weights_sha256(self) -> str:
        return self._weights_sha256 or self.model.weights_sha256()

    def device(self) -> str:
        return devices.describe()

    def _render_details(self, source: EncodedSource, keypoints: Keypoints) -> Rendering:
        return self.model.render(source, keypoints, details=True)


class SignatureEngine(engines.Engine):
    """The signatures `detect`, `encode_source`, `render` and `render_details` of an export; its results are tensors.

    Args:
      run: takes the name of a signature and its inputs, and returns its outputs; tensors by name.
      precision: what the networks compute in.
      weights_sha256: identifies the weights.
    """

    name = "saved_model"

    def __init__(
        self, run: Callable[[str, dict[str, tf.Tensor]], dict[str, tf.Tensor]], precision: str, weights_sha256: str
    ) -> None:
        self._run, self.precision, self._weights_sha256 = run, precision, weights_sha256

    def detect(self, frames: tf.Tensor) -> Keypoints:
        outputs = self._run("detect", {"frames": tf.convert_to_tensor(frames)})
        return Keypoints.from_named(outputs)

    def encode_source(self, image: tf.Tensor) -> EncodedSource:
        outputs = self._run("encode_source", {"source": tf.convert_to_tensor(image)})
        keypoints = Keypoints.from_named(outputs, "source_")
        return EncodedSource(outputs["image"], outputs["features"], keypoints, outputs["source_lowres"])

    def render(self, source: EncodedSource, keypoints: Keypoints, details: bool = False) -> Rendering:
        inputs = {"image": source.image, "features": source.features, "source_lowres": source.lowres}
        inputs |= source.keypoints.named("source_") | keypoints.named()
        tensors = {name: tf.convert_to_tensor(part) for name, part in inputs.items()}
        # The signatures take several sources, each with driving frames of its own: here one with N, or N with one each.
        axis = 0 if len(source.image) == 1 else 1
        tensors |= {name: tf.expand_dims(tensors[name], axis) for name in ("value", "jacobian") if name in tensors}
        outputs = self._run("render_details" if details else "render", tensors)
        return Rendering(**{name: tf.squeeze(part, axis) for name, part in outputs.items()})

    def weights_sha256(self) -> str:
        return self._weights_sha256

    def device(self) -> str:
        return devices.describe()


class SavedModelEngine(SignatureEngine):
    """A SavedModel in this process.

    Args:
      folder: from `model_folders.read`.

    Raises:
      errors.UserError: if the SavedModel cannot be read.
    """

    def __init__(self, folder: model_folders.ModelFolder) -> None:
        try:
            model = tf.saved_model.load(str(folder.path))
        except (OSError, ValueError, tf.errors.OpError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise errors.UserError(f"{folder.path} cannot be read: {reason}; export the model again.") from error
        self._model = model  # a SavedModel's functions do not keep its variables
        run = lambda name, tensors: model.signatures[name](**tensors)  # noqa: E731
        super().__init__(run, folder.variants[0], folder.weights_sha256)


def load(folder: str, precision: str) -> KerasEngine:
    """Loads a run directory, prepared to animate only: normalizations folded, on a CPU the faster convolutions.

    Raises:
      errors.UserError: if its checkpoint does not fit its config, or the precision is unknown.
    """
    model = checkpoint.load(folder, precision=precision).model
    weights = model.weights_sha256()
    folding.fold_batch_norms(model)
    if model.compute_dtype == "float32" and not devices.list_gpus():
        folding.use_winograd(model)
    return KerasEngine(model, weights)

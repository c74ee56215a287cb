"""The animator: a trained model that takes images of any size and kind, compiled for inference."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import pathlib
import types
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from fomm_tf import checkpoint, config, errors, models, video
from fomm_tf.inference import stream
from fomm_tf.models import blocks
from fomm_tf.ops import keypoints as keypoint_ops

Image = tf.Tensor | video.ImageLike


class Animator:
    """A trained model, ready to animate.

    Images are `[H, W, 3]` arrays or tensors (RGB, uint8 or float in [0, 1]), PIL images or paths of image files. They
    may be of any size: like `fomm animate`, the methods fit them to the model's `frame_size` as the argument `fit` says
    (`crop`, `pad` or `stretch`, see `fomm_tf.video.resize`). Results are of the model's size.

    Args:
      model: the model.
      settings: the run's whole config; its `animate` section holds the defaults of `animate`. Default: that of `model`
        with all other sections at their defaults.

    Attributes:
      config: the whole config.
      model: the model.
    """

    def __init__(self, model: models.FirstOrderMotionModel, settings: config.Config | None = None) -> None:
        self.model = model
        self.config = config.Config(model=model.config) if settings is None else settings
        # One trace per frame size: the batch axis is generalized when it first changes, as in a video's last batch.
        self._detect = tf.function(model.detect, reduce_retracing=True, autograph=False)
        self._encode = tf.function(model.encode_source, reduce_retracing=True, autograph=False)
        self._render = tf.function(self._render_details, reduce_retracing=True, autograph=False)

    @classmethod
    def load(cls, folder: str | pathlib.Path, precision: str = "float32") -> Animator:
        """Loads a run directory with normalizations folded: the model animates, but cannot be trained.

        Args:
          folder: the run directory.
          precision: what the networks compute in, one of `config.PRECISIONS`; keypoints and motion stay float32.

        Raises:
          errors.UserError: if it is not a run directory, its checkpoint does not fit its config, or the precision is
            unknown.
        """
        run = checkpoint.load(folder, precision=precision)
        blocks.fold_batch_norms(run.model)
        return cls(run.model, run.config)

    @classmethod
    def bundled(cls, precision: str = "float32") -> Animator:
        """Loads the model that is part of the package: drawn characters, see its README.txt.

        Args:
          precision: see `load`.
        """
        return cls.load(checkpoint.BUNDLED, precision)

    def detect(self, frames: Image | Sequence[Image], fit: str = "crop") -> keypoint_ops.Keypoints:
        """Finds the keypoints of N frames.

        Args:
          frames: `[N, H, W, 3]`, or a sequence of N images, or one image that is a PIL image or a path (N = 1).
          fit: how frames are brought to the model's size.

        Returns:
          `Keypoints` of N frames, in the coordinates of the fitted frames.

        Raises:
          errors.UserError: if the frames are of another shape or type, or a file cannot be read.
        """
        return self._detect(self._as_batch(frames, fit))

    def encode_source(self, image: Image, fit: str = "crop") -> models.EncodedSource:
        """Computes what depends only on the source.

        Args:
          image: the source; an array may also be `[1, H, W, 3]`.
          fit: how the image is brought to the model's size.

        Raises:
          errors.UserError: if it is not one image, or the file cannot be read.
        """
        image = video.as_frame(image)
        image = image[np.newaxis] if len(image.shape) == 3 else image
        if len(image.shape) != 4 or image.shape[0] != 1:
            raise errors.UserError(f"The source must be one image, [H, W, 3]; got shape {list(image.shape)}.")
        return self._encode(self._as_batch(image, fit))

    def render(
        self, source: models.EncodedSource, keypoints: keypoint_ops.Keypoints, details: bool = False
    ) -> models.Rendering:
        """Generates the source in the pose of N driving frames.

        Args:
          source: from `encode_source`.
          keypoints: of N driving frames, from `detect` or `fomm_tf.transfer`.
          details: fill the last four fields of the result.

        Raises:
          errors.UserError: if the keypoints are not of this model.
        """
        keypoints = keypoint_ops.Keypoints(
            *(None if part is None else tf.convert_to_tensor(part) for part in keypoints)
        )
        self.model.check_keypoints(keypoints)
        rendering = self._render(source, keypoints)
        return rendering if details else models.Rendering(*rendering[:2])

    def animate(
        self,
        source_image: Image,
        driving_frames: Iterable[Image] | str | os.PathLike,
        mode: str | None = None,
        adapt_scale: bool | None = None,
        relative_jacobian: bool | None = None,
        best_frame: int = 0,
        batch_size: int = stream.DEFAULT_BATCH_SIZE,
        fit: str = "crop",
    ) -> Iterator[np.ndarray]:
        """Moves an image as a video does; memory does not grow with the length of the video.

        Args:
          source_image: the source.
          driving_frames: an iterable of images, read once, or the path of a video.
          mode: `relative` or `absolute`; default, as for the next two arguments: the config's.
          adapt_scale: see `fomm_tf.transfer`.
          relative_jacobian: see `fomm_tf.transfer`.
          best_frame: index of the driving frame whose pose is closest to the source's; relative motion starts from it.
          batch_size: driving frames per batch.
          fit: how source and driving frames are brought to the model's size.

        Yields:
          Frames `[H, W, 3]` of the model's size: float32 in [0, 1] if the first driving frame is float, else uint8.

        Raises:
          errors.UserError: if there are no driving frames, an image is not valid, or `best_frame` is out of range.
        """
        chosen = {"mode": mode, "adapt_scale": adapt_scale, "relative_jacobian": relative_jacobian}
        chosen = {name: value for name, value in chosen.items() if value is not None}
        transfer = dataclasses.replace(self.config.animate, **chosen)
        if isinstance(driving_frames, str | os.PathLike):
            driving_frames = video.open_video(driving_frames)
        frames = map(video.as_frame, driving_frames)
        first = list(itertools.islice(frames, 1))
        is_float = bool(first) and tf.convert_to_tensor(first[0]).dtype.is_floating
        source = self.encode_source(source_image, fit)
        driving = (self._fit(frame, fit) for frame in itertools.chain(first, frames))
        for _, rendering in stream.render_stream(self, source, driving, transfer, best_frame, batch_size):
            predictions = rendering.prediction.numpy()
            yield from predictions if is_float else np.rint(predictions * 255).astype(np.uint8)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.model!r}>"

    def _render_details(self, source: models.EncodedSource, keypoints: keypoint_ops.Keypoints) -> models.Rendering:
        return self.model.render(source, keypoints, details=True)

    def _as_batch(self, frames: Image | Sequence[Image], fit: str) -> tf.Tensor:
        """Validates frames and fits them: `[N, *frame_size, 3]` float32 in [0, 1]."""
        if not hasattr(frames, "shape"):
            image = video.as_frame(frames)
            images = [image] if isinstance(image, np.ndarray) else image
            frames = [self._fit(video.as_frame(each), fit) for each in images]
            frames = np.stack(frames) if frames else np.zeros([0, *self.config.model.frame_size, 3])
        if len(frames.shape) != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
            raise errors.UserError(f"Frames must be [N, H, W, 3] and not empty; got shape {list(frames.shape)}.")
        frames = tf.convert_to_tensor(frames)
        if frames.dtype != tf.uint8:
            if not frames.dtype.is_floating:
                raise errors.UserError(f"Frames must be uint8 or float in [0, 1]; got {frames.dtype.name}.")
            frames = tf.cast(frames, tf.float32)
            low, high = float(tf.reduce_min(frames)), float(tf.reduce_max(frames))
            if not (low >= 0.0 and high <= 1.0):
                raise errors.UserError(f"Float frames must lie in [0, 1] without NaN; got {low:g} to {high:g}.")
        if tuple(frames.shape[1:3]) != tuple(self.config.model.frame_size):
            frames = tf.convert_to_tensor(np.stack([self._fit(frame, fit) for frame in frames.numpy()]))
        return tf.cast(frames, tf.float32) / 255.0 if frames.dtype == tf.uint8 else frames

    def _fit(self, frame: np.ndarray | tf.Tensor, fit: str) -> np.ndarray | tf.Tensor:
        """Brings one frame to the model's size; `_as_batch` rejects what is not a frame."""
        size = tuple(self.config.model.frame_size)
        if len(frame.shape) != 3 or frame.shape[-1] != 3 or 0 in frame.shape or tuple(frame.shape[:2]) == size:
            return frame
        pixels = np.asarray(frame)
        if pixels.dtype == np.uint8:
            return video.resize(pixels, size, fit)
        if not np.issubdtype(pixels.dtype, np.floating):
            return frame
        pixels = pixels.astype(np.float32)
        # The interpolation may leave the frame's own range by a rounding error.
        return video.resize(pixels, size, fit).clip(min(pixels.min(), 0.0), max(pixels.max(), 1.0))


class ExportedAnimator(Animator):
    """An animator whose networks are the signatures of a SavedModel, wherever that runs.

    Args:
      run: takes the name of a signature and its inputs, and returns its outputs; arrays by name.
    """

    def __init__(self, run: Callable[[str, dict[str, np.ndarray]], dict[str, np.ndarray]]) -> None:
        description = json.loads(run("metadata", {"request": np.array([b""], object)})["metadata"].item(0))
        self.config, self._run = config.parse(description["config"]), run
        self.model = types.SimpleNamespace(weights_sha256=lambda: description["weights_sha256"])
        self._detect = lambda frames: _keypoints_from(run("detect", {"frames": frames.numpy()}))

    def render(
        self, source: models.EncodedSource, keypoints: keypoint_ops.Keypoints, details: bool = False
    ) -> models.Rendering:
        """See `Animator.render`; without `details`, `deformed` is None."""
        image, features, source_keypoints, lowres = source
        inputs = {"image": image, "features": features, "source_lowres": lowres}
        named = {f"source_{name}": part for name, part in source_keypoints._asdict().items()}
        named |= {name: None if part is None else part[np.newaxis] for name, part in keypoints._asdict().items()}
        inputs |= {name: part for name, part in named.items() if part is not None}
        arrays = {name: np.asarray(part, np.float32) for name, part in inputs.items()}
        outputs = self._run("render_details" if details else "render", arrays)
        fields = {name: tf.convert_to_tensor(outputs[name][0]) for name in models.Rendering._fields if name in outputs}
        return models.Rendering(**({"deformed": None} | fields))

    def _encode(self, image: tf.Tensor) -> models.EncodedSource:
        outputs = self._run("encode_source", {"source": image.numpy()})
        parts = [tf.convert_to_tensor(outputs[name]) for name in ("image", "features", "source_lowres")]
        return models.EncodedSource(*parts[:2], _keypoints_from(outputs, "source_"), parts[2])


def _keypoints_from(outputs: dict[str, np.ndarray], prefix: str = "") -> keypoint_ops.Keypoints:
    parts = [outputs.get(prefix + name) for name in keypoint_ops.Keypoints._fields]
    return keypoint_ops.Keypoints(*(None if part is None else tf.convert_to_tensor(part) for part in parts))


def describe_device() -> str:
    """The device that TensorFlow uses, in words."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "CPU (TensorFlow finds no GPU)"
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    return f"GPU ({', '.join(names)})"

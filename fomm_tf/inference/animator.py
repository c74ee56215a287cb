"""The animator: a trained model that takes images of any size and kind, on the engine that runs it."""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from fomm_tf import config, errors, model_folders, video
from fomm_tf.inference import animation, crops, engines, faces, framing, stream
from fomm_tf.structures import EncodedSource, Keypoints, Rendering

if TYPE_CHECKING:
    import tensorflow as tf

    from fomm_tf import models

    Image = tf.Tensor | video.ImageLike


class Animator:
    """A trained model, ready to animate.

    Images are `[H, W, 3]` arrays or tensors (RGB, uint8 or float in [0, 1]), PIL images or paths of image files. They
    may be of any size: like `fomm animate`, the methods fit them to the model's `frame_size` as the argument `fit` says
    (`crop`, `pad` or `stretch`, see `fomm_tf.video.resize`). Results are of the model's size.

    Args:
      model: a Keras model, or an engine from `fomm_tf.inference.engines.load`.
      settings: the run's whole config; its `animate` section holds the defaults of `animate`. Default: that of a Keras
        `model` with all other sections at their defaults.

    Attributes:
      config: the whole config.
      engine: what runs the networks.
    """

    def __init__(self, model: models.AnimationModel | engines.Engine, settings: config.Config | None = None) -> None:
        if not isinstance(model, engines.Engine):
            from fomm_tf.inference.engines import keras

            model = keras.KerasEngine(model)
        self.engine = model
        self.config = config.Config(model=self.model.config) if settings is None else settings

    @classmethod
    def load(cls, folder: str | pathlib.Path, precision: str | None = None, engine: str | None = None) -> Animator:
        """Loads a model directory for inference only: a run, a packaged model, or what `fomm export` wrote.

        Args:
          folder: the directory.
          precision: what the networks compute in, one of `fomm_tf.inference.engines.PRECISIONS` of the engine, or of
            the exported variants; default: float32 where there is a choice. Keypoints and motion are float32 always.
          engine: `keras`, `litert` or `onnxruntime`, for which a run is exported into the cache once; default: keras
            for a run, and what reads the files of an export.

        Raises:
          errors.UserError: if it is not a model directory, cannot be read, or has no such engine or precision.
        """
        opened = model_folders.read(folder)
        return cls(engines.load(opened, engine, precision), opened.config)

    @classmethod
    def bundled(cls, precision: str | None = None, engine: str | None = None) -> Animator:
        """Loads the model that is part of the package; see its README.txt.

        Args:
          precision: see `load`.
          engine: see `load`.
        """
        return cls.load(model_folders.BUNDLED, precision, engine)

    @property
    def model(self) -> models.AnimationModel:
        """The Keras model.

        Raises:
          errors.UserError: if another engine runs the model.
        """
        model = getattr(self.engine, "model", None)
        if model is None:
            raise errors.UserError(f"The engine {self.engine.name} has no Keras model; load the run.")
        return model

    def detect(self, frames: Image | Sequence[Image], fit: str = "crop") -> Keypoints:
        """Finds the keypoints of N frames.

        Args:
          frames: `[N, H, W, 3]`, or a sequence of N images, or one image that is a PIL image or a path (N = 1).
          fit: how frames are brought to the model's size.

        Returns:
          `Keypoints` of N frames, in the coordinates of the fitted frames.

        Raises:
          errors.UserError: if the frames are of another shape or type, or a file cannot be read.
        """
        return self.engine.detect(self._as_batch(frames, fit))

    def encode_source(self, image: Image, fit: str = "crop") -> EncodedSource:
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
        return self.engine.encode_source(self._as_batch(image, fit))

    def encode_sources(self, images: Image | Sequence[Image], fit: str = "crop") -> EncodedSource:
        """Computes what depends only on the sources: N images, for as many driving frames; see `encode_source`."""
        return self.engine.encode_source(self._as_batch(images, fit))

    def render(self, source: EncodedSource, keypoints: Keypoints, details: bool = False) -> Rendering:
        """Generates the source in the pose of N driving frames.

        Args:
          source: from `encode_source`.
          keypoints: of N driving frames, from `detect` or `fomm_tf.transfer`.
          details: fill the last four fields of the result.

        Raises:
          errors.UserError: if the keypoints are not of this model.
        """
        keypoints = keypoints.map(lambda part: np.asarray(part, np.float32))
        keypoints.check(self.config.model.num_keypoints, self.config.model.jacobian)
        return self.engine.render(source, keypoints, details)

    def animate(
        self,
        source_image: Image,
        driving_frames: Iterable[Image] | str | os.PathLike | video.Video,
        mode: str | None = None,
        adapt_scale: bool | None = None,
        relative_jacobian: bool | None = None,
        best_frame: int | str = 0,
        batch_size: int = stream.DEFAULT_BATCH_SIZE,
        fit: str = "crop",
        *,
        crop: str = "off",
        crop_source: str | None = None,
        crop_driving: str | None = None,
        follow: bool = False,
        face: str = "largest",
        paste_back: bool = False,
        smooth: float = 0.0,
        motion_strength: float = 1.0,
        on_cut: str = "continue",
        loop: int = 1,
        ping_pong: bool = False,
        fps: float = 25.0,
    ) -> Iterator[np.ndarray]:
        """Moves an image as a video does; memory does not grow with the length of the video.

        Args:
          source_image: the source; with a `fomm_tf.video.Video`, each of its frames is animated by the driving frame of
            its time.
          driving_frames: an iterable of images, read once, or the path of a video, or a `fomm_tf.video.Video`. With a
            crop by a detector or a best frame, also a sequence of images, but no iterator: they are read several times.
          mode: `relative` or `absolute`; default, as for the next two arguments: the config's.
          adapt_scale: see `fomm_tf.transfer`.
          relative_jacobian: see `fomm_tf.transfer`.
          best_frame: index of the driving frame whose pose is closest to the source's; relative motion starts from it;
            `auto` searches for it.
          batch_size: driving frames per batch.
          fit: how source and driving frames are brought to the model's size, where they are not cropped.
          crop: `off`, `face`, `body`, `X,Y,W,H` in pixels, or `auto`, the crop of the model's training clips.
          crop_source: the same for the source only.
          crop_driving: the same for the driving frames only.
          follow: move the crop of a video with the object.
          face: `largest`, the number of a face from the left, from 1, or `all`, which needs `paste_back`.
          paste_back: put the animated crop back into the whole source.
          smooth: strength of the filter of keypoints; 0 for none. 1 is a good value.
          motion_strength: scales relative motion.
          on_cut: at cuts in the driving frames: `restart` relative motion, `continue` or `stop`.
          loop: how often the motion is played; 0 repeats it until a source video ends.
          ping_pong: play the motion forward, then backward.
          fps: of driving frames that are not a video, for `smooth`.

        Yields:
          Frames `[H, W, 3]` of the model's size, with `paste_back` of the source's: float32 in [0, 1] if the first
          driving frame is float, else uint8.

        Raises:
          errors.UserError: if there are no driving frames, an image is not valid, or an argument is out of range.
        """
        chosen = {"mode": mode, "adapt_scale": adapt_scale, "relative_jacobian": relative_jacobian}
        chosen = {name: value for name, value in chosen.items() if value is not None}
        transfer = dataclasses.replace(self.config.animate, **chosen)
        crop_source, crop_driving = (crops.parse_crop(one or crop) for one in (crop_source, crop_driving))
        choice = framing.Framing(crop_source, crop_driving, faces.check_choice(face), follow, paste_back, fit)
        motion = animation.MotionOptions(best_frame, on_cut, smooth, motion_strength, loop, ping_pong)
        is_plain = motion == animation.MotionOptions(best_frame, "continue") and best_frame != "auto"
        if isinstance(driving_frames, str | os.PathLike):
            driving_frames = video.open_video(driving_frames)
        if is_plain and choice == framing.Framing("off", "off", fit=fit) and not isinstance(source_image, video.Video):
            yield from self._animate_frames(source_image, driving_frames, transfer, best_frame, batch_size, fit)
            return
        if not isinstance(source_image, video.Video):
            source_image = _to_uint8(source_image)
        driving, is_float = _as_video(driving_frames, fps)
        performance = animation.Animation(
            self, source_image, "source_image", driving, transfer, motion, choice, batch_size
        )
        for frame in performance.frames():
            yield frame.result / np.float32(255) if is_float else frame.result

    def _animate_frames(
        self,
        source_image: Image,
        driving_frames: Iterable[Image],
        transfer: config.AnimateConfig,
        best_frame: int,
        batch_size: int,
        fit: str,
    ) -> Iterator[np.ndarray]:
        """`animate` without crops and filters: float frames are not rounded to uint8."""
        frames = map(video.as_frame, driving_frames)
        first = list(itertools.islice(frames, 1))
        is_float = bool(first) and _is_floating(np.asarray(first[0]))
        source = self.encode_source(source_image, fit)
        driving = (self._fit(np.asarray(frame), fit) for frame in itertools.chain(first, frames))
        for _, rendering in stream.render_stream(self, source, driving, transfer, best_frame, batch_size):
            predictions = np.asarray(rendering.prediction)
            yield from predictions if is_float else np.rint(predictions * 255).astype(np.uint8)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {getattr(self.engine, 'model', self.engine)!r}>"

    def _as_batch(self, frames: Image | Sequence[Image], fit: str) -> np.ndarray:
        """Validates frames and fits them: `[N, *frame_size, 3]` float32 in [0, 1]."""
        if not hasattr(frames, "shape"):
            image = video.as_frame(frames)
            images = [image] if isinstance(image, np.ndarray) else image
            frames = [self._fit(np.asarray(video.as_frame(each)), fit) for each in images]
            frames = np.stack(frames) if frames else np.zeros([0, *self.config.model.frame_size, 3])
        frames = np.asarray(frames)
        if frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
            raise errors.UserError(f"Frames must be [N, H, W, 3] and not empty; got shape {list(frames.shape)}.")
        if frames.dtype != np.uint8:
            if not _is_floating(frames):
                raise errors.UserError(f"Frames must be uint8 or float in [0, 1]; got {frames.dtype.name}.")
            frames = frames.astype(np.float32)
            low, high = float(frames.min()), float(frames.max())
            if not (low >= 0.0 and high <= 1.0):
                raise errors.UserError(f"Float frames must lie in [0, 1] without NaN; got {low:g} to {high:g}.")
        if tuple(frames.shape[1:3]) != tuple(self.config.model.frame_size):
            frames = np.stack([self._fit(frame, fit) for frame in frames])
        return frames / np.float32(255) if frames.dtype == np.uint8 else frames

    def _fit(self, frame: np.ndarray, fit: str) -> np.ndarray:
        """Brings one frame to the model's size; `_as_batch` rejects what is not a frame."""
        size = tuple(self.config.model.frame_size)
        if frame.ndim != 3 or frame.shape[-1] != 3 or 0 in frame.shape or frame.shape[:2] == size:
            return frame
        if frame.dtype == np.uint8:
            return video.resize(frame, size, fit)
        if not _is_floating(frame):
            return frame
        pixels = frame.astype(np.float32)
        # The interpolation may leave the frame's own range by a rounding error.
        return video.resize(pixels, size, fit).clip(min(pixels.min(), 0.0), max(pixels.max(), 1.0))


def _to_uint8(image: Image) -> np.ndarray:
    frame = np.asarray(video.as_frame(image))
    if frame.ndim != 3 or frame.shape[-1] != 3 or 0 in frame.shape:
        raise errors.UserError(f"An image must be [H, W, 3]; got shape {list(frame.shape)}.")
    return video.to_uint8(frame)


def _as_video(frames: Iterable[Image] | video.Video, fps: float) -> tuple[video.Video, bool]:
    """Frames as a video, and whether they are float."""
    if isinstance(frames, video.Video):
        return frames, False
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        raise errors.UserError("driving holds no frames; give at least one.")
    is_float = _is_floating(np.asarray(video.as_frame(first)))
    passes = itertools.count()

    def read() -> Iterator[np.ndarray]:
        if remaining is not frames:
            return map(_to_uint8, frames)
        if next(passes):
            raise errors.UserError(
                "`driving_frames` are read several times for `crop` and `best_frame`; got an iterator: give a path, a "
                "video or a sequence."
            )
        return map(_to_uint8, itertools.chain([first], remaining))

    count = len(frames) if hasattr(frames, "__len__") else None
    path = pathlib.Path("driving_frames")
    return video.Video(
        path, Fraction(fps).limit_denominator(1001), _to_uint8(first).shape[:2], count, False, read
    ), is_float


def _is_floating(frame: np.ndarray) -> bool:
    # NumPy has no type of its own for TensorFlow's bfloat16.
    return np.issubdtype(frame.dtype, np.floating) or frame.dtype.name == "bfloat16"

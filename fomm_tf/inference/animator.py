"""The animator: composes the networks, encodes a source once and renders it many times."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fomm_tf import checkpoint, config, errors, models
from fomm_tf.inference import animate
from fomm_tf.models import fold
from fomm_tf.models.precision import mixed_precision_scope
from fomm_tf.ops import keypoints as keypoint_ops


class EncodedSource(NamedTuple):
    """All that is computed from the source picture alone.

    Attributes:
      image: `[1, H, W, 3]` float32 in [0, 1].
      features: `[1, h, w, C]`, the generator's.
      keypoints: of batch 1.
      lowres: `[1, h', w', 3]`, the picture at the dense motion network's size.
    """

    image: tf.Tensor
    features: tf.Tensor
    keypoints: keypoint_ops.Keypoints
    lowres: tf.Tensor


class Rendering(NamedTuple):
    """N frames and how they came about; the last four only where details were asked for.

    Attributes:
      prediction: `[N, H, W, 3]` float32 in [0, 1].
      deformed: `[N, H, W, 3]`, the source warped, without inpainting.
      occlusion: `[N, h, w, 1]`, 1 = visible, or None.
      deformation: `[N, h, w, 2]`, (x, y) in the source, or None.
      mask: `[N, h, w, K + 1]`, or None.
      sparse_deformed: `[N, K + 1, h, w, 3]`, or None.
    """

    prediction: tf.Tensor
    deformed: tf.Tensor
    occlusion: tf.Tensor | None = None
    deformation: tf.Tensor | None = None
    mask: tf.Tensor | None = None
    sparse_deformed: tf.Tensor | None = None


class Animator:
    """A trained model, ready to animate.

    Frames are NHWC, uint8 or float in [0, 1], of any size that the networks divide; NumPy or tensors.

    Args:
      settings: the run's config.
      networks: built and restored.
    """

    def __init__(self, settings: config.Config, networks: models.Networks) -> None:
        self.config = settings
        self.networks = networks
        # One trace a frame size: the batch is generalised when it first changes, as in a video's last batch.
        self._detect = tf.function(networks.detector, reduce_retracing=True, autograph=False)
        self._encode = tf.function(self._encode_source, reduce_retracing=True, autograph=False)
        self._render = tf.function(self._render_details, reduce_retracing=True, autograph=False)

    @classmethod
    def load(cls, folder: str | pathlib.Path, precision: str = "float32") -> Animator:
        """The model of a run folder, its normalisations folded: it animates, but does not train.

        Args:
          folder: the run folder.
          precision: what the networks compute in, one of `config.PRECISIONS`; keypoints and motion stay float32.

        Raises:
          errors.UserError: if it is no run folder, its checkpoint does not fit its config, or there is no such
            precision.
        """
        if precision not in config.PRECISIONS:
            raise errors.UserError(f"The precision is {precision!r}; give {', '.join(config.PRECISIONS)}.")
        with mixed_precision_scope(precision):
            run = checkpoint.load(folder)
        fold.fold(*run.networks)
        return cls(run.config, run.networks)

    @classmethod
    def bundled(cls, precision: str = "float32") -> Animator:
        """The model that comes with the package: drawn characters, see its README.

        Args:
          precision: see `load`.
        """
        return cls.load(checkpoint.BUNDLED, precision)

    def detect(self, frames: np.ndarray | tf.Tensor) -> keypoint_ops.Keypoints:
        """Keypoints of N frames, `[N, H, W, 3]`.

        Raises:
          errors.UserError: if the frames are not such.
        """
        return self._detect(self._as_frames(frames))

    def encode_source(self, image: np.ndarray | tf.Tensor) -> EncodedSource:
        """Computes what depends on the source alone.

        Args:
          image: `[H, W, 3]` or `[1, H, W, 3]`.

        Raises:
          errors.UserError: if it is not such.
        """
        image = image[np.newaxis] if len(image.shape) == 3 else image
        if len(image.shape) != 4 or image.shape[0] != 1:
            raise errors.UserError(f"The source must be one picture, [H, W, 3]; got shape {list(image.shape)}.")
        return self._encode(self._as_frames(image))

    def render(self, source: EncodedSource, keypoints: keypoint_ops.Keypoints, details: bool = False) -> Rendering:
        """The source as N driving frames have it.

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
        count = self.config.model.num_keypoints
        if keypoints.value.shape.rank != 3 or keypoints.value.shape[1:] != (count, 2):
            raise errors.UserError(f"This model's keypoints are [N, {count}, 2]; got {list(keypoints.value.shape)}.")
        if (keypoints.jacobian is None) == self.config.model.jacobian:
            needs = "needs keypoints with" if self.config.model.jacobian else "takes keypoints without"
            raise errors.UserError(f"This model {needs} Jacobians.")
        rendering = self._render(source, keypoints)
        return rendering if details else Rendering(*rendering[:2])

    def animate(
        self,
        source_image: np.ndarray | tf.Tensor,
        driving_frames: Iterable[np.ndarray | tf.Tensor],
        mode: str | None = None,
        adapt_scale: bool | None = None,
        relative_jacobian: bool | None = None,
        best_frame: int = 0,
        batch_size: int = animate.DEFAULT_BATCH,
    ) -> Iterator[np.ndarray]:
        """Moves a picture as a video does; memory does not grow with the video's length.

        Args:
          source_image: `[H, W, 3]`.
          driving_frames: any iterable of frames `[H, W, 3]`, read once.
          mode: `relative` or `absolute`; default, as that of the next two, the config's.
          adapt_scale: see `fomm_tf.transfer`.
          relative_jacobian: see `fomm_tf.transfer`.
          best_frame: number of the driving frame whose pose is closest to the source's; relative motion starts there.
          batch_size: driving frames a batch.

        Yields:
          Frames `[H, W, 3]`: float32 in [0, 1] where the first driving frame was float, else uint8.

        Raises:
          errors.UserError: if there is no frame, the frames are not such, or there is no best frame.
        """
        chosen = {"mode": mode, "adapt_scale": adapt_scale, "relative_jacobian": relative_jacobian}
        chosen = {name: value for name, value in chosen.items() if value is not None}
        transfer = dataclasses.replace(self.config.animate, **chosen)
        stream = iter(driving_frames)
        first = list(itertools.islice(stream, 1))
        floating = bool(first) and tf.convert_to_tensor(first[0]).dtype.is_floating
        source = self.encode_source(source_image)
        driving = itertools.chain(first, stream)
        for _, rendering in animate.render_stream(self, source, driving, transfer, best_frame, batch_size):
            frames = rendering.prediction.numpy()
            yield from frames if floating else np.rint(frames * 255).astype(np.uint8)

    def _encode_source(self, image: tf.Tensor) -> EncodedSource:
        detector, dense_motion, generator = self.networks
        return EncodedSource(image, generator.encode(image), detector(image), dense_motion.downsample(image))

    def _render_details(self, source: EncodedSource, keypoints: keypoint_ops.Keypoints) -> Rendering:
        _, dense_motion, generator = self.networks
        motion = dense_motion(source.lowres, source.keypoints, keypoints)
        deformed = generator.warp_image(source.image, motion.deformation)
        prediction = generator.decode(generator.warp_features(source.features, motion), deformed)
        return Rendering(
            prediction, deformed, motion.occlusion, motion.deformation, motion.mask, motion.sparse_deformed
        )

    def _as_frames(self, frames: np.ndarray | tf.Tensor) -> tf.Tensor:
        if len(frames.shape) != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
            raise errors.UserError(f"Frames must be [N, H, W, 3] and not empty; got shape {list(frames.shape)}.")
        self.config.model.check_frame_size(*frames.shape[1:3])
        frames = tf.convert_to_tensor(frames)
        if frames.dtype == tf.uint8:
            return tf.cast(frames, tf.float32) / 255.0
        if not frames.dtype.is_floating:
            raise errors.UserError(f"Frames must be uint8 or float in [0, 1]; got {frames.dtype.name}.")
        frames = tf.cast(frames, tf.float32)
        low, high = float(tf.reduce_min(frames)), float(tf.reduce_max(frames))
        if not (low >= 0.0 and high <= 1.0):
            raise errors.UserError(f"Float frames must lie in [0, 1] without NaN; got {low:g} to {high:g}.")
        return frames


def describe_device() -> str:
    """The device that TensorFlow uses, in words."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "CPU (TensorFlow finds no GPU)"
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    return f"GPU ({', '.join(names)})"

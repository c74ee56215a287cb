"""A model with a known answer: keypoints are those of a white disc, and a rendering is the source moved with them."""

import cv2
import numpy as np
import tensorflow as tf

from fomm_tf import config, errors, structures
from fomm_tf.structures import Keypoints

# Keypoints in units of the disc's radius, around its center.
POINTS = np.array([[0, 0], [1, 0], [0, -1]])


class ShiftingModel:
    """Detects, encodes and renders as an `Animator` does.

    Args:
      crop: what it was trained on; see `config.AnimateConfig`.
      side: of its frames, in pixels.
    """

    def __init__(self, crop="face", side=64):
        settings = config.parse(
            {
                "model": {
                    "frame_size": [side, side],
                    "occlusion": False,
                    "motion_scale": 0.5,
                    "keypoint_detector": {"scale": 0.5},
                    "num_keypoints": 3,
                    "jacobian": False,
                }
            },
            "test",
        )
        self.config = config.Config(model=settings.model, animate=config.AnimateConfig(crop=crop))
        self.engine = self
        self.side = side

    def weights_sha256(self):
        return "0" * 64

    def detect(self, frames):
        values = [self._detect(np.asarray(frame)) for frame in frames]
        return Keypoints(tf.constant(np.stack(values), tf.float32), None)

    def _detect(self, frame):
        mask = (frame[..., 0] > 128).astype(np.float64)
        if not mask.sum():
            return np.zeros([3, 2])
        rows, columns = np.mgrid[: self.side, : self.side]
        center = np.array([(columns * mask).sum(), (rows * mask).sum()]) / mask.sum()
        radius = np.sqrt(mask.sum() / np.pi)
        return 2 * (center + radius * POINTS) / (self.side - 1) - 1

    def encode_source(self, image):
        return self.encode_sources(np.asarray(image)[np.newaxis])

    def encode_sources(self, images):
        pixels = tf.constant(images, tf.float32) / 255
        return structures.EncodedSource(pixels, pixels, self.detect(images), pixels)

    def render(self, source, keypoints, details=False):
        """Moves each source by the way of its first keypoint."""
        if keypoints.value.shape[1:] != (3, 2):
            raise errors.UserError("keypoints of another model")
        moves = (np.asarray(keypoints.value) - np.asarray(source.keypoints.value))[:, 0] * (self.side - 1) / 2
        images = np.broadcast_to(np.asarray(source.image), [len(moves), self.side, self.side, 3])
        moved = [
            cv2.warpAffine(
                image, np.float32([[1, 0, x], [0, 1, y]]), (self.side, self.side), borderMode=cv2.BORDER_REFLECT
            )
            for image, (x, y) in zip(images, moves, strict=True)
        ]
        prediction = tf.constant(np.stack(moved).clip(0, 1), tf.float32)
        mask = tf.ones([len(moves), 8, 8, 4]) / 4
        return structures.Rendering(prediction, prediction, *((None, None, mask, None) if details else ()))

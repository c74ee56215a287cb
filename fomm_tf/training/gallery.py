"""The paper's picture grid of a run that trains: what it makes of a few clips."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from fomm_tf import models, visualize
from fomm_tf.data import frames

_ROWS = 4


class Gallery:
    """Rebuilds one frame of each of a few clips, the same ones each time.

    Args:
      networks: the run's.
      index: the clips.
    """

    def __init__(self, networks: models.Networks, index: frames.Index) -> None:
        self._networks = networks
        chosen = np.unique(np.linspace(0, len(index) - 1, min(_ROWS, len(index))).round().astype(int))
        clips = [index.clips[number] for number in chosen]
        self._sources = np.stack([clip.frame(0) for clip in clips])
        self._drivings = np.stack([clip.frame(2 * len(clip) // 3) for clip in clips])
        self._look = tf.function(self._rebuild, autograph=False)

    def draw(self) -> np.ndarray:
        """A row a clip: source and driving frame with keypoints, prediction, deformed source, occlusion, masks.

        Returns:
          `[H, W, 3]` uint8.
        """
        source_keypoints, driving_keypoints, prediction, deformed, motion = self._look(self._sources, self._drivings)
        rows = []
        for i, (source, driving) in enumerate(zip(self._sources, self._drivings, strict=True)):
            panels = visualize.panels(
                source,
                source_keypoints.frame(i),
                driving,
                driving_keypoints.frame(i),
                _as_uint8(deformed[i]),
                motion.mask[i].numpy(),
                None if motion.occlusion is None else motion.occlusion[i].numpy(),
            )
            rows.append(visualize.row(panels, _as_uint8(prediction[i])))
        return np.concatenate(rows)

    def _rebuild(self, sources: tf.Tensor, drivings: tf.Tensor) -> tuple:
        detector, dense_motion, generator = self._networks
        source, driving = (tf.image.convert_image_dtype(images, tf.float32) for images in (sources, drivings))
        source_keypoints, driving_keypoints = detector(source), detector(driving)
        motion = dense_motion(dense_motion.downsample(source), source_keypoints, driving_keypoints)
        deformed = generator.warp_image(source, motion.deformation)
        return source_keypoints, driving_keypoints, generator(source, motion), deformed, motion


def _as_uint8(image: tf.Tensor) -> np.ndarray:
    return np.rint(image.numpy().clip(0, 1) * 255).astype(np.uint8)

"""Frames to numbers: runs the detectors and the backbone once a frame, and the metrics on what they find."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fomm_tf import detectors, video
from fomm_tf.inference import metrics
from fomm_tf.inference.evaluation.settings import Chosen
from fomm_tf.losses import backbones

BACKBONE = "efficientnet_lite0"

Values = dict[str, np.ndarray]


class Sight(NamedTuple):
    """What is known of N frames.

    Attributes:
      frames: `[N, H, W, 3]` float32 in [0, 1].
      points: or None if nobody asks for them.
      embeddings: likewise.
      features: one `[N, h, w, C]` a layer; likewise.
    """

    frames: np.ndarray
    points: detectors.Points | None
    embeddings: detectors.Embeddings | None
    features: list[np.ndarray] | None


class Judge:
    """Compares frames.

    Args:
      asked: names of `settings.METRICS`.
      chosen: the detectors.

    Raises:
      errors.UserError: if a detector or the backbone cannot be loaded.
    """

    def __init__(self, asked: Sequence[str], chosen: Chosen) -> None:
        self._asked = frozenset(asked)
        # One thread each: TensorFlow Lite's threads wait busily, which on a shared processor takes many times as long.
        self._find = chosen.points and detectors.load_points(chosen.points)
        self._embed = chosen.embedding and detectors.load_embedding(chosen.embedding)
        self._backbone = None
        if "perceptual" in asked:
            backbone = backbones.load(BACKBONE, report=lambda line: print(line, file=sys.stderr))
            self._backbone = tf.function(backbone, reduce_retracing=True, autograph=False)

    def look(self, frames: np.ndarray) -> Sight:
        """Looks at frames, `[N, H, W, 3]` uint8 or float in [0, 1]; detectors get what a file would hold of them."""
        seen = np.float32(frames) / 255 if frames.dtype == np.uint8 else np.float32(frames)
        embeddings = self._embed(video.to_uint8(frames)) if self._embed else None
        features = [tap.numpy() for tap in self._backbone(seen)] if self._backbone else None
        return Sight(seen, self.find(frames), embeddings, features)

    def find(self, frames: np.ndarray) -> detectors.Points | None:
        """The points alone."""
        return self._find(video.to_uint8(frames)) if self._find else None

    def compare(self, made: Sight, true: Sight) -> Values:
        """The metrics that need the truth, `[N]` each; NaN where one does not exist."""
        values: Values = {}
        for name in ("l1", "psnr", "ssim"):
            if name in self._asked:
                values[name] = getattr(metrics, name)(made.frames, true.frames)
        if "psnr" in values:
            values["psnr"] = np.where(np.isfinite(values["psnr"]), values["psnr"], np.nan)
        if made.features is not None:
            values["perceptual"] = metrics.perceptual(made.features, true.features)
        if made.points is not None and "akd" in self._asked:
            values["akd"] = metrics.akd(made.points, true.points)
            values["akd_script"] = metrics.akd_script(made.points, true.points)
        if made.points is not None and "mkr" in self._asked:
            values["mkr"] = metrics.mkr(made.points, true.points)
        if made.embeddings is not None and "aed" in self._asked:
            values["aed"] = metrics.aed(made.embeddings, true.embeddings)
            values["aed_script"] = metrics.aed_script(made.embeddings, true.embeddings)
        return values

    def compare_animation(
        self,
        made: Sight,
        source: Sight,
        driving: detectors.Points | None,
        made_first: detectors.Points | None,
        driving_first: detectors.Points | None,
    ) -> Values:
        """The metrics that need no truth, `[N]` each.

        Args:
          made: N frames.
          source: of one frame.
          driving: points of N frames.
          made_first: of one frame, the first.
          driving_first: likewise.
        """
        values: Values = {}
        if made.embeddings is not None and "identity" in self._asked:
            values["identity"] = metrics.aed(made.embeddings, repeat(source, len(made.frames)).embeddings)
        if made.points is not None and "motion" in self._asked:
            values["motion"] = metrics.motion(made.points, driving, made_first, driving_first)
        return values


def repeat(sight: Sight, count: int) -> Sight:
    """What is known of one frame, `count` times."""

    def of(part: np.ndarray) -> np.ndarray:
        return np.broadcast_to(part, (count, *part.shape[1:]))

    frames, points, embeddings, features = sight
    return Sight(
        of(frames),
        points and detectors.Points(*map(of, points)),
        embeddings and detectors.Embeddings(*map(of, embeddings)),
        features and [of(tap) for tap in features],
    )

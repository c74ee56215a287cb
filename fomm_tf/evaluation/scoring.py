"""Metrics of one video, batch by batch: features of frames, comparisons, sums over frames, and the stored result."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fomm_tf import detectors, errors, files, video
from fomm_tf.evaluation import metrics
from fomm_tf.evaluation.protocol import MODEL, PREDICTORS, SOURCE_COPY, Detectors
from fomm_tf.losses import backbones

BACKBONE = "efficientnet_lite0"

Values = dict[str, np.ndarray]


class FrameFeatures(NamedTuple):
    """What the metrics need of N frames."""

    frames: np.ndarray  # `[N, H, W, 3]` float32 in [0, 1]
    points: detectors.Points | None  # None if no metric needs them
    embeddings: detectors.Embeddings | None  # None if no metric needs them
    activations: list[np.ndarray] | None  # of the backbone, one `[N, h, w, C]` per layer; None if no metric needs them

    def repeat(self, count: int) -> FrameFeatures:
        """The features of one frame, `count` times."""

        def broadcast(array: np.ndarray) -> np.ndarray:
            return np.broadcast_to(array, (count, *array.shape[1:]))

        return FrameFeatures(
            broadcast(self.frames),
            self.points and detectors.Points(*map(broadcast, self.points)),
            self.embeddings and detectors.Embeddings(*map(broadcast, self.embeddings)),
            self.activations and [broadcast(layer) for layer in self.activations],
        )


class FrameComparer:
    """Extracts features of frames and compares them.

    Args:
      names: metrics, from `protocol.METRICS`.
      chosen: the detectors.

    Raises:
      errors.UserError: if a detector or the backbone cannot be loaded.
    """

    def __init__(self, names: Sequence[str], chosen: Detectors) -> None:
        self._names = frozenset(names)
        self._detect = chosen.points and detectors.load_points(chosen.points)
        self._embed = chosen.embedding and detectors.load_embedding(chosen.embedding)
        self._backbone = None
        if "perceptual" in names:
            backbone = backbones.load(BACKBONE, report=lambda line: print(line, file=sys.stderr))
            self._backbone = tf.function(backbone, reduce_retracing=True, autograph=False)

    def extract(self, frames: np.ndarray) -> FrameFeatures:
        """Extracts the features of frames `[N, H, W, 3]`, uint8 or float in [0, 1]; detectors get uint8 frames."""
        floats = np.float32(frames) / 255 if frames.dtype == np.uint8 else np.float32(frames)
        embeddings = self._embed(video.to_uint8(frames)) if self._embed else None
        activations = [layer.numpy() for layer in self._backbone(floats)] if self._backbone else None
        return FrameFeatures(floats, self.detect(frames), embeddings, activations)

    def detect(self, frames: np.ndarray) -> detectors.Points | None:
        """Detects the points alone."""
        return self._detect(video.to_uint8(frames)) if self._detect else None

    def compare(self, generated: FrameFeatures, truth: FrameFeatures) -> Values:
        """Computes the metrics that need ground truth, `[N]` each; NaN where a frame has no value."""
        values: Values = {
            name: getattr(metrics, name)(generated.frames, truth.frames)
            for name in ("l1", "psnr", "ssim")
            if name in self._names
        }
        if "psnr" in values:
            values["psnr"] = np.where(np.isfinite(values["psnr"]), values["psnr"], np.nan)
        if generated.activations is not None:
            values["perceptual"] = metrics.perceptual(generated.activations, truth.activations)
        for kind, names in (("points", ("akd", "akd_script", "mkr")), ("embeddings", ("aed", "aed_script"))):
            for name in names:
                if getattr(generated, kind) is not None and name.removesuffix("_script") in self._names:
                    values[name] = getattr(metrics, name)(getattr(generated, kind), getattr(truth, kind))
        return values

    def compare_animation(
        self,
        generated: FrameFeatures,
        source: FrameFeatures,
        driving: detectors.Points | None,
        generated_first: detectors.Points | None,
        driving_first: detectors.Points | None,
    ) -> Values:
        """Computes the metrics that need no ground truth, `[N]` each.

        Args:
          generated: N frames.
          source: one frame.
          driving: points of N frames.
          generated_first: points of the first generated frame.
          driving_first: points of the first driving frame.
        """
        values: Values = {}
        if generated.embeddings is not None and "identity" in self._names:
            expected = source.repeat(len(generated.frames)).embeddings
            values["identity"] = metrics.aed(generated.embeddings, expected)
        if generated.points is not None and "motion" in self._names:
            values["motion"] = metrics.motion(generated.points, driving, generated_first, driving_first)
        return values


class MetricAccumulator(NamedTuple):
    """A metric over the frames of a video."""

    total: float = 0.0  # sum over the frames with a value
    frames: int = 0  # number of frames with a value
    missing: int = 0  # number of frames without a value

    def add(self, values: np.ndarray) -> MetricAccumulator:
        """Returns an accumulator that includes further frames, `[N]`; NaN is a frame without a value."""
        missing = int(np.isnan(values).sum())
        return MetricAccumulator(
            self.total + float(np.nansum(values)), self.frames + len(values) - missing, self.missing + missing
        )

    @property
    def mean(self) -> float | None:
        """The mean over the frames with a value; None without any."""
        return self.total / self.frames if self.frames else None


@dataclasses.dataclass(frozen=True)
class VideoResult:
    """The result of a video."""

    key: str  # changes with everything that the result depends on
    name: str  # of the sample
    group: str = ""  # of the sample
    frames: int = 0  # number of generated frames; 0 if the video could not be evaluated
    # Predictor -> metric -> its accumulator.
    metrics: dict[str, dict[str, MetricAccumulator]] = dataclasses.field(default_factory=dict)
    # `points` or `embeddings` -> `generated` or `truth` -> number of frames with a detection.
    detections: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()  # what went wrong, such as a damaged file, or why the video could not be evaluated

    def write(self, path: Path) -> None:
        """Writes the result as JSON, atomically."""
        files.write_json(path, dataclasses.asdict(self))

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> VideoResult:
        """The result whose `dataclasses.asdict` was stored as JSON."""
        result = cls(**values)
        accumulators = {
            predictor: {name: MetricAccumulator(*sums) for name, sums in of_predictor.items()}
            for predictor, of_predictor in result.metrics.items()
        }
        return dataclasses.replace(result, metrics=accumulators, warnings=tuple(result.warnings))

    @classmethod
    def read(cls, path: Path) -> VideoResult | None:
        """Reads a result; None if there is none that can be read."""
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, AttributeError, errors.UserError):
            return None


class VideoScorer:
    """Accumulates the metrics of one video.

    Args:
      comparer: compares frames.
      source: `[H, W, 3]` uint8.
      animated: compute the metrics that need no ground truth too.

    Attributes:
      frames: number of frames so far.
      metrics: see `VideoResult`.
      detections: see `VideoResult`.
    """

    def __init__(self, comparer: FrameComparer, source: np.ndarray, animated: bool) -> None:
        self._comparer, self._animated = comparer, animated
        self._source = comparer.extract(source[np.newaxis])
        self._first_points: tuple[detectors.Points, detectors.Points] | None = None
        self.frames = 0
        self.metrics: dict[str, dict[str, MetricAccumulator]] = {predictor: {} for predictor in PREDICTORS}
        self.detections: dict[str, dict[str, int]] = {}

    def add(self, generated: np.ndarray, driving: np.ndarray, truth: np.ndarray | None) -> None:
        """Adds the next frames.

        Args:
          generated: `[N, H, W, 3]` float in [0, 1].
          driving: `[N, H, W, 3]` uint8.
          truth: `[N, H, W, 3]` uint8, or None if unknown.
        """
        features, copied = self._comparer.extract(generated), self._source.repeat(len(generated))
        self._count_detections("generated", features)
        if truth is not None:
            expected = self._comparer.extract(truth)
            self._count_detections("truth", expected)
            self._accumulate(MODEL, self._comparer.compare(features, expected))
            self._accumulate(SOURCE_COPY, self._comparer.compare(copied, expected))
        if self._animated:
            self._add_animation(features, copied, self._comparer.detect(driving))
        self.frames += len(generated)

    def _add_animation(self, features: FrameFeatures, copied: FrameFeatures, driving: detectors.Points | None) -> None:
        is_first_batch = self.frames == 0
        if driving is not None and is_first_batch:
            self._first_points = _first(features.points), _first(driving)
        generated_first, driving_first = self._first_points or (None, None)
        firsts = ((MODEL, features, generated_first), (SOURCE_COPY, copied, self._source.points))
        for predictor, predicted, first in firsts:
            values = self._comparer.compare_animation(predicted, self._source, driving, first, driving_first)
            if is_first_batch and "motion" in values:
                # Motion is relative to the first frame, which has none by definition.
                values["motion"] = values["motion"][1:]
            self._accumulate(predictor, values)

    def _accumulate(self, predictor: str, values: Values) -> None:
        accumulators = self.metrics[predictor]
        for name, of_frames in values.items():
            accumulators[name] = accumulators.get(name, MetricAccumulator()).add(of_frames)

    def _count_detections(self, frames: str, features: FrameFeatures) -> None:
        for kind, detected in (("points", features.points), ("embeddings", features.embeddings)):
            if detected is not None:
                counts = self.detections.setdefault(kind, {})
                any_found = detected.found.reshape(len(detected.found), -1).any(axis=1)
                counts[frames] = counts.get(frames, 0) + int(any_found.sum())


def _first(points: detectors.Points) -> detectors.Points:
    return detectors.Points(points.value[:1], points.visibility[:1])

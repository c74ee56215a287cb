"""Metrics of generated frames against ground truth, and bootstrap confidence intervals over clips.

Convention:
  * frames are `[N, H, W, 3]`, float in [0, 1]; each function returns one value per frame, float64;
  * detections are `Points` and `Embeddings` of `fomm_tf.detectors`; a point counts as found from visibility 0.5 on;
  * a frame without a value is NaN: means exclude it, and reports state how many such frames there are.

Where the paper and its authors' scripts (github.com/AliaksandrSiarohin/pose-evaluation) differ, both are implemented,
the script's version under a name that ends in `_script`. Both average over all frames of all videos.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fomm_tf import detectors
from fomm_tf.opencv import cv2

_RESAMPLINGS, _CORRELATION_RESAMPLINGS = 2000, 1000
_SSIM_WINDOW, _SSIM_SIGMA = (11, 11), 1.5


class Interval(NamedTuple):
    """A value and its 95 % bootstrap confidence interval."""

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        return f"{self.value:{spec}} ({self.low:{spec}} to {self.high:{spec}})"


class Correlation(NamedTuple):
    """A correlation with its 95 % bootstrap confidence interval over clips, and the frames without a value."""

    value: float
    low: float
    high: float
    missing: int


def l1(predicted: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Mean absolute difference over pixels and channels, `[N]` (paper, sec. 4: L1)."""
    return np.abs(np.float64(predicted) - expected).mean(axis=(1, 2, 3))


def psnr(predicted: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB, `[N]`; infinite where the two are equal."""
    with np.errstate(divide="ignore"):
        return -10 * np.log10(np.square(np.float64(predicted) - expected).mean(axis=(1, 2, 3)))


def ssim(predicted: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Structural similarity, `[N]`, at most 1 (Wang et al. 2004: Gaussian window of 11 pixels, deviation 1.5).

    The mean over channels; both sides of a frame must have 11 pixels at least.
    """
    return tf.image.ssim(tf.cast(predicted, tf.float32), tf.cast(expected, tf.float32), max_val=1.0).numpy()


def face_psnr(generated: np.ndarray, truth: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Returns the PSNR of the masked pixels in dB, `[N]`; NaN without a mask, infinite where the two are equal."""
    squares = np.square(np.float64(generated) - truth).mean(axis=-1) / 255**2
    with np.errstate(divide="ignore"):
        return -10 * np.log10(_mean_where(squares, masks))


def face_ssim(generated: np.ndarray, truth: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Returns the mean structural similarity of the masked pixels, `[N]` (Wang et al. 2004); NaN without a mask."""
    return _mean_where(np.stack([_ssim_map(*pair) for pair in zip(generated, truth, strict=True)]), masks)


def _ssim_map(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The structural similarity around each pixel, `[H, W]`: the mean over the channels."""

    def blur(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, _SSIM_WINDOW, _SSIM_SIGMA)

    image, other = np.float64(image) / 255, np.float64(other) / 255
    means = blur(image), blur(other)
    variances = [blur(values * values) - mean * mean for values, mean in zip((image, other), means, strict=True)]
    covariance = blur(image * other) - means[0] * means[1]
    first, second = 0.01**2, 0.03**2
    numerator = (2 * means[0] * means[1] + first) * (2 * covariance + second)
    denominator = (means[0] ** 2 + means[1] ** 2 + first) * (variances[0] + variances[1] + second)
    return (numerator / denominator).mean(axis=-1)


def perceptual(generated: list[np.ndarray], truth: list[np.ndarray]) -> np.ndarray:
    """Mean absolute difference of backbone features, `[N]`: the terms of Eq. 9 at one resolution.

    Each layer's difference is divided by the mean absolute feature of the ground truth, then averaged over layers: 0
    for equal frames, about 1 for unrelated ones. NaN if a layer's ground truth features are all 0.

    Args:
      generated: one `[N, h, w, C]` per layer, see `fomm_tf.losses.backbones`.
      truth: the same layers of the ground truth.
    """
    axes = (1, 2, 3)
    pairs = zip(map(np.float64, generated), map(np.float64, truth), strict=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [np.abs(mine - theirs).mean(axes) / np.abs(theirs).mean(axes) for mine, theirs in pairs]
    shares = np.mean(shares, axis=0)
    return np.where(np.isfinite(shares), shares, np.nan)


def akd(generated: detectors.Points, truth: detectors.Points) -> np.ndarray:
    """Average keypoint distance, `[N]`: mean Euclidean distance in pixels (paper, sec. 4).

    Over the points that are found in both frames; NaN where there is none.
    """
    return _mean_where(np.linalg.norm(_offset(generated, truth), axis=-1), generated.found & truth.found)


def akd_script(generated: detectors.Points, truth: detectors.Points) -> np.ndarray:
    """AKD as the authors' scripts compute it, `[N]`: the mean over points and coordinates of |difference| in pixels.

    Over the points that are found in both frames; NaN where there is none. For the same points it is between 0.5 and
    0.71 times the Euclidean distance.
    """
    return _mean_where(np.abs(_offset(generated, truth)).mean(axis=-1), generated.found & truth.found)


def mkr(generated: detectors.Points, truth: detectors.Points) -> np.ndarray:
    """Missing keypoint rate, `[N]`: the share of the ground truth points that are not found in the generated frame.

    NaN where no point is found in the ground truth (paper, sec. 4; the authors' script does the same).
    """
    return _mean_where(np.float64(~generated.found), truth.found)


def aed(generated: detectors.Embeddings, truth: detectors.Embeddings) -> np.ndarray:
    """Average Euclidean distance of embeddings, `[N]` (paper, sec. 4).

    NaN where one of the two frames has no embedding.
    """
    return np.sqrt(aed_script(generated, truth))


def aed_script(generated: detectors.Embeddings, truth: detectors.Embeddings) -> np.ndarray:
    """AED as the authors' script computes it, `[N]`: the squared Euclidean distance; NaN as in `aed`."""
    squares = np.square(np.float64(generated.value) - truth.value).sum(axis=-1)
    return np.where(generated.found & truth.found, squares, np.nan)


def motion(
    generated: detectors.Points,
    driving: detectors.Points,
    generated_first: detectors.Points,
    driving_first: detectors.Points,
) -> np.ndarray:
    """Distance between generated and driving motion, `[N]`, for animations without ground truth.

    The mean distance between a point's displacements since the first frame in the generated and in the driving video,
    each in units of its object's size: the square root of the area of the bounding box of the points in the first
    frame. Over the points found in all four frames; NaN where there is none, or where a size is 0. Not from the paper,
    which has a user study instead.

    Args:
      generated: points of N generated frames.
      driving: points of the same driving frames.
      generated_first: points of the first generated frame, N = 1.
      driving_first: points of the first driving frame, N = 1.
    """
    both = generated_first.found & driving_first.found
    displacements = []
    for points, first in ((generated, generated_first), (driving, driving_first)):
        sides = np.ptp(np.float64(first.value[0][both[0]]), axis=0) if both.any() else np.zeros(2)
        size = np.sqrt(sides.prod())
        displacements.append(_offset(points, first) / (size if size > 0 else np.nan))
    distances = np.linalg.norm(displacements[0] - displacements[1], axis=-1)
    return _mean_where(distances, generated.found & driving.found & both)


def _offset(points: detectors.Points, others: detectors.Points) -> np.ndarray:
    return np.float64(points.value) - others.value


def _mean_where(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The mean of each of N items of `values` `[N, ...]` where `counts` is true; NaN where it is true nowhere."""
    axes = tuple(range(1, counts.ndim))
    counted, sums = counts.sum(axis=axes), np.where(counts, values, 0).sum(axis=axes)
    return np.where(counted > 0, sums / np.maximum(counted, 1), np.nan)


def bootstrap(clips: np.ndarray, over: np.ndarray | None = None) -> Interval:
    """The mean over clips, or the ratio of two means, with its 95 % bootstrap confidence interval over clips.

    Args:
      clips: `[N]`, one value per clip.
      over: `[N]`, denominators of the same clips: the result is a ratio of means, not a mean of ratios.

    Raises:
      ValueError: if there is no clip.
    """
    if not len(clips):
        raise ValueError("`clips` must hold at least one clip; got none.")
    below = np.ones(len(clips)) if over is None else np.asarray(over)
    drawn = np.random.default_rng(0).integers(0, len(clips), [_RESAMPLINGS, len(clips)])
    with np.errstate(invalid="ignore", divide="ignore"):  # the baseline's error is 0 on still videos
        ratios = np.asarray(clips)[drawn].mean(axis=1) / below[drawn].mean(axis=1)
        value = np.mean(clips) / np.mean(below)
    ratios = ratios[np.isfinite(ratios)]
    ends = np.percentile(ratios, [2.5, 97.5]) if len(ratios) else (np.nan, np.nan)
    return Interval(float(value), *map(float, ends))


def correlate(names: Sequence[str], read: Sequence[np.ndarray], true: Sequence[np.ndarray]) -> dict[str, Correlation]:
    """Correlates what was read from frames with the true values within each clip.

    Args:
      names: of S signals.
      read: `[N, S]` for each clip, NaN where there is no value.
      true: `[N, S]` for each clip.

    Returns:
      Signal -> correlation, NaN where one of the two does not change in any clip.
    """
    sums = np.zeros([len(read), len(names), 3])
    missing = np.zeros(len(names), int)
    for clip, (mine, theirs) in enumerate(zip(read, true, strict=True)):
        for signal in range(len(names)):
            present = np.isfinite(mine[:, signal])
            missing[signal] += (~present).sum()
            if present.sum() > 1:
                x, y = (np.float64(values[present, signal]) for values in (mine, theirs))
                x, y = x - x.mean(), y - y.mean()
                sums[clip, signal] = x @ y, x @ x, y @ y
    drawn = np.random.default_rng(0).integers(0, len(read), [_CORRELATION_RESAMPLINGS, len(read)])
    correlations = {}
    for signal, name in enumerate(names):
        value = _ratio(sums[:, signal].sum(axis=0))
        resampled = _ratio(sums[:, signal][drawn].sum(axis=1))
        resampled = resampled[np.isfinite(resampled)]
        low, high = np.percentile(resampled, [2.5, 97.5]) if len(resampled) else (np.nan, np.nan)
        correlations[name] = Correlation(float(value), float(low), float(high), int(missing[signal]))
    return correlations


def _ratio(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[..., 0] / np.sqrt(sums[..., 1] * sums[..., 2])

"""How near frames are to the true ones, and how sure a mean over clips is.

Convention:
  * frames are `[N, H, W, 3]`, float in [0, 1]; each function gives one number a frame, float64;
  * what a detector finds in made and in true frames comes as `Points` and `Embeddings` of `fomm_tf.detectors`; a point
    counts as found from visibility 0.5 on;
  * a frame for which a number does not exist is NaN: it belongs to no mean, and whoever takes one says how many such
    frames there were.

Where the paper's words and its authors' scripts (github.com/AliaksandrSiarohin/pose-evaluation) differ, both are here,
the script's under a name that ends in `_script`. Both take the mean over all frames of all videos.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fomm_tf import detectors

_RESAMPLINGS = 2000


class Interval(NamedTuple):
    """A figure and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        return f"{self.value:{spec}} ({self.low:{spec}} to {self.high:{spec}})"


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


def perceptual(made: list[np.ndarray], true: list[np.ndarray]) -> np.ndarray:
    """Mean absolute difference of a backbone's features, `[N]`: the terms of Eq. 9 at one resolution.

    Each layer's is divided by the mean absolute feature of the true frame, and the mean over the layers taken, so that
    it is a share: 0 for equal frames, about 1 where nothing agrees. Layers whose true features are all 0 make it NaN.

    Args:
      made: one `[N, h, w, C]` a layer, see `fomm_tf.losses.backbones`.
      true: likewise.
    """
    axes = (1, 2, 3)
    pairs = zip(map(np.float64, made), map(np.float64, true), strict=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [np.abs(mine - theirs).mean(axes) / np.abs(theirs).mean(axes) for mine, theirs in pairs]
    shares = np.mean(shares, axis=0)
    return np.where(np.isfinite(shares), shares, np.nan)


def akd(made: detectors.Points, true: detectors.Points) -> np.ndarray:
    """Average keypoint distance, `[N]`: mean Euclidean distance in pixels (paper, sec. 4).

    Over the points that are found in both frames; NaN where there is none.
    """
    return _mean_where(np.linalg.norm(_offset(made, true), axis=-1), made.found & true.found)


def akd_script(made: detectors.Points, true: detectors.Points) -> np.ndarray:
    """AKD as the authors' scripts compute it, `[N]`: the mean over points and coordinates of |difference| in pixels.

    Over the points that are found in both frames; NaN where there is none. Of the same points it is between 0.5 and
    0.71 of the Euclidean one.
    """
    return _mean_where(np.abs(_offset(made, true)).mean(axis=-1), made.found & true.found)


def mkr(made: detectors.Points, true: detectors.Points) -> np.ndarray:
    """Missing keypoint rate, `[N]`: of the points found in the true frame, the share not found in the made one.

    NaN where none is found in the true frame (paper, sec. 4; the authors' script does the same).
    """
    return _mean_where(np.float64(~made.found), true.found)


def aed(made: detectors.Embeddings, true: detectors.Embeddings) -> np.ndarray:
    """Average Euclidean distance of embeddings, `[N]` (paper, sec. 4).

    NaN where one of the two frames has none.
    """
    return np.sqrt(aed_script(made, true))


def aed_script(made: detectors.Embeddings, true: detectors.Embeddings) -> np.ndarray:
    """AED as the authors' script computes it, `[N]`: the squared Euclidean distance; NaN as in `aed`."""
    squares = np.square(np.float64(made.value) - true.value).sum(axis=-1)
    return np.where(made.found & true.found, squares, np.nan)


def motion(
    made: detectors.Points,
    driving: detectors.Points,
    made_first: detectors.Points,
    driving_first: detectors.Points,
) -> np.ndarray:
    """How far the made motion is from the driving one, `[N]`, where there is no true animation to compare with.

    The mean distance between the displacements of a point since the first frame, in the made and in the driving video,
    each in units of its object's size: the square root of the area of the upright box around the points of the first
    frame. Over the points found in all four frames; NaN where there is none, or where a size is 0. This is our own: the
    paper asks people instead.

    Args:
      made: of N frames.
      driving: of the same frames of the driving video.
      made_first: of the made video's first frame, N = 1.
      driving_first: of the driving video's.
    """
    both = made_first.found & driving_first.found
    displacements = []
    for points, first in ((made, made_first), (driving, driving_first)):
        sides = np.ptp(np.float64(first.value[0][both[0]]), axis=0) if both.any() else np.zeros(2)
        size = np.sqrt(sides.prod())
        displacements.append(_offset(points, first) / (size if size > 0 else np.nan))
    distances = np.linalg.norm(displacements[0] - displacements[1], axis=-1)
    return _mean_where(distances, made.found & driving.found & both)


def _offset(points: detectors.Points, others: detectors.Points) -> np.ndarray:
    return np.float64(points.value) - others.value


def _mean_where(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The mean of each row of `values` `[N, P]` over its entries that count; NaN where there is none."""
    counted = counts.sum(axis=1)
    sums = np.where(counts, values, 0).sum(axis=1)
    return np.where(counted > 0, sums / np.maximum(counted, 1), np.nan)


def bootstrap(clips: np.ndarray, over: np.ndarray | None = None) -> Interval:
    """The mean over clips, or the ratio of two means, with what resampling the clips makes of it.

    Args:
      clips: `[N]`, one number a clip.
      over: `[N]`, of the same clips, what to divide by: the ratio is of the means, not the mean of ratios.

    Raises:
      ValueError: if there is no clip.
    """
    if not len(clips):
        raise ValueError("There is no clip to take a mean over.")
    below = np.ones(len(clips)) if over is None else np.asarray(over)
    drawn = np.random.default_rng(0).integers(0, len(clips), [_RESAMPLINGS, len(clips)])
    with np.errstate(invalid="ignore", divide="ignore"):  # still videos copied: nothing to be a share of
        ratios = np.asarray(clips)[drawn].mean(axis=1) / below[drawn].mean(axis=1)
        value = np.mean(clips) / np.mean(below)
    ratios = ratios[np.isfinite(ratios)]
    ends = np.percentile(ratios, [2.5, 97.5]) if len(ratios) else (np.nan, np.nan)
    return Interval(float(value), *map(float, ends))

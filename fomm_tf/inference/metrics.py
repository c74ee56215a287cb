"""How near frames are to the true ones, and how sure a mean over clips is.

Frames are `[N, H, W, 3]`, float in [0, 1]; each function gives one number a frame.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

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
    ratios = np.asarray(clips)[drawn].mean(axis=1) / below[drawn].mean(axis=1)
    return Interval(float(np.mean(clips) / np.mean(below)), *np.percentile(ratios, [2.5, 97.5]).tolist())

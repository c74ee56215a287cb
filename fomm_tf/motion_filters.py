"""Filters of keypoints: less jitter before the transfer, stronger or weaker motion after it.

Convention: keypoints are those of N consecutive frames of one stream; NumPy arrays or
tensors. Filters are causal: a result depends on the frames up to its own, so that live streams can use them.

Source: Casiez, Roussel, Vogel, 1 Euro Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive
Systems (CHI 2012), Algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from fractions import Fraction

import numpy as np

from fomm_tf import errors
from fomm_tf.structures import Keypoints

MAX_STRENGTH = 10.0
# In Hz; a strength of S divides it. At rest, the lower the cutoff frequency, the less jitter is left.
_MIN_CUTOFF = 1.0
# In Hz per unit/s, where the frame is 2 units wide: the faster a keypoint moves, the higher the cutoff, the less lag.
_SPEED_COEFFICIENT = 4.0
# In Hz, of the filter of the speed. With the paper's 1 Hz, heads that start to move lag more.
_SPEED_CUTOFF = 2.0


class OneEuroFilter:
    """A low-pass filter whose cutoff frequency rises with the speed of its input.

    Args:
      fps: samples per second.
      min_cutoff: cutoff frequency at rest, in Hz.
      speed_coefficient: rise of the cutoff frequency in Hz per unit/s; `beta` in the paper.
      axes: how many of the last axes form one quantity, such as 1 for points: its components share one speed, so that
        directions stay as they are.
    """

    def __init__(
        self,
        fps: float | Fraction,
        min_cutoff: float = _MIN_CUTOFF,
        speed_coefficient: float = _SPEED_COEFFICIENT,
        axes: int = 1,
    ) -> None:
        self._fps, self._min_cutoff, self._speed_coefficient = float(fps), min_cutoff, speed_coefficient
        self._axes = tuple(range(-axes, 0))
        self.reset()

    def reset(self) -> None:
        """Forgets all samples: the next one is the first."""
        self._value: np.ndarray | None = None
        self._speed: np.ndarray | float = 0.0

    def __call__(self, sample: np.ndarray) -> np.ndarray:
        """Filters the next sample, of any shape; returns it in float64."""
        sample = np.asarray(sample, np.float64)
        if self._value is None:
            self._value = sample
            return sample
        change = (sample - self._value) * self._fps
        self._speed = self._speed + self._weight(_SPEED_CUTOFF) * (change - self._speed)
        speed = np.sqrt(np.square(self._speed).sum(axis=self._axes, keepdims=True))
        weight = self._weight(self._min_cutoff + self._speed_coefficient * speed)
        self._value = self._value + weight * (sample - self._value)
        return self._value

    def _weight(self, cutoff: np.ndarray | float) -> np.ndarray | float:
        """Weight of the new sample in exponential smoothing with a cutoff frequency in Hz."""
        return 1 / (1 + self._fps / (2 * math.pi * cutoff))


class KeypointSmoother:
    """Smooths the keypoints of one stream with One Euro filters, values and Jacobians.

    Args:
      strength: 1 removes the jitter of a good detector; higher values smooth more and lag more in slow motion.
      fps: frames per second.

    Raises:
      errors.UserError: if the strength is not above 0 and at most `MAX_STRENGTH`.
    """

    def __init__(self, strength: float, fps: float | Fraction) -> None:
        if not 0 < strength <= MAX_STRENGTH:
            raise errors.UserError(f"`smooth` must be above 0 and at most {MAX_STRENGTH:g}; got {strength:g}.")
        self._filters = [OneEuroFilter(fps, _MIN_CUTOFF / strength, axes=axes) for axes in (1, 2)]

    def __call__(self, keypoints: Keypoints, starts: Collection[int] = ()) -> Keypoints:
        """Smooths the next N frames.

        Args:
          keypoints: of N frames.
          starts: indices of frames among these where another scene starts: frames before it do not count.

        Returns:
          `Keypoints` of N frames, float32 NumPy arrays.
        """
        parts = []
        for part, smooth in zip(keypoints, self._filters, strict=True):
            if part is None:
                parts.append(None)
                continue
            part = np.asarray(part)
            smoothed = np.empty(part.shape, np.float32)
            for index, sample in enumerate(part):
                if index in starts:
                    smooth.reset()
                smoothed[index] = smooth(sample)
            parts.append(smoothed)
        return Keypoints(*parts)


def check_strength(strength: float) -> None:
    """Checks the strength of `scale_motion`.

    Raises:
      errors.UserError: if it is negative, NaN or infinite.
    """
    if not 0 <= strength < math.inf:
        raise errors.UserError(f"`motion_strength` must be 0 or more; got {strength:g}.")


def scale_motion(source: Keypoints, transferred: Keypoints, strength: float) -> Keypoints:
    """Scales how far relative motion moves the source's keypoints and changes their Jacobians.

    Linear in both: 0 leaves the source as it is, 1 returns `transferred`, more exaggerates. Angles are scaled to first
    order only, so that strengths above 2 also enlarge what rotates.

    Args:
      source: of the source image, batch 1 or N.
      transferred: of N frames, from `fomm_tf.transfer` in relative mode.
      strength: 0 or more.

    Returns:
      `Keypoints` of N frames.

    Raises:
      errors.UserError: if the strength is negative, NaN or infinite.
    """
    check_strength(strength)
    if strength == 1:
        return transferred
    parts = (
        None if part is None else initial + strength * (part - initial)
        for initial, part in zip(source, transferred, strict=True)
    )
    return Keypoints(*parts)

"""Measures of results whose truth is known: quality of the face alone, and how much of an expression arrives.

Expression transfer: a reader is fitted on TRUE frames of other people and reads mouth opening, eye closure, gaze, and
the head's yaw and pitch from generated frames. What counts is the correlation of what it reads with the true values
within each clip, so that neither a person's looks nor the reader's bias for a person matters. Its correlation on the
true frames of the same clips is the ceiling; that of the source-copy baseline is about 0.

Convention:
  * frames are `[N, H, W, 3]` uint8, masks `[N, H, W]` bool, landmarks `[N, P, 2]` (x, y) as in `people.json`: -1 and 1
    are the centers of the first and the last pixel;
  * patches of the mouth and the eyes are cut out at TRUE landmarks that do not move with what is read from them: a
    result that is elsewhere loses;
  * yaw and pitch are read from points that a detector finds in the frame, NaN where it finds none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fomm_tf.data import people
from fomm_tf.opencv import cv2

SIGNALS = ("mouth_opening", "eye_closure", "gaze_x", "gaze_y", "yaw", "pitch")

# Patches: landmarks at the left and right of the image, size in pixels, width in units of the landmarks' distance, and
# how far below their middle the patch is centered. The left eye is mirrored onto the right one.
_MOUTH = ("right_mouth", "left_mouth", (24, 16), 1.1, 0.0)
_EYES = (
    ("right_outer_eye", "right_inner_eye", (16, 12), 1.7, 0.0),
    ("left_inner_eye", "left_outer_eye", (16, 12), 1.7, 0.0),
)
_LEAST_SPAN = 3.0  # pixels between two landmarks; a head in profile has less
_RANDOM_FEATURES = 1500
_KERNEL_WIDTH = 0.02
_RIDGE = {"patch": 1e-3, "points": 0.1}
_RESAMPLINGS = 1000
_SSIM_WINDOW, _SSIM_SIGMA = (11, 11), 1.5

Points = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Correlation(NamedTuple):
    """A correlation with its 95 % bootstrap confidence interval over clips, and the frames without a value."""

    value: float
    low: float
    high: float
    missing: int


def true_values(record: Mapping) -> np.ndarray:
    """Returns the true signals of a clip, `[N, 6]` in the order of `SIGNALS`.

    Args:
      record: of the clip, from `people.json`.
    """
    angles, gaze = np.array(record["yaw_pitch_roll"]), np.array(record["gaze"])
    eyes = np.array(record["eye_closure"]).mean(axis=1)
    return np.column_stack([record["mouth_opening"], eyes, gaze, angles[:, :2]])


def face_psnr(generated: np.ndarray, truth: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Returns the PSNR of the masked pixels in dB, `[N]`; NaN without a mask, infinite where the two are equal."""
    squares = np.square(np.float64(generated) - truth).mean(axis=-1) / 255**2
    with np.errstate(divide="ignore"):
        return -10 * np.log10(_masked_mean(squares, masks))


def face_ssim(generated: np.ndarray, truth: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Returns the mean structural similarity of the masked pixels, `[N]` (Wang et al. 2004); NaN without a mask."""
    return _masked_mean(np.stack([_ssim_map(*pair) for pair in zip(generated, truth, strict=True)]), masks)


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


def _masked_mean(values: np.ndarray, masks: np.ndarray) -> np.ndarray:
    counts = masks.sum(axis=(1, 2))
    sums = np.where(masks, values, 0.0).sum(axis=(1, 2))
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


class ExpressionReader:
    """Reads expressions from frames.

    Args:
      detect: `[N, H, W, 3]` uint8 -> points `[N, Q, 2]` in pixels and their visibility `[N, Q]`, as
        `fomm_tf.detectors.load_points` returns it; None reads neither yaw nor pitch.
    """

    def __init__(self, detect: Points | None) -> None:
        self._detect = detect
        self._mouth = _Ridge(_RIDGE["patch"], random_features=True)
        self._eyes = _Ridge(_RIDGE["patch"], random_features=True)
        self._head = _Ridge(_RIDGE["points"], random_features=False)

    def fit(self, frames: np.ndarray, landmarks: np.ndarray, values: np.ndarray) -> ExpressionReader:
        """Fits the reader on true frames.

        Args:
          frames: of people who are not read later; some thousands.
          landmarks: of the frames.
          values: `[N, 6]`, see `true_values`.

        Returns:
          Itself.

        Raises:
          ValueError: if the detector finds no points in any frame.
        """
        values = np.float32(values)
        self._mouth.fit(_patches(frames, landmarks, [_MOUTH]), values[:, :1])
        self._eyes.fit(_patches(frames, landmarks, _EYES), values[:, 1:4])
        if self._detect is not None:
            features = self._points(frames)
            found = np.isfinite(features).all(axis=1)
            if not found.any():
                raise ValueError("`frames`: the detector found no points in any of them.")
            self._head.fit(features[found], values[found, 4:])
        return self

    def read(self, frames: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Reads the signals, `[N, 6]`; NaN where there is no value.

        Args:
          frames: true or generated.
          landmarks: of the TRUE frames.
        """
        head = np.full([len(frames), 2], np.nan, np.float32)
        if self._detect is not None:
            features = self._points(frames)
            found = np.isfinite(features).all(axis=1)
            head[found] = self._head.predict(features[found])
        mouth = self._mouth.predict(_patches(frames, landmarks, [_MOUTH]))
        eyes = self._eyes.predict(_patches(frames, landmarks, _EYES))
        return np.concatenate([mouth, eyes, head], axis=1)

    def _points(self, frames: np.ndarray) -> np.ndarray:
        """Detected points without position and size, `[N, 2 Q]`; NaN where not all are found."""
        value, visibility = self._detect(frames)
        value = np.where((visibility >= 0.5).all(axis=1)[:, None, None], value, np.nan)
        value = value - value.mean(axis=1, keepdims=True)
        size = np.sqrt(np.square(value).sum(axis=-1).mean(axis=1))
        return np.float32(value / size[:, None, None]).reshape(len(frames), -1)


class _Ridge:
    """Ridge regression, of features as they are or with random Fourier features (Rahimi & Recht 2007) beside them."""

    def __init__(self, strength: float, random_features: bool) -> None:
        self._strength, self._random = strength, random_features

    def fit(self, features: np.ndarray, values: np.ndarray) -> None:
        self._mean, self._deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
        count = features.shape[1]
        rng = np.random.default_rng(0)
        scale = np.sqrt(2 * _KERNEL_WIDTH / count)
        self._weights = np.float32(rng.normal(size=[count, _RANDOM_FEATURES if self._random else 0]) * scale)
        self._phases = np.float32(rng.uniform(0, 2 * np.pi, self._weights.shape[1]))
        lifted = self._lift(features)
        self._center, self._offset = lifted.mean(axis=0), values.mean(axis=0)
        lifted = lifted - self._center
        penalty = self._strength * len(lifted) * np.eye(lifted.shape[1])
        self._solution = np.linalg.solve(lifted.T @ lifted + penalty, lifted.T @ (values - self._offset))

    def predict(self, features: np.ndarray) -> np.ndarray:
        return np.float32((self._lift(features) - self._center) @ self._solution + self._offset)

    def _lift(self, features: np.ndarray) -> np.ndarray:
        scaled = (features - self._mean) / self._deviation
        scaled = np.float64(scaled)
        if not self._random:
            return scaled
        waves = np.cos(scaled @ self._weights + self._phases)
        return np.concatenate([waves, scaled / np.sqrt(scaled.shape[1])], axis=1)


def _patches(frames: np.ndarray, landmarks: np.ndarray, places: Sequence[tuple]) -> np.ndarray:
    """Patches of each frame side by side, `[N, D]`, without their mean and contrast."""
    names = {name: number for number, name in enumerate(people.landmark_names())}
    columns = []
    for left, right, size, width, below in places:
        mirrored = left == _EYES[1][0]
        cut = np.stack(
            [
                _cut(frame, points[names[left]], points[names[right]], size, width, below)
                for frame, points in zip(frames, np.float64(landmarks), strict=True)
            ]
        )
        cut = np.float32(cut[:, :, ::-1] if mirrored else cut).reshape(len(frames), -1)
        cut -= cut.mean(axis=1, keepdims=True)
        columns.append(cut / (cut.std(axis=1, keepdims=True) + 5))
    return np.concatenate(columns, axis=1)


def _cut(
    frame: np.ndarray, left: np.ndarray, right: np.ndarray, size: tuple[int, int], width: float, below: float
) -> np.ndarray:
    """A patch of `size` (width, height) around two landmarks, turned so that they are level."""
    scale = (np.array(frame.shape[1::-1]) - 1) / 2
    left, right = (left + 1) * scale, (right + 1) * scale
    span = max(float(np.linalg.norm(right - left)), _LEAST_SPAN)
    across = (right - left) / max(float(np.linalg.norm(right - left)), 1e-3)
    down = np.array([-across[1], across[0]])
    step = width * span / size[0]
    corner = (left + right) / 2 + down * below * span
    corner = corner - step * (across * (size[0] - 1) + down * (size[1] - 1)) / 2
    matrix = np.column_stack([across * step, down * step, corner])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(frame, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def correlate(read: Sequence[np.ndarray], true: Sequence[np.ndarray]) -> dict[str, Correlation]:
    """Correlates what was read with the true values within each clip.

    Args:
      read: `[N, 6]` for each clip.
      true: `[N, 6]` for each clip, see `true_values`.

    Returns:
      Signal -> correlation, NaN where one of the two does not change in any clip.
    """
    sums = np.zeros([len(read), len(SIGNALS), 3])
    missing = np.zeros(len(SIGNALS), int)
    for clip, (mine, theirs) in enumerate(zip(read, true, strict=True)):
        for signal in range(len(SIGNALS)):
            present = np.isfinite(mine[:, signal])
            missing[signal] += (~present).sum()
            if present.sum() > 1:
                x, y = (np.float64(values[present, signal]) for values in (mine, theirs))
                x, y = x - x.mean(), y - y.mean()
                sums[clip, signal] = x @ y, x @ x, y @ y
    drawn = np.random.default_rng(0).integers(0, len(read), [_RESAMPLINGS, len(read)])
    correlations = {}
    for signal, name in enumerate(SIGNALS):
        value = _ratio(sums[:, signal].sum(axis=0))
        resampled = _ratio(sums[:, signal][drawn].sum(axis=1))
        resampled = resampled[np.isfinite(resampled)]
        low, high = np.percentile(resampled, [2.5, 97.5]) if len(resampled) else (np.nan, np.nan)
        correlations[name] = Correlation(float(value), float(low), float(high), int(missing[signal]))
    return correlations


def _ratio(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[..., 0] / np.sqrt(sums[..., 1] * sums[..., 2])

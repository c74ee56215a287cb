"""Scores of results on rendered people, whose truth is known: the face alone, and how much of its expression arrives.

A set is what `python -m fomm_tf.data.people` writes. The model is shown beside the source-copy baseline and the true
frames themselves, which are the ceiling of the reader of expressions.

Expression transfer: a reader is fitted on TRUE frames of other people and reads mouth opening, eye closure, gaze, and
the head's yaw and pitch from generated frames. What counts is the correlation of what it reads with the true values
within each clip, so that neither a person's appearance nor the reader's bias for a person matters. The correlation of
the source-copy baseline is about 0.

Convention:
  * frames are `[N, H, W, 3]` uint8, masks `[N, H, W]` bool, landmarks `[N, P, 2]` (x, y) as in `people.json`: -1 and 1
    are the centers of the first and the last pixel;
  * patches of the mouth and the eyes are cut out at TRUE landmarks that do not move with what is read from them: a
    result that is elsewhere loses;
  * yaw and pitch are read from points that a detector finds in the frame, NaN where it finds none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fomm_tf import detectors, errors, files, video
from fomm_tf.data import people
from fomm_tf.evaluation import metrics
from fomm_tf.evaluation.protocol import MODEL, SOURCE_COPY
from fomm_tf.opencv import cv2

TRUTH = "truth"
PREDICTORS = (MODEL, SOURCE_COPY, TRUTH)
# Clips of other people that the reader is fitted on.
_FITTED_CLIPS = 300
SIGNALS = ("mouth_opening", "eye_closure", "gaze_x", "gaze_y", "yaw", "pitch")

# Patches between two landmarks, in the image's order: size in pixels, and width in units of the landmarks' distance.
# The left eye is mirrored onto the right one.
_MOUTH = ("right_mouth", "left_mouth", (24, 16), 1.1)
_EYES = (
    ("right_outer_eye", "right_inner_eye", (16, 12), 1.7),
    ("left_inner_eye", "left_outer_eye", (16, 12), 1.7),
)
_LEAST_SPAN = 3.0  # pixels between two landmarks; a head in profile has less
_RANDOM_FEATURES = 1500
_KERNEL_WIDTH = 0.02
_PATCH_RIDGE, _POINTS_RIDGE = 1e-3, 0.1  # strength of the regularization

Points = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class _TrueClip(NamedTuple):
    """A clip of a set, and what is known about it."""

    name: str  # without the split
    frames: np.ndarray  # `[N, H, W, 3]` uint8
    landmarks: np.ndarray  # `[N, P, 2]`
    values: np.ndarray  # `[N, 6]` true signals, in the order of `SIGNALS`
    masks: np.ndarray | None  # `[N, H, W]` bool, the face; None if the set has none


def _read_clips(root: Path, split: str, limit: int | None = None) -> Iterator[_TrueClip]:
    """Reads the first `limit` clips of a split in the order of their names."""
    check_set(root, split)
    for path in sorted((root / "truth" / split).glob("*.json"))[:limit]:
        record = json.loads(path.read_text(encoding="utf-8"))
        frames, masks = root / split / path.stem, root / "masks" / split / path.stem
        masks = _read_frames(masks)[..., 0] > 127 if masks.is_dir() else None
        landmarks = np.array(record["landmarks"])
        yield _TrueClip(path.stem, _read_frames(frames), landmarks, _true_values(record), masks)


def _read_frames(path: Path) -> np.ndarray:
    return np.stack(list(video.open_video(path)))


def write(train: str | Path, data: str | Path, out: str | Path) -> str:
    """Scores what `evaluate` wrote to `out`, and writes `expressions.json` there.

    Args:
      train: a set whose people in train the reader of expressions is fitted on.
      data: the set that was evaluated.
      out: directory of the evaluation, whose settings had `png`.

    Returns:
      The scores as a table.

    Raises:
      errors.UserError: if `train` or `data` is no set of rendered people, or a detector cannot be fetched.
    """
    data, out = Path(data), Path(out)
    check_set(data, "test")
    reader = fit_reader(Path(train), _FITTED_CLIPS, detectors.load_points("face-points"))
    scores = score(data, out / "png", reader)
    files.write_json(out / "expressions.json", scores)
    return table(scores)


def check_set(root: Path, split: str) -> None:
    """Checks that a directory is a complete set of rendered people.

    Raises:
      errors.UserError: if not.
    """
    if not any((root / "truth" / split).glob("*.json")):
        text = f"{root} has no truth about {split}; give a complete set of `python -m fomm_tf.data.people`."
        raise errors.UserError(text)


def fit_reader(root: Path, count: int, detect: Points | None) -> ExpressionReader:
    """Fits a reader on the first people of a training set.

    Args:
      root: of the set.
      count: clips to fit on.
      detect: see `ExpressionReader`.
    """
    clips = list(_read_clips(root, "train", count))
    parts = (np.concatenate([getattr(clip, name) for clip in clips]) for name in ("frames", "landmarks", "values"))
    return ExpressionReader(detect, *parts)


def score(root: Path, results: Path, reader: ExpressionReader) -> dict:
    """Scores the results for the test clips of a set.

    Args:
      root: of the set.
      results: a directory of frames for each clip, by its name or, for a pair, twice its name (`00003--00003`).
      reader: fitted on other people.

    Returns:
      `clips`, and by predictor `face_psnr`, `face_ssim` (means over frames), and `correlations`.

    Raises:
      errors.UserError: if a result is missing, or of another size or length than its clip.
    """
    readings = {predictor: [] for predictor in PREDICTORS}
    quality = {predictor: {"face_psnr": [], "face_ssim": []} for predictor in (MODEL, SOURCE_COPY)}
    true = []
    for clip in _read_clips(root, "test"):
        frames = {
            MODEL: _read_result(results, clip),
            SOURCE_COPY: np.broadcast_to(clip.frames[:1], clip.frames.shape),
            TRUTH: clip.frames,
        }
        true.append(clip.values)
        for predictor, predicted in frames.items():
            readings[predictor].append(reader.read(predicted, clip.landmarks))
        # The first frame is the source itself.
        for predictor, values in quality.items() if clip.masks is not None else ():
            for name, of_clips in values.items():
                of_clips.append(getattr(metrics, name)(frames[predictor][1:], clip.frames[1:], clip.masks[1:]))
    scores: dict = {"clips": len(true)}
    for predictor in PREDICTORS:
        of_predictor = {"correlations": {}}
        for name, correlation in metrics.correlate(SIGNALS, readings[predictor], true).items():
            of_predictor["correlations"][name] = {
                key: value if np.isfinite(value) else None for key, value in correlation._asdict().items()
            }
        for name, of_clips in quality.get(predictor, {}).items():
            values = np.concatenate([*of_clips, []])
            finite = values[np.isfinite(values)]
            of_predictor[name] = float(finite.mean()) if len(finite) else None
        scores[predictor] = of_predictor
    return scores


def _read_result(results: Path, clip: _TrueClip) -> np.ndarray:
    names = (clip.name, f"{clip.name}--{clip.name}")
    path = next((results / name for name in names if (results / name).is_dir()), None)
    if path is None:
        raise errors.UserError(f"{results} has no result {clip.name}; expected a directory of frames.")
    frames = _read_frames(path)
    if frames.shape != clip.frames.shape:
        raise errors.UserError(f"{path}: got frames {list(frames.shape)}; expected {list(clip.frames.shape)}.")
    return frames


def table(scores: dict) -> str:
    """The scores as a Markdown table: a row for each measure."""
    titles = {MODEL: "model", SOURCE_COPY: "source-copy baseline", TRUTH: "true frames (ceiling)"}
    rows = [[f"{scores['clips']} clips", *titles.values()]]
    for name, title, digits in (("face_psnr", "face PSNR, dB", 2), ("face_ssim", "face SSIM", 3)):
        values = [scores[predictor].get(name) for predictor in PREDICTORS]
        rows.append([title, *("-" if value is None else f"{value:.{digits}f}" for value in values)])
    for name in SIGNALS:
        correlations = [scores[predictor]["correlations"][name] for predictor in PREDICTORS]
        rows.append([f"correlation of {name.replace('_', ' ')}", *map(_correlation_cell, correlations)])
    header, *lines = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([header, "|---|---|---|---|", *lines])


def _correlation_cell(correlation: Mapping) -> str:
    if correlation["value"] is None:
        return "-"
    missing = f", {correlation['missing']} frames without" if correlation["missing"] else ""
    return "{value:.3f} ({low:.3f} to {high:.3f}".format(**correlation) + f"{missing})"


def _true_values(record: Mapping) -> np.ndarray:
    """Returns the true signals of a clip's record in `people.json`, `[N, 6]` in the order of `SIGNALS`."""
    angles, gaze = np.array(record["yaw_pitch_roll"]), np.array(record["gaze"])
    eyes = np.array(record["eye_closure"]).mean(axis=1)
    return np.column_stack([record["mouth_opening"], eyes, gaze, angles[:, :2]])


class ExpressionReader:
    """Reads expressions from frames, fitted on true frames of people who are not read later.

    Args:
      detect: `[N, H, W, 3]` uint8 -> points `[N, Q, 2]` in pixels and their visibility `[N, Q]`, as
        `fomm_tf.detectors.load_points` returns it; None reads neither yaw nor pitch.
      frames: some thousands.
      landmarks: of the frames.
      values: `[N, 6]` true signals, in the order of `SIGNALS`.

    Raises:
      ValueError: if the detector finds no points in any frame.
    """

    def __init__(self, detect: Points | None, frames: np.ndarray, landmarks: np.ndarray, values: np.ndarray) -> None:
        self._detect, values = detect, np.float32(values)
        self._mouth = _Ridge(_patches(frames, landmarks, [_MOUTH]), values[:, :1], _PATCH_RIDGE, random_features=True)
        self._eyes = _Ridge(_patches(frames, landmarks, _EYES), values[:, 1:4], _PATCH_RIDGE, random_features=True)
        if detect is not None:
            features, found = self._points(frames)
            if not found.any():
                raise ValueError("`frames`: the detector found no points in any of them.")
            self._head = _Ridge(features[found], values[found, 4:], _POINTS_RIDGE, random_features=False)

    def read(self, frames: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Reads the signals, `[N, 6]`; NaN where there is no value.

        Args:
          frames: true or generated.
          landmarks: of the TRUE frames.
        """
        head = np.full([len(frames), 2], np.nan, np.float32)
        if self._detect is not None:
            features, found = self._points(frames)
            head[found] = self._head.predict(features[found])
        mouth = self._mouth.predict(_patches(frames, landmarks, [_MOUTH]))
        eyes = self._eyes.predict(_patches(frames, landmarks, _EYES))
        return np.concatenate([mouth, eyes, head], axis=1)

    def _points(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Detected points without position and size, `[N, 2 Q]`, and whether all of a frame are found, `[N]`."""
        value, visibility = self._detect(frames)
        value = np.where((visibility >= 0.5).all(axis=1)[:, None, None], value, np.nan)
        value = value - value.mean(axis=1, keepdims=True)
        size = np.sqrt(np.square(value).sum(axis=-1).mean(axis=1))
        features = np.float32(value / size[:, None, None]).reshape(len(frames), -1)
        return features, np.isfinite(features).all(axis=1)


class _Ridge:
    """Ridge regression, of features as they are or with random Fourier features (Rahimi & Recht 2007) beside them."""

    def __init__(self, features: np.ndarray, values: np.ndarray, strength: float, random_features: bool) -> None:
        self._random = random_features
        self._mean, self._deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
        count = features.shape[1]
        rng = np.random.default_rng(0)
        scale = np.sqrt(2 * _KERNEL_WIDTH / count)
        self._weights = np.float32(rng.normal(size=[count, _RANDOM_FEATURES if self._random else 0]) * scale)
        self._phases = np.float32(rng.uniform(0, 2 * np.pi, self._weights.shape[1]))
        lifted = self._lift(features)
        self._center, self._offset = lifted.mean(axis=0), values.mean(axis=0)
        lifted = lifted - self._center
        penalty = strength * len(lifted) * np.eye(lifted.shape[1])
        self._solution = np.linalg.solve(lifted.T @ lifted + penalty, lifted.T @ (values - self._offset))

    def predict(self, features: np.ndarray) -> np.ndarray:
        return np.float32((self._lift(features) - self._center) @ self._solution + self._offset)

    def _lift(self, features: np.ndarray) -> np.ndarray:
        scaled = np.float64((features - self._mean) / self._deviation)
        if not self._random:
            return scaled
        waves = np.cos(scaled @ self._weights + self._phases)
        return np.concatenate([waves, scaled / np.sqrt(scaled.shape[1])], axis=1)


def _patches(frames: np.ndarray, landmarks: np.ndarray, places: Sequence[tuple]) -> np.ndarray:
    """Patches of each frame side by side, `[N, D]`, without their mean and contrast."""
    names = {name: number for number, name in enumerate(people.landmark_names())}
    columns = []
    for left, right, size, width in places:
        ends = np.float64(landmarks[:, [names[left], names[right]]])
        cut = np.stack([_cut(*each, size, width) for each in zip(frames, ends, strict=True)])
        cut = np.float32(cut[:, :, ::-1] if left == _EYES[1][0] else cut).reshape(len(frames), -1)
        cut -= cut.mean(axis=1, keepdims=True)
        columns.append(cut / (cut.std(axis=1, keepdims=True) + 5))
    return np.concatenate(columns, axis=1)


def _cut(frame: np.ndarray, ends: np.ndarray, size: tuple[int, int], width: float) -> np.ndarray:
    """A patch of `size` (width, height) around two landmarks `[2, 2]`, turned so that they are level."""
    left, right = (ends + 1) * (np.array(frame.shape[1::-1]) - 1) / 2
    distance = float(np.linalg.norm(right - left))
    across = (right - left) / max(distance, 1e-3)
    down = np.array([-across[1], across[0]])
    step = width * max(distance, _LEAST_SPAN) / size[0]
    corner = (left + right) / 2 - step * (across * (size[0] - 1) + down * (size[1] - 1)) / 2
    matrix = np.column_stack([across * step, down * step, corner])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(frame, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)

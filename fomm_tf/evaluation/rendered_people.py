"""Scores of results on rendered people, whose truth is known: the face alone, and how much of its expression arrives.

A set is what `python -m fomm_tf.data.people` writes. The model is shown beside the source-copy baseline and the true
frames themselves, which are the ceiling of the reader of expressions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fomm_tf import detectors, errors, files, video
from fomm_tf.evaluation import expression
from fomm_tf.evaluation.protocol import MODEL, SOURCE_COPY

TRUTH = "truth"
PREDICTORS = (MODEL, SOURCE_COPY, TRUTH)
# Clips of other people that the reader is fitted on.
_FITTED_CLIPS = 300


class TrueClip(NamedTuple):
    """A clip of a set, and what is known about it."""

    name: str  # without the split
    frames: np.ndarray  # `[N, H, W, 3]` uint8
    landmarks: np.ndarray  # `[N, P, 2]`
    values: np.ndarray  # `[N, 6]`, see `expression.true_values`
    masks: np.ndarray | None  # `[N, H, W]` bool, the face; None if the set has none


def read_clips(root: Path, split: str, limit: int | None = None) -> Iterator[TrueClip]:
    """Reads the clips of a split in the order of their names.

    Args:
      root: of the set, as `python -m fomm_tf.data.people` writes it.
      split: `train` or `test`.
      limit: no more than the first of these.

    Raises:
      errors.UserError: if there is no such set.
    """
    check_set(root, split)
    for path in sorted((root / "truth" / split).glob("*.json"))[:limit]:
        record = json.loads(path.read_text(encoding="utf-8"))
        masks = root / "masks" / split / path.stem
        yield TrueClip(
            path.stem,
            _read_frames(root / split / path.stem),
            np.array(record["landmarks"]),
            expression.true_values(record),
            _read_frames(masks)[..., 0] > 127 if masks.is_dir() else None,
        )


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
        raise errors.UserError(
            f"{root} has no truth about {split}; give a complete set of `python -m fomm_tf.data.people`."
        )


def fit_reader(root: Path, people: int, detect: expression.Points | None) -> expression.ExpressionReader:
    """Fits a reader on the first people of a training set.

    Args:
      root: of the set.
      people: clips to fit on.
      detect: see `expression.ExpressionReader`.
    """
    clips = list(read_clips(root, "train", people))
    parts = (np.concatenate([getattr(clip, name) for clip in clips]) for name in ("frames", "landmarks", "values"))
    return expression.ExpressionReader(detect).fit(*parts)


def score(root: Path, results: Path, reader: expression.ExpressionReader) -> dict:
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
    quality = {predictor: ([], []) for predictor in (MODEL, SOURCE_COPY)}
    true = []
    for clip in read_clips(root, "test"):
        frames = {
            MODEL: _read_result(results, clip),
            SOURCE_COPY: np.broadcast_to(clip.frames[:1], clip.frames.shape),
            TRUTH: clip.frames,
        }
        true.append(clip.values)
        for predictor, predicted in frames.items():
            readings[predictor].append(reader.read(predicted, clip.landmarks))
        # The first frame is the source itself.
        for predictor, (psnr, ssim) in quality.items() if clip.masks is not None else ():
            pair = frames[predictor][1:], clip.frames[1:], clip.masks[1:]
            psnr.append(expression.face_psnr(*pair))
            ssim.append(expression.face_ssim(*pair))
    scores: dict = {"clips": len(true)}
    for predictor in PREDICTORS:
        of_predictor = {"correlations": {}}
        for name, correlation in expression.correlate(readings[predictor], true).items():
            of_predictor["correlations"][name] = {
                key: value if np.isfinite(value) else None for key, value in correlation._asdict().items()
            }
        for name, values in zip(("face_psnr", "face_ssim"), quality.get(predictor, ()), strict=False):
            values = np.concatenate(values) if values else np.array([])
            finite = values[np.isfinite(values)]
            of_predictor[name] = float(finite.mean()) if len(finite) else None
        scores[predictor] = of_predictor
    return scores


def _read_result(results: Path, clip: TrueClip) -> np.ndarray:
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
    lines = [f"| {scores['clips']} clips | {' | '.join(titles.values())} |", "|---|---|---|---|"]
    for name, digits in (("face_psnr", 2), ("face_ssim", 3)):
        cells = [scores[predictor].get(name) for predictor in PREDICTORS]
        title = {"face_psnr": "face PSNR, dB", "face_ssim": "face SSIM"}[name]
        lines.append(f"| {title} | {' | '.join('-' if cell is None else f'{cell:.{digits}f}' for cell in cells)} |")
    for name in expression.SIGNALS:
        cells = []
        for predictor in PREDICTORS:
            each = scores[predictor]["correlations"][name]
            missing = f", {each['missing']} frames without" if each["missing"] else ""
            cells.append(
                "-"
                if each["value"] is None
                else f"{each['value']:.3f} ({each['low']:.3f} to {each['high']:.3f}{missing})"
            )
        lines.append(f"| correlation of {name.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines)

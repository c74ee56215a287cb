"""`python -m fomm_tf.data.people.score`: `measures` for the results of a test set whose truth is known."""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tqdm

from fomm_tf import console, detectors, errors, files, video
from fomm_tf.data.people import measures

_NAME = "python -m fomm_tf.data.people.score"
_TEXT = "Scores results on rendered people: quality of the face, and how much of the expression arrives."
_MORE = """\
first:  fomm reconstruct --run RUN --data SET --out RESULTS
then:   python -m fomm_tf.data.people.score --data SET --results RESULTS/png --train SET

A reader of expressions is fitted on true frames of the people in train of --train, and reads the results in --results.
The table has the model beside the source-copy baseline and the true frames themselves: the reader's ceiling.
exit code: 0 done, 2 a mistake in the arguments, 130 stopped
"""
MODEL, SOURCE_COPY, TRUTH = PREDICTORS = ("model", "source_copy", "truth")


class TrueClip(NamedTuple):
    """A clip of a set, and what is known about it.

    Attributes:
      name: without the split.
      frames: `[N, H, W, 3]` uint8.
      landmarks: `[N, P, 2]`.
      values: `[N, 6]`, see `measures.true_values`.
      masks: `[N, H, W]` bool, the face; None if the set has none.
    """

    name: str
    frames: np.ndarray
    landmarks: np.ndarray
    values: np.ndarray
    masks: np.ndarray | None


def read_clips(root: pathlib.Path, split: str, limit: int | None = None) -> Iterator[TrueClip]:
    """Reads the clips of a split in the order of their names.

    Args:
      root: of the set, as `python -m fomm_tf.data.people` writes it.
      split: `train` or `test`.
      limit: no more than the first of these.

    Raises:
      errors.UserError: if there is no such set.
    """
    paths = sorted((root / "truth" / split).glob("*.json"))[:limit]
    if not paths:
        raise errors.UserError(
            f"{root} has no truth about {split}; name a set of `python -m fomm_tf.data.people` that is complete."
        )
    for path in paths:
        record = json.loads(path.read_text(encoding="utf-8"))
        masks = root / "masks" / split / path.stem
        yield TrueClip(
            path.stem,
            _read_frames(root / split / path.stem),
            np.array(record["landmarks"]),
            measures.true_values(record),
            _read_frames(masks)[..., 0] > 127 if masks.is_dir() else None,
        )


def _read_frames(path: pathlib.Path) -> np.ndarray:
    return np.stack(list(video.open_video(path)))


def fit_reader(root: pathlib.Path, people: int, detect: measures.Points | None) -> measures.ExpressionReader:
    """Fits a reader on the first people of a training set.

    Args:
      root: of the set.
      people: clips to fit on.
      detect: see `measures.ExpressionReader`.
    """
    clips = list(read_clips(root, "train", people))
    parts = (np.concatenate([getattr(clip, name) for clip in clips]) for name in ("frames", "landmarks", "values"))
    return measures.ExpressionReader(detect).fit(*parts)


def score(root: pathlib.Path, results: pathlib.Path, reader: measures.ExpressionReader) -> dict:
    """Scores the results for the test clips of a set.

    Args:
      root: of the set.
      results: folder of a folder of frames, or of a video, for each clip by its name.
      reader: fitted on other people.

    Returns:
      `clips`, and by predictor `face_psnr`, `face_ssim` (means over frames), and `correlations`.

    Raises:
      errors.UserError: if a result is missing, or of another size or length than its clip.
    """
    readings = {predictor: [] for predictor in PREDICTORS}
    quality = {predictor: ([], []) for predictor in (MODEL, SOURCE_COPY)}
    true = []
    for clip in tqdm.tqdm(list(read_clips(root, "test")), unit="clip", disable=None):
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
            psnr.append(measures.face_psnr(*pair))
            ssim.append(measures.face_ssim(*pair))
    scores: dict = {"clips": len(true)}
    for predictor in PREDICTORS:
        of_predictor = {"correlations": {}}
        for name, correlation in measures.correlate(readings[predictor], true).items():
            of_predictor["correlations"][name] = {
                key: value if np.isfinite(value) else None for key, value in correlation._asdict().items()
            }
        for name, values in zip(("face_psnr", "face_ssim"), quality.get(predictor, ()), strict=False):
            values = np.concatenate(values) if values else np.array([])
            finite = values[np.isfinite(values)]
            of_predictor[name] = float(finite.mean()) if len(finite) else None
        scores[predictor] = of_predictor
    return scores


def _read_result(results: pathlib.Path, clip: TrueClip) -> np.ndarray:
    path = next((path for path in (results / clip.name, results / f"{clip.name}.mp4") if path.exists()), None)
    if path is None:
        raise errors.UserError(f"{results} has no result {clip.name}; expected a folder of frames or an mp4.")
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
    for name in measures.SIGNALS:
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


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return console.run("people.score", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> None:
    parser = console.Parser(
        prog=_NAME, description=_TEXT, epilog=_MORE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=pathlib.Path, required=True, metavar="SET", help="set whose test/ was rebuilt")
    parser.add_argument("--results", type=pathlib.Path, required=True, metavar="DIR", help="results by clip name")
    parser.add_argument("--train", type=pathlib.Path, required=True, metavar="SET", help="set to fit the reader on")
    parser.add_argument("--people", type=int, default=300, metavar="N", help="clips to fit on (default 300)")
    parser.add_argument("--no-head", action="store_true", help="read neither yaw nor pitch: needs no face detector")
    parser.add_argument("--out", type=pathlib.Path, metavar="FILE", help="write the scores as JSON too")
    options = parser.parse_args(argv)
    if options.people < 1:
        raise errors.UserError(f"--people must be at least 1; got {options.people}.")
    detect = None if options.no_head else detectors.load_points("face-points")
    scores = score(options.data, options.results, fit_reader(options.train, options.people, detect))
    if options.out:
        files.write_json(options.out, scores)
    print(table(scores))


if __name__ == "__main__":
    sys.exit(main())

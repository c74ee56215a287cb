"""Tables of an evaluation: means over all frames, as in the authors' scripts, with confidence intervals over videos."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import fomm_tf
from fomm_tf.evaluation import metrics
from fomm_tf.evaluation.protocol import ANIMATION, COLUMNS, MODEL, PREDICTORS, SOURCE_COPY
from fomm_tf.evaluation.scoring import MetricAccumulator, VideoResult

L1_RATIO = "l1_ratio"
_NONE = "none"
_L1_RATIO_TITLE = "L1 / L1 of the source-copy baseline"
_GROUPS = {"seen": "Identities seen in training", "unseen": "Unseen identities"}
_DETECTOR_NOTE = (
    "Points and embeddings come from other detectors than the paper's: compare AKD, MKR and AED with each other, not "
    "with the paper's tables."
)


class Row(NamedTuple):
    """A metric over a set of videos.

    Attributes:
      value: mean over all frames with its 95 % bootstrap confidence interval over videos.
      videos: number of videos with a value.
      frames: number of frames with a value.
      missing: number of frames without a value.
    """

    value: metrics.Interval
    videos: int
    frames: int
    missing: int


class Report(NamedTuple):
    """The results of an evaluation.

    Attributes:
      task: `reconstruction` or `animation`.
      about: what was evaluated, and how.
      results: of all videos, in order; those without frames could not be evaluated.
    """

    task: str
    about: dict[str, Any]
    results: tuple[VideoResult, ...]

    @property
    def evaluated(self) -> list[VideoResult]:
        """Results of the videos that could be evaluated."""
        return [result for result in self.results if result.frames]

    def rows(self, group: str | None = None) -> dict[str, dict[str, Row]]:
        """Metric -> predictor -> its row; `l1_ratio` is the model's L1 over that of the source-copy baseline.

        Args:
          group: `seen` or `unseen`; None for all videos.
        """
        results = [result for result in self.evaluated if group in (None, result.group)]
        rows: dict[str, dict[str, Row]] = {}
        for name in COLUMNS:
            by_predictor = {
                predictor: _row([result.metrics[predictor].get(name) for result in results]) for predictor in PREDICTORS
            }
            if any(by_predictor.values()):
                rows[name] = {predictor: row for predictor, row in by_predictor.items() if row is not None}
            if name == "l1" and name in rows:
                totals = [
                    [result.metrics[predictor][name].total for predictor in PREDICTORS]
                    for result in results
                    if name in result.metrics[MODEL]
                ]
                ratio = metrics.bootstrap(*zip(*totals, strict=True))
                rows[L1_RATIO] = {MODEL: rows[name][MODEL]._replace(value=ratio)}
        return rows

    def groups(self) -> dict[str, str]:
        """Title of each group that has videos, if there are two."""
        groups = {
            group: title for group, title in _GROUPS.items() if any(result.group == group for result in self.evaluated)
        }
        return groups if len(groups) > 1 else {}

    def unmeasured(self) -> dict[str, list[str]]:
        """Name of a video -> metrics without a value in any of its frames."""
        unmeasured = {}
        for result in self.evaluated:
            of_model = result.metrics[MODEL]
            names = [name for name in COLUMNS if name in of_model and not of_model[name].frames]
            if names:
                unmeasured[result.name] = names
        return unmeasured

    def json(self) -> str:
        """The report as JSON."""
        contents = {
            "task": self.task,
            "version": fomm_tf.__version__,
            **self.about,
            "overall": _as_json(self.rows()),
            "groups": {group: _as_json(self.rows(group)) for group in self.groups()},
            "videos": [
                {
                    "name": result.name,
                    "group": result.group,
                    "frames": result.frames,
                    **{
                        predictor: {name: values._asdict() for name, values in result.metrics[predictor].items()}
                        for predictor in PREDICTORS
                    },
                    "detections": result.detections,
                    "warnings": result.warnings,
                }
                for result in self.evaluated
            ],
            "skipped": [
                {"name": result.name, "reason": " ".join(result.warnings)}
                for result in self.results
                if not result.frames
            ],
        }
        return json.dumps(contents, indent=1) + "\n"

    def markdown(self) -> str:
        """The report as Markdown."""
        return "\n".join(self._lines()) + "\n"

    def summary(self) -> str:
        """The table of all videos alone, as Markdown."""
        return "\n".join([self._count(), "", *_table(self.rows())])

    def _lines(self) -> Iterator[str]:
        about, frame = self.about, "x".join(map(str, self.about["frame_size"]))
        yield from (f"# {self.task.capitalize()}: {about['run']}", "")
        model = f"Step {about['step']}, weights {about['weights_sha256'][:12]}, {about['engine']}"
        yield f"{model}, frames of {frame}; {about['videos']}."
        if self.task == ANIMATION:
            yield f"Transfer: {about['mode']}. The source-copy baseline repeats the source as the prediction."
        else:
            yield (
                "Each frame is reconstructed from the first one and its own keypoints (paper, sec. 4); the first one "
                "counts too, as in the reference. The source-copy baseline repeats the first frame as the prediction."
            )
        if about["points"] or about["embedding"]:
            yield f"Points: {about['points'] or 'none'}; embedding: {about['embedding'] or 'none'}. {_DETECTOR_NOTE}"
        if about["detectors"]:
            yield about["detectors"]
        yield from ("", self._count(), "", *_table(self.rows()))
        yield from ("", "Means over all frames, with 95 % bootstrap confidence intervals over videos in brackets.")
        for group, title in self.groups().items():
            number = sum(result.group == group for result in self.evaluated)
            yield from ("", f"## {title}: {_plural(number, 'video')}", "", *_table(self.rows(group)))
        yield from self._missing()
        yield from self._detections()
        yield from ("", "## Each video", "", *self._videos())

    def _count(self) -> str:
        skipped = len(self.results) - len(self.evaluated)
        frames = sum(result.frames for result in self.evaluated)
        missing = f"; {skipped} of {len(self.results)} could not be evaluated" if skipped else ""
        return f"{_plural(len(self.evaluated), 'video')}, {_plural(frames, 'frame')}{missing}."

    def _missing(self) -> Iterator[str]:
        skipped = [result for result in self.results if not result.frames]
        partial = [result for result in self.evaluated if result.warnings]
        if skipped or partial or self.unmeasured():
            yield from ("", "## Missing from the means", "")
        for result in skipped:
            yield f"- {result.name} could not be evaluated: {' '.join(result.warnings)}"
        for result in partial:
            yield f"- {result.name} counts with {result.frames} frames: {' '.join(result.warnings)}"
        for name, columns in self.unmeasured().items():
            reasons = dict.fromkeys(COLUMNS[column].missing for column in columns)
            titles = "; ".join(COLUMNS[column].title for column in columns)
            yield f"- {name} is not in {titles}: {' / '.join(reasons)} in any of its frames."

    def _detections(self) -> Iterator[str]:
        for kind in ("points", "embeddings"):
            counts = [result.detections[kind] for result in self.evaluated if kind in result.detections]
            if counts:
                totals = {frames: sum(count.get(frames, 0) for count in counts) for frames in ("truth", "generated")}
                parts = [f"{totals['truth']} ground truth frames"] * ("truth" in counts[0])
                parts.append(f"{totals['generated']} generated frames")
                frames = sum(result.frames for result in self.evaluated)
                yield from ("", f"Frames with detected {kind}: {' and '.join(parts)}, of {frames} each.")

    def _videos(self) -> Iterator[str]:
        names = [name for name in self.rows() if name != L1_RATIO]
        yield "| video | frames | " + " | ".join(COLUMNS[name].title for name in names) + " |"
        yield "|---" * (2 + len(names)) + "|"
        for result in self.evaluated:
            cells = [_video_cell(result, name) for name in names]
            yield f"| {result.name} | {result.frames} | {' | '.join(cells)} |"
        yield from ("", "Each cell: the model, and the source-copy baseline in brackets.")


def _row(accumulators: Sequence[MetricAccumulator | None]) -> Row | None:
    """None if the metric was not requested; an interval of NaN if no frame has a value."""
    requested = [values for values in accumulators if values is not None]
    measured = [values for values in requested if values.frames]
    if not requested:
        return None
    value = metrics.Interval(*[float("nan")] * 3)
    if measured:
        value = metrics.bootstrap(*zip(*((values.total, values.frames) for values in measured), strict=True))
    frames, missing = (sum(getattr(values, name) for values in requested) for name in ("frames", "missing"))
    return Row(value, len(measured), frames, missing)


def _table(rows: dict[str, dict[str, Row]]) -> Iterator[str]:
    yield "| | model | source-copy baseline | over | frames without a value |"
    yield "|---|---|---|---|---|"
    for name, row in rows.items():
        title, digits = (_L1_RATIO_TITLE, 3) if name == L1_RATIO else (COLUMNS[name].title, COLUMNS[name].digits)
        cells = [_cell(row.get(predictor), digits) for predictor in PREDICTORS]
        over = f"{_plural(row[MODEL].videos, 'video')}, {_plural(row[MODEL].frames, 'frame')}"
        if SOURCE_COPY in row and row[SOURCE_COPY].frames != row[MODEL].frames:
            over += f"; baseline {row[SOURCE_COPY].frames}"
        missing = [row[predictor].missing for predictor in PREDICTORS if predictor in row]
        reason = f" ({COLUMNS[name].missing})" if any(missing) and name != L1_RATIO else ""
        counts = f"{missing[0]}" if len(set(missing)) == 1 else f"model {missing[0]}, baseline {missing[1]}"
        yield f"| {title} | {cells[0]} | {cells[1]} | {over} | {counts}{reason} |"


def _cell(row: Row | None, digits: int) -> str:
    if row is None or not row.frames:
        return _NONE
    # A single video cannot be resampled.
    return f"{row.value:.{digits}f}" if row.videos > 1 else f"{row.value.value:.{digits}f}"


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _video_cell(result: VideoResult, name: str) -> str:
    means = [result.metrics[predictor].get(name, MetricAccumulator()).mean for predictor in PREDICTORS]
    digits = COLUMNS[name].digits
    model, copied = (_NONE if mean is None else f"{mean:.{digits}f}" for mean in means)
    return model if name not in result.metrics[SOURCE_COPY] else f"{model} ({copied})"


def _as_json(rows: dict[str, dict[str, Row]]) -> dict[str, Any]:
    """Replaces NaN, which JSON does not have, by None."""
    return {
        name: {
            predictor: row._asdict() | {"value": row.value._asdict() if row.frames else None}
            for predictor, row in by_predictor.items()
        }
        for name, by_predictor in rows.items()
    }

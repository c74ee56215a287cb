"""report.md and report.json of `fomm_tf.experiments.personalization`: each person before and after fine-tuning."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

import fomm_tf
from fomm_tf import evaluation
from fomm_tf.evaluation import metrics, protocol

BEFORE = "before"
_COLUMNS = ("l1", "psnr", "akd", "aed")
_ALL = "all"


class Table:
    """The results.

    Args:
      command: the command line.
      start: the model.
      results: title of a variant, `BEFORE` first -> person -> the evaluation of the person's test clips.
      counts: title of a variant -> person -> number of the best step.
    """

    def __init__(
        self,
        command: str,
        start: str,
        results: dict[str, dict[str, evaluation.Report]],
        counts: dict[str, dict[str, int]],
    ) -> None:
        self._command, self._start, self._results, self._counts = command, start, results, counts
        first = next(iter(results[BEFORE].values()))
        rows = first.rows()
        self._columns = [name for name in _COLUMNS if name in rows]
        self._pooled = {title: self._pool(title) for title in results}

    def _pool(self, title: str) -> evaluation.Report:
        """The clips of all people as one evaluation."""
        reports = list(self._results[title].values())
        return reports[0]._replace(results=tuple(result for report in reports for result in report.results))

    def change(self, title: str, metric: str) -> metrics.Interval | None:
        """Mean change of a metric, clip by clip; None if no clip has a value before and after."""
        before, after = (
            {
                (person, result.name): result.metrics[protocol.MODEL][metric].mean
                for person, result in self._clips(which)
            }
            for which in (BEFORE, title)
        )
        pairs = [(after[clip], before[clip]) for clip in before if None not in (after.get(clip), before[clip])]
        return metrics.bootstrap(np.subtract(*np.transpose(pairs))) if pairs else None

    def _clips(self, title: str) -> Iterator[tuple]:
        for person, report in self._results[title].items():
            yield from ((person, result) for result in report.evaluated)

    def markdown(self) -> str:
        """The report as Markdown."""
        return "\n".join(["# Fine-tuning for one person", "", f"`{self._command}`", "", *self._lines()]) + "\n"

    def table(self) -> str:
        """The table alone, as Markdown."""
        return "\n".join(self._rows())

    def json(self) -> str:
        """The report as JSON."""
        people = {
            title: {person: self._values(report) for person, report in reports.items()}
            for title, reports in self._results.items()
        }
        changes = {
            title: {
                name: change and change._asdict() for name in self._columns for change in [self.change(title, name)]
            }
            for title in self._counts
        }
        about = {"version": fomm_tf.__version__, "command": self._command, "start": self._start}
        pooled = {title: self._values(report) for title, report in self._pooled.items()}
        contents = about | {"people": people, _ALL: pooled, "changes": changes, "best_steps": self._counts}
        return json.dumps(contents, indent=1) + "\n"

    def _values(self, report: evaluation.Report) -> dict:
        rows = report.rows()
        return {
            name: {predictor: row.value._asdict() if row.frames else None for predictor, row in rows[name].items()}
            for name in self._columns
        }

    def _lines(self) -> Iterator[str]:
        yield f"The model {self._start}, fine-tuned for each person, on later clips of this person."
        yield "A clip is reconstructed from its first frame and its keypoints, as by fomm evaluate."
        yield from ("", *self._rows(), "")
        yield (
            "Means over all frames, with 95 % bootstrap confidence intervals over clips in brackets; changes are means "
            "over clips. Clips of one video resemble each other, so the intervals are too narrow for other videos."
        )

    def _rows(self) -> Iterator[str]:
        titles = [protocol.COLUMNS[name].title for name in self._columns]
        yield f"| person | clips | model | best step | {' | '.join(titles)} |"
        yield "|---" * (4 + len(titles)) + "|"
        for person in self._results[BEFORE]:
            yield from self._group(person, {title: reports[person] for title, reports in self._results.items()})
        if len(self._results[BEFORE]) > 1:
            yield from self._group(_ALL, self._pooled)
        for title in self._counts:
            cells = [self._change_cell(title, name) for name in self._columns]
            yield f"| {_ALL} | {len(self._pooled[title].evaluated)} | change: {title} | | {' | '.join(cells)} |"

    def _group(self, person: str, reports: dict[str, evaluation.Report]) -> Iterator[str]:
        clips = len(reports[BEFORE].evaluated)
        copied = reports[BEFORE].rows()
        cells = [_cell(copied[name].get(protocol.SOURCE_COPY), name) for name in self._columns]
        yield f"| {person} | {clips} | source-copy baseline | | {' | '.join(cells)} |"
        for title, report in reports.items():
            rows, step = report.rows(), self._counts.get(title, {}).get(person, "")
            cells = [_cell(rows[name][protocol.MODEL], name) for name in self._columns]
            yield f"| {person} | {clips} | {title} | {step} | {' | '.join(cells)} |"

    def _change_cell(self, title: str, name: str) -> str:
        change, digits = self.change(title, name), protocol.COLUMNS[name].digits
        return "none" if change is None else f"{change:+.{digits}f}"


def _cell(row: evaluation.Row | None, name: str) -> str:
    digits = protocol.COLUMNS[name].digits
    if row is None or not row.frames:
        return "none"
    # A single clip cannot be resampled.
    return f"{row.value:.{digits}f}" if row.videos > 1 else f"{row.value.value:.{digits}f}"

"""report.md and report.json of Table 3: the methods, their differences, and whether they have the paper's order.

Convention: values are those of `ablation_report`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import NamedTuple

import fomm_tf
from fomm_tf.experiments import ablation_plan, ablation_report
from fomm_tf.experiments.ablation_report import COLUMNS, SOURCE_COPY, Difference, Mean


class Method(NamedTuple):
    """A row of Table 3."""

    title: str  # the paper's name
    paper_l1: float  # the paper's L1, on Tai-Chi-HD


# In the paper's order, from the largest L1 to the smallest.
METHODS = {
    "x2face": Method("X2Face", 0.080),
    "monkey-net": Method("Monkey-Net", 0.077),
    "fomm": Method("First order", 0.063),
}


class Report:
    """The finished runs of Table 3.

    Args:
      about: what is compared.
      reports: methods in the order of the table, each with at least one run.
    """

    def __init__(self, about: ablation_report.About, reports: ablation_report.RunReports) -> None:
        self._about, self._reports = about, reports
        self._runs = [run for by_seed in reports.values() for run in by_seed.values()]
        self._columns = ablation_report.measured(self._runs)
        self._means: dict[str, dict[str, Mean]] = {
            name: {column: ablation_report.mean(list(by_seed.values()), column) for column in self._columns}
            for name, by_seed in reports.items()
        }
        self._copied = {
            column: ablation_report.mean(self._runs[:1], column, SOURCE_COPY).value for column in self._columns
        }
        self._differences = {
            (one, other): self._compare(one, other)
            for one, other in itertools.combinations(reports, 2)
            if reports[one].keys() & reports[other].keys()
        }

    def json(self) -> str:
        """The report as JSON."""
        rows = {
            name: {
                "title": METHODS[name].title,
                "seeds": list(self._reports[name]),
                "means": {column: value._asdict() for column, value in means.items()},
            }
            for name, means in self._means.items()
        }
        differences = {
            f"{one} - {other}": {column: each._asdict() for column, each in columns.items()}
            for (one, other), columns in self._differences.items()
        }
        about = {"version": fomm_tf.__version__, **self._about._asdict()}
        contents = about | {"source_copy": self._copied, "methods": rows, "differences": differences}
        return json.dumps(contents, indent=1) + "\n"

    def markdown(self) -> str:
        """The report as Markdown."""
        return "\n".join(self._lines()) + "\n"

    def table(self) -> str:
        """The table alone, as Markdown."""
        return "\n".join(self._table())

    def _compare(self, one: str, other: str) -> dict[str, Difference]:
        seeds = [seed for seed in self._reports[one] if seed in self._reports[other]]
        runs = [[self._reports[name][seed] for seed in seeds] for name in (one, other)]
        return {column: ablation_report.compare(*runs, column) for column in self._columns}

    def _lines(self) -> Iterator[str]:
        about, seeds = self._about, ", ".join(map(str, self._about.seeds))
        yield from ("# Table 3", "", f"`{about.command}`", "")
        trained = f"{about.steps} steps each" if about.steps else "as many epochs each"
        detectors = self._runs[0][ablation_plan.RECONSTRUCTION]["detectors"]
        yield f"Data {about.data}, {trained}, seeds {seeds}; the last checkpoints. {detectors}".strip()
        if len(self._runs) < about.runs:
            yield from ("", f"**{len(self._runs)} of {about.runs} runs so far.**")
        yield from ("", *self._table(), "")
        yield (
            "Means over all frames, then over the seeds, with minimum and maximum over seeds in brackets. The paper's "
            "L1 is for other data, larger frames and far longer training: only the order can be compared."
        )
        if self._differences:
            yield from ("", "## Differences", "", *self._table_of_differences(), "")
            yield (
                "The first method's value minus the second's, over the same seeds, with the 95 % bootstrap confidence "
                "interval over test videos in brackets (seeds are not resampled), and the number of seeds for which "
                "the first one is worse."
            )
            yield from ("", *self._order())
        for file, caption in about.images.items():
            yield from ("", f"![{caption}]({file})", "", f"*{caption}.*")

    def _table(self) -> Iterator[str]:
        titles = [COLUMNS[column].title for column in self._columns]
        yield from ablation_report.head(["", *titles, "L1 / source-copy baseline", "paper's L1, Tai-Chi-HD"])
        copied = [f"{value:.{COLUMNS[column].digits}f}" for column, value in self._copied.items()]
        yield ablation_report.row(["source-copy baseline", *copied, "1", ""])
        for name, means in self._means.items():
            method, ratio = METHODS[name], means["l1"].value / self._copied["l1"]
            cells = ablation_report.cells(means)
            yield ablation_report.row([method.title, *cells, f"{ratio:.3f}", f"{method.paper_l1:.3f}"])

    def _table_of_differences(self) -> Iterator[str]:
        yield from ablation_report.head(["", *(COLUMNS[column].title for column in self._columns)])
        for (one, other), columns in self._differences.items():
            title = f"{METHODS[one].title} - {METHODS[other].title}"
            yield ablation_report.row([title, *ablation_report.difference_cells(columns)])

    def _order(self) -> Iterator[str]:
        """Whether each pair has the paper's order in L1."""
        for (one, other), columns in self._differences.items():
            worse, better = METHODS[one].title, METHODS[other].title
            low, high = columns["l1"].low, columns["l1"].high
            verdict = "is not decided: the interval holds 0"
            if low > 0 or high < 0:
                verdict = "is reproduced" if low > 0 else "is reversed"
            yield f"- The paper's order, {worse} worse than {better} in L1, {verdict}."

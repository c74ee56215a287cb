"""report.md and report.json of an ablation: the paper's Table 1, differences to Full, and Table 3."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import fomm_tf
from fomm_tf.experiments import ablation_plan as plan
from fomm_tf.experiments import ablation_statistics as statistics

# Variant -> seed -> reports of its evaluations.
RunReports = Mapping[str, Mapping[int, plan.Reports]]


class About(NamedTuple):
    """What is compared.

    Attributes:
      command: the command line.
      recipe: the base recipe.
      steps: of each run; None if the recipe counts epochs.
      seeds: of the runs.
      runs: number of runs, unfinished ones included.
      data: the data set.
      pairs: the list of pairs to animate, or None.
      images: file name -> caption.
    """

    command: str
    recipe: str
    steps: int | None
    seeds: tuple[int, ...]
    runs: int
    data: str
    pairs: str | None
    images: Mapping[str, str] = {}


class Report:
    """The finished runs of an ablation.

    Args:
      about: what is compared.
      reports: variants in the order of the table, each with at least one run.
    """

    def __init__(self, about: About, reports: RunReports) -> None:
        self._about, self._reports = about, reports
        self._runs = [run for by_seed in reports.values() for run in by_seed.values()]
        self._columns = statistics.measured(self._runs)
        self._means = {
            name: {column: statistics.mean(list(by_seed.values()), column) for column in self._columns}
            for name, by_seed in reports.items()
        }
        self._source_copy = {
            column: statistics.mean(self._runs[:1], column, statistics.SOURCE_COPY) for column in self._columns
        }
        self._differences = {name: self._compare(name) for name in reports if name != plan.FULL}

    def json(self) -> str:
        """The report as JSON."""
        rows = {
            name: {
                "title": plan.VARIANTS[name].title,
                "changes": plan.changes(name),
                "seeds": list(by_seed),
                "means": {column: mean._asdict() for column, mean in self._means[name].items()},
                "minus_full": {
                    column: difference._asdict() for column, difference in self._differences.get(name, {}).items()
                },
            }
            for name, by_seed in self._reports.items()
        }
        source_copy = {column: mean.value for column, mean in self._source_copy.items()}
        contents = {
            "version": fomm_tf.__version__,
            **self._about._asdict(),
            "source_copy": source_copy,
            "variants": rows,
        }
        return json.dumps(contents, indent=1) + "\n"

    def markdown(self) -> str:
        """The report as Markdown."""
        return "\n".join(self._lines()) + "\n"

    def table(self) -> str:
        """The paper's Table 1 alone, as Markdown."""
        return "\n".join(self._table_1())

    def _compare(self, name: str) -> dict[str, statistics.Difference]:
        mine, full = self._reports[name], self._reports.get(plan.FULL, {})
        seeds = [seed for seed in mine if seed in full]
        if not seeds:
            return {}
        runs = [[which[seed] for seed in seeds] for which in (mine, full)]
        return {column: statistics.compare(*runs, column) for column in self._columns}

    def _lines(self) -> Iterator[str]:
        about, seeds = self._about, ", ".join(map(str, self._about.seeds))
        yield from ("# Ablation", "", f"`{about.command}`", "")
        trained = f"{about.steps} steps" if about.steps else "as long as it says"
        yield (
            f"Recipe {about.recipe}, {trained}, seeds {seeds}, data {about.data}; a variant changes only the keys "
            f"listed below. {self._evaluated()}"
        )
        if len(self._runs) < about.runs:
            yield from ("", f"**{len(self._runs)} of {about.runs} runs so far.**")
        yield from ("", "## Table 1", "", *self._table_1(), "")
        yield (
            "Means over all frames, then over the seeds, with minimum and maximum over seeds in brackets. The paper's "
            "L1 is for other data, larger frames and far longer training: only the order can be compared."
        )
        if {"akd", "aed"} & set(self._columns):
            yield "AKD, MKR and AED come from other detectors than the paper's."
        if self._animates():
            yield (
                "Animation L1: images animated by other characters' clips, against the ground truth, "
                f"{self._count(plan.ANIMATION)}."
            )
        if any(self._differences.values()):
            yield from ("", "## Against Full", "", *self._table_of_differences(), "")
            yield (
                "A variant's value minus Full's, over the same seeds, with the 95 % bootstrap confidence interval over "
                "test videos in brackets (seeds are not resampled), and the number of seeds for which the variant is "
                "worse than Full."
            )
        if plan.FULL in self._reports:
            yield from ("", "## As Table 3", "", *self._table_3())
        yield from ("", "## Changes of the variants", "", "| | relative to Full |", "|---|---|")
        for name in self._reports:
            changed = ", ".join(f"`{key}={json.dumps(value)}`" for key, value in plan.changes(name).items())
            yield f"| {plan.VARIANTS[name].title} | {changed or 'nothing'} |"
        for file, caption in about.images.items():
            yield from ("", f"![{caption}]({file})", "", f"*{caption}.*")

    def _evaluated(self) -> str:
        first = self._runs[0][plan.RECONSTRUCTION]
        skipped = f", {len(first['skipped'])} could not be evaluated" if first["skipped"] else ""
        detectors = f" {first['detectors']}" if first["detectors"] else ""
        return f"Evaluated: the last checkpoint, {self._count(plan.RECONSTRUCTION)}{skipped}.{detectors}"

    def _count(self, task: str) -> str:
        first = self._runs[0][task]
        frames = sum(one["frames"] for one in first["videos"])
        return f"{len(first['videos'])} videos, {frames} frames"

    def _animates(self) -> bool:
        return any(statistics.COLUMNS[name].task == plan.ANIMATION for name in self._columns)

    def _table_1(self) -> Iterator[str]:
        yield from _head(["", *self._titles(), "paper's L1, Tai-Chi-HD"])
        for name in self._reports:
            variant = plan.VARIANTS[name]
            yield _row([variant.title, *self._cells(self._means[name]), f"{variant.paper_l1:.3f}"])

    def _table_of_differences(self) -> Iterator[str]:
        yield from _head(["", *self._titles()])
        for name, differences in self._differences.items():
            cells = []
            for column, (value, low, high, worse, seeds) in differences.items():
                digits = statistics.COLUMNS[column].digits
                interval = f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"
                cells.append(f"{interval}, worse in {worse} of {seeds}")
            if cells:
                yield _row([plan.VARIANTS[name].title, *cells])

    def _table_3(self) -> Iterator[str]:
        yield from _head(["", *self._titles(), "L1 / L1 of the source-copy baseline"])
        copied = {
            column: f"{mean.value:.{statistics.COLUMNS[column].digits}f}" for column, mean in self._source_copy.items()
        }
        yield _row(["source-copy baseline", *copied.values(), "1"])
        for name, title in ((plan.ZEROTH_ORDER, "zeroth order (Pyr.+O)"), (plan.FULL, "first order (Full)")):
            if name in self._reports:
                ratio = self._means[name]["l1"].value / self._source_copy["l1"].value
                yield _row([title, *self._cells(self._means[name]), f"{ratio:.3f}"])

    def _titles(self) -> list[str]:
        return [statistics.COLUMNS[column].title for column in self._columns]

    def _cells(self, means: Mapping[str, statistics.Mean]) -> Iterator[str]:
        for column, (value, low, high, seeds) in means.items():
            digits = statistics.COLUMNS[column].digits
            spread = f" ({low:.{digits}f} to {high:.{digits}f})" if len(seeds) > 1 else ""
            yield f"{value:.{digits}f}{spread}"


def _head(titles: list[str]) -> Iterator[str]:
    yield _row(titles)
    yield "|---" * len(titles) + "|"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"

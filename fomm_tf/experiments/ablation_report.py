"""report.md and report.json of an ablation: the paper's Table 1, differences to Full, and Table 3."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import fomm_tf
from fomm_tf.experiments import ablation_plan, ablation_statistics

# Variant -> seed -> reports of its evaluations.
RunReports = Mapping[str, Mapping[int, ablation_plan.Reports]]


class About(NamedTuple):
    """What is compared."""

    command: str  # the command line
    recipe: str  # the base recipe
    steps: int | None  # of each run; None if the recipe counts epochs
    seeds: tuple[int, ...]  # of the runs
    runs: int  # number of runs, unfinished ones included
    data: str  # the data set
    pairs: str | None  # the list of pairs to animate, or None
    images: Mapping[str, str] = {}  # file name -> caption


class Report:
    """The finished runs of an ablation.

    Args:
      about: what is compared.
      reports: variants in the order of the table, each with at least one run.
    """

    def __init__(self, about: About, reports: RunReports) -> None:
        self._about, self._reports = about, reports
        self._runs = [run for by_seed in reports.values() for run in by_seed.values()]
        self._columns = ablation_statistics.measured(self._runs)
        self._means = {
            name: {column: ablation_statistics.mean(list(by_seed.values()), column) for column in self._columns}
            for name, by_seed in reports.items()
        }
        self._source_copy = {
            column: ablation_statistics.mean(self._runs[:1], column, ablation_statistics.SOURCE_COPY)
            for column in self._columns
        }
        self._differences = {name: self._compare(name) for name in reports if name != ablation_plan.FULL}

    def json(self) -> str:
        """The report as JSON."""
        rows = {
            name: {
                "title": ablation_plan.VARIANTS[name].title,
                "changes": ablation_plan.changes(name),
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

    def _compare(self, name: str) -> dict[str, ablation_statistics.Difference]:
        mine, full = self._reports[name], self._reports.get(ablation_plan.FULL, {})
        seeds = [seed for seed in mine if seed in full]
        if not seeds:
            return {}
        runs = [[which[seed] for seed in seeds] for which in (mine, full)]
        return {column: ablation_statistics.compare(*runs, column) for column in self._columns}

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
                f"{self._count(ablation_plan.ANIMATION)}."
            )
        if any(self._differences.values()):
            yield from ("", "## Against Full", "", *self._table_of_differences(), "")
            yield (
                "A variant's value minus Full's, over the same seeds, with the 95 % bootstrap confidence interval over "
                "test videos in brackets (seeds are not resampled), and the number of seeds for which the variant is "
                "worse than Full."
            )
        if ablation_plan.FULL in self._reports:
            yield from ("", "## As Table 3", "", *self._table_3())
        yield from ("", "## Changes of the variants", "", "| | relative to Full |", "|---|---|")
        for name in self._reports:
            changed = ", ".join(f"`{key}={json.dumps(value)}`" for key, value in ablation_plan.changes(name).items())
            yield f"| {ablation_plan.VARIANTS[name].title} | {changed or 'nothing'} |"
        for file, caption in about.images.items():
            yield from ("", f"![{caption}]({file})", "", f"*{caption}.*")

    def _evaluated(self) -> str:
        first = self._runs[0][ablation_plan.RECONSTRUCTION]
        skipped = f", {len(first['skipped'])} could not be evaluated" if first["skipped"] else ""
        detectors = f" {first['detectors']}" if first["detectors"] else ""
        return f"Evaluated: the last checkpoint, {self._count(ablation_plan.RECONSTRUCTION)}{skipped}.{detectors}"

    def _count(self, task: str) -> str:
        first = self._runs[0][task]
        frames = sum(result["frames"] for result in first["videos"])
        return f"{len(first['videos'])} videos, {frames} frames"

    def _animates(self) -> bool:
        return any(ablation_statistics.COLUMNS[name].task == ablation_plan.ANIMATION for name in self._columns)

    def _table_1(self) -> Iterator[str]:
        yield from _head(["", *self._titles(), "paper's L1, Tai-Chi-HD"])
        for name in self._reports:
            variant = ablation_plan.VARIANTS[name]
            yield _row([variant.title, *self._cells(self._means[name]), f"{variant.paper_l1:.3f}"])

    def _table_of_differences(self) -> Iterator[str]:
        yield from _head(["", *self._titles()])
        for name, differences in self._differences.items():
            cells = []
            for column, (value, low, high, worse, seeds) in differences.items():
                digits = ablation_statistics.COLUMNS[column].digits
                interval = f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"
                cells.append(f"{interval}, worse in {worse} of {seeds}")
            if cells:
                yield _row([ablation_plan.VARIANTS[name].title, *cells])

    def _table_3(self) -> Iterator[str]:
        yield from _head(["", *self._titles(), "L1 / L1 of the source-copy baseline"])
        copied = {
            column: f"{mean.value:.{ablation_statistics.COLUMNS[column].digits}f}"
            for column, mean in self._source_copy.items()
        }
        yield _row(["source-copy baseline", *copied.values(), "1"])
        for name, title in (
            (ablation_plan.ZEROTH_ORDER, "zeroth order (Pyr.+O)"),
            (ablation_plan.FULL, "first order (Full)"),
        ):
            if name in self._reports:
                ratio = self._means[name]["l1"].value / self._source_copy["l1"].value
                yield _row([title, *self._cells(self._means[name]), f"{ratio:.3f}"])

    def _titles(self) -> list[str]:
        return [ablation_statistics.COLUMNS[column].title for column in self._columns]

    def _cells(self, means: Mapping[str, ablation_statistics.Mean]) -> Iterator[str]:
        for column, (value, low, high, seeds) in means.items():
            digits = ablation_statistics.COLUMNS[column].digits
            spread = f" ({low:.{digits}f} to {high:.{digits}f})" if len(seeds) > 1 else ""
            yield f"{value:.{digits}f}{spread}"


def _head(titles: list[str]) -> Iterator[str]:
    yield _row(titles)
    yield "|---" * len(titles) + "|"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"

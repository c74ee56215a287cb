"""report.md and report.json of an ablation: the paper's Table 1, differences to Full, and Table 3.

Convention: the value of a run is the mean over the frames of all test videos, as in `fomm_tf.evaluation`; the value of
a variant is the mean over its runs, one per seed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

import fomm_tf
from fomm_tf.experiments import ablation_plan
from fomm_tf.experiments.ablation_plan import ANIMATION, RECONSTRUCTION, Reports

MODEL, SOURCE_COPY = "model", "source_copy"
_RESAMPLINGS = 2000
# Variant -> seed -> reports of its evaluations.
RunReports = Mapping[str, Mapping[int, Reports]]


class Column(NamedTuple):
    """A column of the tables."""

    title: str  # with its unit
    task: str  # of the evaluation
    metric: str  # its name in the evaluation
    digits: int  # digits after the decimal point
    better: int  # 1 if higher is better, -1 if lower is better


COLUMNS = {
    "l1": Column("L1", RECONSTRUCTION, "l1", 4, -1),
    "akd": Column("AKD, pixels", RECONSTRUCTION, "akd", 3, -1),
    "mkr": Column("MKR", RECONSTRUCTION, "mkr", 4, -1),
    "aed": Column("AED", RECONSTRUCTION, "aed", 4, -1),
    "psnr": Column("PSNR, dB", RECONSTRUCTION, "psnr", 2, 1),
    "ssim": Column("SSIM", RECONSTRUCTION, "ssim", 4, 1),
    "animation_l1": Column("animation L1", ANIMATION, "l1", 4, -1),
}


class Mean(NamedTuple):
    """A mean over seeds."""

    value: float  # the mean
    low: float  # minimum over seeds
    high: float  # maximum over seeds
    seeds: tuple[float, ...]  # the value of each seed, in order


class Difference(NamedTuple):
    """A variant's mean over seeds minus Full's."""

    value: float  # over the seeds that both have
    # Lower end of the 95 % bootstrap confidence interval over videos; the same resampled videos are used for both
    # variants and for all seeds.
    low: float
    high: float  # upper end
    worse: int  # number of seeds for which the variant is worse than Full
    seeds: int  # number of seeds


class _Sums(NamedTuple):
    """Sum of a metric over the frames of each seed and video, and number of frames, `[S, V]` each."""

    totals: np.ndarray
    frames: np.ndarray

    def resampled(self, drawn: np.ndarray) -> np.ndarray:
        """The value of each seed over each row of video indices `drawn` `[R, V]`: `[S, R]`."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.totals[:, drawn].sum(-1) / self.frames[:, drawn].sum(-1)

    def overall(self) -> np.ndarray:
        """The value of each seed, `[S]`."""
        return self.resampled(np.arange(self.totals.shape[1])[np.newaxis])[:, 0]


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
        self._columns = measured(self._runs)
        self._means = {
            name: {column: mean(list(by_seed.values()), column) for column in self._columns}
            for name, by_seed in reports.items()
        }
        self._source_copy = {column: mean(self._runs[:1], column, SOURCE_COPY) for column in self._columns}
        full = reports.get(ablation_plan.FULL, {})
        self._differences = {
            name: self._compare(name)
            for name, by_seed in reports.items()
            if name != ablation_plan.FULL and by_seed.keys() & full.keys()
        }

    def json(self) -> str:
        """The report as JSON."""
        rows = {
            name: {
                "title": ablation_plan.VARIANTS[name].title,
                "changes": ablation_plan.changes(name),
                "seeds": list(by_seed),
                "means": {column: value._asdict() for column, value in self._means[name].items()},
                "minus_full": {
                    column: difference._asdict() for column, difference in self._differences.get(name, {}).items()
                },
            }
            for name, by_seed in self._reports.items()
        }
        copied = {column: each.value for column, each in self._source_copy.items()}
        about = {"version": fomm_tf.__version__, **self._about._asdict()}
        return json.dumps(about | {"source_copy": copied, "variants": rows}, indent=1) + "\n"

    def markdown(self) -> str:
        """The report as Markdown."""
        return "\n".join(self._lines()) + "\n"

    def table(self) -> str:
        """The paper's Table 1 alone, as Markdown."""
        return "\n".join(self._table_1())

    def _compare(self, name: str) -> dict[str, Difference]:
        mine, full = self._reports[name], self._reports[ablation_plan.FULL]
        seeds = [seed for seed in mine if seed in full]
        runs = [[which[seed] for seed in seeds] for which in (mine, full)]
        return {column: compare(*runs, column) for column in self._columns}

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
        if any(COLUMNS[name].task == ANIMATION for name in self._columns):
            yield (
                "Animation L1: images animated by other characters' clips, against the ground truth, "
                f"{self._count(ANIMATION)}."
            )
        if self._differences:
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
        first = self._runs[0][RECONSTRUCTION]
        skipped = f", {len(first['skipped'])} could not be evaluated" if first["skipped"] else ""
        detectors = f" {first['detectors']}" if first["detectors"] else ""
        return f"Evaluated: the last checkpoint, {self._count(RECONSTRUCTION)}{skipped}.{detectors}"

    def _count(self, task: str) -> str:
        first = self._runs[0][task]
        frames = sum(result["frames"] for result in first["videos"])
        return f"{len(first['videos'])} videos, {frames} frames"

    def _table_1(self) -> Iterator[str]:
        yield from head(["", *self._titles(), "paper's L1, Tai-Chi-HD"])
        for name in self._reports:
            variant = ablation_plan.VARIANTS[name]
            yield row([variant.title, *cells(self._means[name]), f"{variant.paper_l1:.3f}"])

    def _table_of_differences(self) -> Iterator[str]:
        yield from head(["", *self._titles()])
        for name, differences in self._differences.items():
            yield row([ablation_plan.VARIANTS[name].title, *difference_cells(differences)])

    def _table_3(self) -> Iterator[str]:
        yield from head(["", *self._titles(), "L1 / L1 of the source-copy baseline"])
        copied = [f"{each.value:.{COLUMNS[column].digits}f}" for column, each in self._source_copy.items()]
        yield row(["source-copy baseline", *copied, "1"])
        for name, title in (
            (ablation_plan.ZEROTH_ORDER, "zeroth order (Pyr.+O)"),
            (ablation_plan.FULL, "first order (Full)"),
        ):
            if name in self._reports:
                ratio = self._means[name]["l1"].value / self._source_copy["l1"].value
                yield row([title, *cells(self._means[name]), f"{ratio:.3f}"])

    def _titles(self) -> list[str]:
        return [COLUMNS[column].title for column in self._columns]


def measured(runs: Sequence[Reports]) -> list[str]:
    """The columns for which every run has a value."""
    return [name for name, column in COLUMNS.items() if all(_has(reports, column) for reports in runs)]


def mean(runs: Sequence[Reports], name: str, predictor: str = MODEL) -> Mean:
    """The mean of a column over the seeds of a variant.

    Args:
      runs: reports of one run per seed.
      name: a column of `measured`.
      predictor: `model` or `source_copy`.
    """
    column = COLUMNS[name]
    each = _sum(runs, column, predictor, _videos(runs, column)).overall()
    return Mean(float(each.mean()), float(each.min()), float(each.max()), tuple(map(float, each)))


def compare(runs: Sequence[Reports], full: Sequence[Reports], name: str) -> Difference:
    """The difference between a variant and Full.

    Args:
      runs: reports of the variant, one run per seed.
      full: reports of Full, for the same seeds.
      name: a column of `measured`.
    """
    column = COLUMNS[name]
    videos = _videos([*runs, *full], column)
    mine, theirs = (_sum(which, column, MODEL, videos) for which in (runs, full))
    drawn = np.random.default_rng(0).integers(0, len(videos), [_RESAMPLINGS, len(videos)])
    resampled = (mine.resampled(drawn) - theirs.resampled(drawn)).mean(axis=0)
    resampled = resampled[np.isfinite(resampled)]
    ends = np.percentile(resampled, [2.5, 97.5]) if len(resampled) else (np.nan, np.nan)
    each = mine.overall() - theirs.overall()
    return Difference(float(each.mean()), *map(float, ends), int((each * column.better < 0).sum()), len(each))


def _has(reports: Reports, column: Column) -> bool:
    of = reports.get(column.task, {"overall": {}})["overall"].get(column.metric, {})
    return all(of.get(predictor, {}).get("value") is not None for predictor in (MODEL, SOURCE_COPY))


def _videos(runs: Sequence[Reports], column: Column) -> list[str]:
    return sorted({result["name"] for reports in runs for result in reports[column.task]["videos"]})


def _sum(runs: Sequence[Reports], column: Column, predictor: str, videos: Sequence[str]) -> _Sums:
    totals, frames = np.zeros([2, len(runs), len(videos)])
    places = {name: place for place, name in enumerate(videos)}
    for seed, reports in enumerate(runs):
        for result in reports[column.task]["videos"]:
            values = result[predictor].get(column.metric)
            if values is not None:
                totals[seed, places[result["name"]]] = values["total"]
                frames[seed, places[result["name"]]] = values["frames"]
    return _Sums(totals, frames)


def cells(means: Mapping[str, Mean]) -> Iterator[str]:
    """Cells of a table: column -> its mean, with the spread over seeds."""
    for column, (value, low, high, seeds) in means.items():
        digits = COLUMNS[column].digits
        spread = f" ({low:.{digits}f} to {high:.{digits}f})" if len(seeds) > 1 else ""
        yield f"{value:.{digits}f}{spread}"


def difference_cells(differences: Mapping[str, Difference]) -> Iterator[str]:
    """Cells of a table: column -> its difference, with the confidence interval and the count of seeds."""
    for column, (value, low, high, worse, seeds) in differences.items():
        digits = COLUMNS[column].digits
        interval = f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"
        yield f"{interval}, worse in {worse} of {seeds}"


def head(titles: list[str]) -> Iterator[str]:
    """The header rows of a table."""
    yield row(titles)
    yield "|---" * len(titles) + "|"


def row(cells: list[str]) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"

"""report.md and report.json: the paper's Table 1, its differences with intervals, and Table 3's comparison."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import fomm_tf
from fomm_tf.ablation import numbers, variants, work

# Variant -> seed -> what its evaluations wrote.
Found = Mapping[str, Mapping[int, numbers.Reports]]


class About(NamedTuple):
    """What was compared.

    Attributes:
      command: that did it.
      recipe: the base recipe.
      steps: of each run; None if the recipe counts epochs.
      seeds: of the runs that are wanted.
      wanted: how many runs are.
      data: what they are trained on.
      pairs: what is animated, or None.
      pictures: file name -> caption.
    """

    command: str
    recipe: str
    steps: int | None
    seeds: tuple[int, ...]
    wanted: int
    data: str
    pairs: str | None
    pictures: Mapping[str, str] = {}


class Report:
    """An ablation as far as it is done.

    Args:
      about: what was compared.
      found: variants in the order of the table, each with a run at least.
    """

    def __init__(self, about: About, found: Found) -> None:
        self._about, self._found = about, found
        self._runs = [reports for of in found.values() for reports in of.values()]
        self._columns = numbers.measured(self._runs)
        self._means = {
            name: {column: numbers.mean(list(of.values()), column) for column in self._columns}
            for name, of in found.items()
        }
        self._copying = {column: numbers.mean(self._runs[:1], column, numbers.COPYING) for column in self._columns}
        self._differences = {name: self._compare(name) for name in found if name != variants.FULL}

    def json(self) -> str:
        """All of it, to be read by programs."""
        rows = {
            name: {
                "title": variants.VARIANTS[name].title,
                "changes": variants.changes(name),
                "seeds": list(of),
                "means": {column: mean._asdict() for column, mean in self._means[name].items()},
                "minus_full": {
                    column: difference._asdict() for column, difference in self._differences.get(name, {}).items()
                },
            }
            for name, of in self._found.items()
        }
        copying = {column: mean.value for column, mean in self._copying.items()}
        contents = {"version": fomm_tf.__version__, **self._about._asdict(), "copying": copying, "variants": rows}
        return json.dumps(contents, indent=1) + "\n"

    def markdown(self) -> str:
        """All of it, to be read by people."""
        return "\n".join(self._lines()) + "\n"

    def table(self) -> str:
        """The paper's Table 1 alone."""
        return "\n".join(self._table_1())

    def _compare(self, name: str) -> dict[str, numbers.Difference]:
        mine, full = self._found[name], self._found.get(variants.FULL, {})
        seeds = [seed for seed in mine if seed in full]
        if not seeds:
            return {}
        runs = [[which[seed] for seed in seeds] for which in (mine, full)]
        return {column: numbers.compare(*runs, column) for column in self._columns}

    def _lines(self) -> Iterator[str]:
        about, seeds = self._about, ", ".join(map(str, self._about.seeds))
        yield from ("# Ablation", "", f"`{about.command}`", "")
        trained = f"{about.steps} steps" if about.steps else "as long as it says"
        yield (
            f"Recipe {about.recipe}, {trained}, seeds {seeds}, data {about.data}; a variant changes what is said below "
            f"and nothing else. {self._judged()}"
        )
        if len(self._runs) < about.wanted:
            yield from ("", f"**{len(self._runs)} of {about.wanted} runs so far.**")
        yield from ("", "## Table 1", "", *self._table_1(), "")
        yield (
            "Means over all frames, then over the seeds; in brackets the least and the greatest seed's. The paper's L1 "
            "is of other data, larger frames and far longer training: what can be compared is the order."
        )
        if {"akd", "aed"} & set(self._columns):
            yield "AKD, MKR and AED are by other detectors than the paper's."
        if self._animates():
            yield (
                "Animation's L1: pictures moved by others' clips, against the true animations, "
                f"{self._count(work.ANIMATION)}."
            )
        if any(self._differences.values()):
            yield from ("", "## Against Full", "", *self._table_of_differences(), "")
            yield (
                "A variant's number minus Full's, over the same seeds; in brackets the 95 % bootstrap interval: the "
                "test videos are resampled, the same ones for both, the seeds are not. Then in how many seeds the "
                "variant is worse than Full of that seed."
            )
        if variants.FULL in self._found:
            yield from ("", "## In the shape of Table 3", "", *self._table_3())
        yield from ("", "## What the variants change", "", "| | against Full |", "|---|---|")
        for name in self._found:
            changed = ", ".join(f"`{key}={json.dumps(value)}`" for key, value in variants.changes(name).items())
            yield f"| {variants.VARIANTS[name].title} | {changed or 'nothing'} |"
        for file, caption in about.pictures.items():
            yield from ("", f"![{caption}]({file})", "", f"*{caption}.*")

    def _judged(self) -> str:
        first = self._runs[0][work.RECONSTRUCTION]
        skipped = f", {len(first['skipped'])} could not be" if first["skipped"] else ""
        detectors = f" {first['detectors']}" if first["detectors"] else ""
        return f"Judged: the last checkpoint, {self._count(work.RECONSTRUCTION)}{skipped}.{detectors}"

    def _count(self, task: str) -> str:
        first = self._runs[0][task]
        frames = sum(one["frames"] for one in first["videos"])
        return f"{len(first['videos'])} videos, {frames} frames"

    def _animates(self) -> bool:
        return any(numbers.COLUMNS[name].task == work.ANIMATION for name in self._columns)

    def _table_1(self) -> Iterator[str]:
        yield from _head(["", *self._titles(), "paper's L1, Tai-Chi-HD"])
        for name in self._found:
            variant = variants.VARIANTS[name]
            yield _row([variant.title, *self._cells(self._means[name]), f"{variant.paper:.3f}"])

    def _table_of_differences(self) -> Iterator[str]:
        yield from _head(["", *self._titles()])
        for name, differences in self._differences.items():
            cells = []
            for column, (value, low, high, worse, seeds) in differences.items():
                digits = numbers.COLUMNS[column].digits
                interval = f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"
                cells.append(f"{interval}, worse in {worse} of {seeds}")
            if cells:
                yield _row([variants.VARIANTS[name].title, *cells])

    def _table_3(self) -> Iterator[str]:
        yield from _head(["", *self._titles(), "L1, share of copying"])
        copied = {column: f"{mean.value:.{numbers.COLUMNS[column].digits}f}" for column, mean in self._copying.items()}
        yield _row(["copying the source", *copied.values(), "1"])
        for name, title in ((variants.ZEROTH_ORDER, "zeroth order (Pyr.+O)"), (variants.FULL, "first order (Full)")):
            if name in self._found:
                share = self._means[name]["l1"].value / self._copying["l1"].value
                yield _row([title, *self._cells(self._means[name]), f"{share:.3f}"])

    def _titles(self) -> list[str]:
        return [numbers.COLUMNS[column].title for column in self._columns]

    def _cells(self, means: Mapping[str, numbers.Mean]) -> Iterator[str]:
        for column, (value, low, high, seeds) in means.items():
            digits = numbers.COLUMNS[column].digits
            spread = f" ({low:.{digits}f} to {high:.{digits}f})" if len(seeds) > 1 else ""
            yield f"{value:.{digits}f}{spread}"


def _head(titles: list[str]) -> Iterator[str]:
    yield _row(titles)
    yield "|---" * len(titles) + "|"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"

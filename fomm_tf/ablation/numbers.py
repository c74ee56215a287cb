"""What the evaluations found, over seeds and test videos.

Convention: the number of a run is the mean over the frames of all test videos, as `fomm_tf.inference.evaluation` takes
it; the number of a variant is the mean of its runs'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fomm_tf.ablation import work

MODEL, COPYING = "model", "source_copy"
_RESAMPLINGS = 2000


class Column(NamedTuple):
    """A column of the tables.

    Attributes:
      title: with its unit.
      task: the evaluation that it is from.
      metric: its name there.
      digits: behind the decimal point.
      better: 1 if more is better, -1 if less is.
    """

    title: str
    task: str
    metric: str
    digits: int
    better: int


COLUMNS = {
    "l1": Column("L1", work.RECONSTRUCTION, "l1", 4, -1),
    "akd": Column("AKD, pixels", work.RECONSTRUCTION, "akd", 3, -1),
    "mkr": Column("MKR", work.RECONSTRUCTION, "mkr", 4, -1),
    "aed": Column("AED", work.RECONSTRUCTION, "aed", 4, -1),
    "psnr": Column("PSNR, dB", work.RECONSTRUCTION, "psnr", 2, 1),
    "ssim": Column("SSIM", work.RECONSTRUCTION, "ssim", 4, 1),
    "animation_l1": Column("animation's L1", work.ANIMATION, "l1", 4, -1),
}

# Of one run: task -> what its report.json holds.
Reports = dict[str, dict[str, Any]]


class Mean(NamedTuple):
    """A number over seeds.

    Attributes:
      value: the mean.
      low: the least of the seeds.
      high: the greatest.
      seeds: each, in order.
    """

    value: float
    low: float
    high: float
    seeds: tuple[float, ...]


class Difference(NamedTuple):
    """A variant's mean over seeds minus Full's.

    Attributes:
      value: over the seeds that both have.
      low: end of the 95 % bootstrap interval: the videos are resampled, the same ones for both and for all seeds.
      high: its other end.
      worse: in how many seeds the variant is worse than Full of that seed.
      seeds: of how many.
    """

    value: float
    low: float
    high: float
    worse: int
    seeds: int


class _Sums(NamedTuple):
    """Of each seed and video, `[S, V]`: what a metric sums up to, and over how many frames."""

    totals: np.ndarray
    frames: np.ndarray

    def resampled(self, drawn: np.ndarray) -> np.ndarray:
        """The number of each seed over the videos `drawn` `[R, V]`, again and again: `[S, R]`."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.totals[:, drawn].sum(-1) / self.frames[:, drawn].sum(-1)

    def overall(self) -> np.ndarray:
        """The number of each seed, `[S]`."""
        return self.resampled(np.arange(self.totals.shape[1])[np.newaxis])[:, 0]


def measured(runs: Sequence[Reports]) -> list[str]:
    """The columns of which every run has a number."""
    return [name for name, column in COLUMNS.items() if all(_has(reports, column) for reports in runs)]


def mean(runs: Sequence[Reports], name: str, who: str = MODEL) -> Mean:
    """A column's number over the seeds of a variant.

    Args:
      runs: one a seed.
      name: of `measured`.
      who: `model`, or `copying` for the source taken as the answer.
    """
    column = COLUMNS[name]
    each = _sum(runs, column, who, _videos(runs, column)).overall()
    return Mean(float(each.mean()), float(each.min()), float(each.max()), tuple(map(float, each)))


def compare(runs: Sequence[Reports], full: Sequence[Reports], name: str) -> Difference:
    """How a variant differs from Full.

    Args:
      runs: the variant's, one a seed.
      full: Full's, of the same seeds.
      name: of `measured`.
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
    return all(of.get(who, {}).get("value") is not None for who in (MODEL, COPYING))


def _videos(runs: Sequence[Reports], column: Column) -> list[str]:
    return sorted({one["name"] for reports in runs for one in reports[column.task]["videos"]})


def _sum(runs: Sequence[Reports], column: Column, who: str, videos: Sequence[str]) -> _Sums:
    totals, frames = np.zeros([2, len(runs), len(videos)])
    places = {name: place for place, name in enumerate(videos)}
    for seed, reports in enumerate(runs):
        for one in reports[column.task]["videos"]:
            tally = one[who].get(column.metric)
            if tally is not None:
                totals[seed, places[one["name"]]] = tally["total"]
                frames[seed, places[one["name"]]] = tally["frames"]
    return _Sums(totals, frames)

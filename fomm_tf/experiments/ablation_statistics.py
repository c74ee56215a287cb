"""Statistics of an ablation over seeds and test videos.

Convention: the value of a run is the mean over the frames of all test videos, as in `fomm_tf.evaluation`; the value of
a variant is the mean over its runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fomm_tf.experiments.ablation_plan import ANIMATION, RECONSTRUCTION, Reports

MODEL, SOURCE_COPY = "model", "source_copy"
_RESAMPLINGS = 2000


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

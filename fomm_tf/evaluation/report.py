"""Results to tables: means over all frames, as the authors' scripts take them, with intervals over the videos."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import fomm_tf
from fomm_tf.inference import metrics
from fomm_tf.inference.evaluation.jobs import ANIMATION
from fomm_tf.inference.evaluation.result import COPYING, MODEL, WHO, Result, Tally
from fomm_tf.inference.evaluation.settings import COLUMNS

SHARE = "l1_share"
_NOTHING = "none"
_SHARE_TITLE = "L1, share of copying the source"
_GROUPS = {"known": "People of the training part", "others": "Others"}
_CAVEAT = (
    "Points and embeddings come from other detectors than the paper's: compare AKD, MKR and AED with each other, not "
    "with the paper's tables."
)


class Row(NamedTuple):
    """A metric over a set of videos.

    Attributes:
      value: its mean over all frames, with the interval of resampled videos.
      videos: over how many videos.
      frames: over how many frames.
      left_out: how many frames of these videos and of others have no such number.
    """

    value: metrics.Interval
    videos: int
    frames: int
    left_out: int


class Report(NamedTuple):
    """What an evaluation found.

    Attributes:
      task: `reconstruction` or `animation`.
      about: what was evaluated, by what.
      results: of all videos, in order; those without frames could not be evaluated.
    """

    task: str
    about: dict[str, Any]
    results: tuple[Result, ...]

    @property
    def judged(self) -> list[Result]:
        """Of the videos that could be evaluated."""
        return [one for one in self.results if one.frames]

    def rows(self, group: str | None = None) -> dict[str, dict[str, Row]]:
        """Metric -> who -> its row; `l1_share` is the model's L1 over that of copying.

        Args:
          group: `known` or `others`; None is all.
        """
        chosen = [one for one in self.judged if group in (None, one.group)]
        found: dict[str, dict[str, Row]] = {}
        for name in COLUMNS:
            of = {who: _row([one.tallies[who].get(name) for one in chosen]) for who in WHO}
            if any(of.values()):
                found[name] = {who: row for who, row in of.items() if row is not None}
            if name == "l1" and name in found:
                pairs = [[one.tallies[who][name].total for who in WHO] for one in chosen if name in one.tallies[MODEL]]
                share = metrics.bootstrap(*zip(*pairs, strict=True))
                found[SHARE] = {MODEL: found[name][MODEL]._replace(value=share)}
        return found

    def groups(self) -> dict[str, str]:
        """Groups with videos and their titles, where there are two."""
        found = {group: title for group, title in _GROUPS.items() if any(one.group == group for one in self.judged)}
        return found if len(found) > 1 else {}

    def unmeasured(self) -> dict[str, list[str]]:
        """Name of a video -> metrics of which none of its frames has a number."""
        found = {}
        for one in self.judged:
            missing = [name for name in COLUMNS if (tally := one.tallies[MODEL].get(name)) and not tally.frames]
            if missing:
                found[one.name] = missing
        return found

    def json(self) -> str:
        """All of it, to be read by programs."""
        contents = {
            "task": self.task,
            "version": fomm_tf.__version__,
            **self.about,
            "overall": _plain(self.rows()),
            "groups": {group: _plain(self.rows(group)) for group in self.groups()},
            "videos": [
                {
                    "name": one.name,
                    "group": one.group,
                    "frames": one.frames,
                    **{who: {name: tally._asdict() for name, tally in one.tallies[who].items()} for who in WHO},
                    "found": one.found,
                    "remarks": one.remarks,
                }
                for one in self.judged
            ],
            "skipped": [{"name": one.name, "reason": " ".join(one.remarks)} for one in self.results if not one.frames],
        }
        return json.dumps(contents, indent=1) + "\n"

    def markdown(self) -> str:
        """All of it, to be read by people."""
        return "\n".join(self._lines()) + "\n"

    def summary(self) -> str:
        """The table of all videos alone."""
        return "\n".join([self._count(), "", *_table(self.rows())])

    def _lines(self) -> Iterator[str]:
        about, frame = self.about, "x".join(map(str, self.about["frame_size"]))
        yield from (f"# {self.task.capitalize()}: {about['run']}", "")
        yield f"Step {about['step']}, weights {about['weights_sha256'][:12]}, frames of {frame}; {about['videos']}."
        if self.task == ANIMATION:
            yield f"Transfer: {about['mode']}. Copying is the source itself, taken as the answer."
        else:
            yield (
                "Each frame is rebuilt from the first one and its own keypoints (paper, sec. 4); the first one counts "
                "too, as in the reference. Copying is the first frame itself, taken as the answer."
            )
        if about["points"] or about["embedding"]:
            yield f"Points: {about['points'] or 'none'}; embedding: {about['embedding'] or 'none'}. {_CAVEAT}"
        if about["detectors"]:
            yield about["detectors"]
        yield from ("", self._count(), "", *_table(self.rows()))
        yield from ("", "Means over all frames; in brackets the 95 % bootstrap interval over the videos.")
        for group, title in self.groups().items():
            number = sum(one.group == group for one in self.judged)
            yield from ("", f"## {title}: {_counted(number, 'video')}", "", *_table(self.rows(group)))
        yield from self._left_out()
        yield from self._found()
        yield from ("", "## Each video", "", *self._each())

    def _count(self) -> str:
        skipped = len(self.results) - len(self.judged)
        frames = sum(one.frames for one in self.judged)
        missing = f"; {skipped} of {len(self.results)} could not be evaluated" if skipped else ""
        return f"{_counted(len(self.judged), 'video')}, {_counted(frames, 'frame')}{missing}."

    def _left_out(self) -> Iterator[str]:
        skipped = [one for one in self.results if not one.frames]
        remarked = [one for one in self.judged if one.remarks]
        if skipped or remarked or self.unmeasured():
            yield from ("", "## What is not in the means", "")
        for one in skipped:
            yield f"- {one.name} could not be evaluated: {' '.join(one.remarks)}"
        for one in remarked:
            yield f"- {one.name} counts with {one.frames} frames: {' '.join(one.remarks)}"
        for name, missing in self.unmeasured().items():
            reasons = dict.fromkeys(COLUMNS[metric].left_out for metric in missing)
            titles = "; ".join(COLUMNS[metric].title for metric in missing)
            yield f"- {name} is not in {titles}: {' / '.join(reasons)} in any of its frames."

    def _found(self) -> Iterator[str]:
        for what in ("points", "embeddings"):
            counts = [one.found[what] for one in self.judged if what in one.found]
            if counts:
                of = {whose: sum(count.get(whose, 0) for count in counts) for whose in ("true", "made")}
                told = [f"{of['true']} true frames"] * ("true" in counts[0]) + [f"{of['made']} made ones"]
                frames = sum(one.frames for one in self.judged)
                yield from ("", f"Frames in which {what} were found: {' and '.join(told)}, of {frames} each.")

    def _each(self) -> Iterator[str]:
        names = [name for name in self.rows() if name != SHARE]
        yield "| video | frames | " + " | ".join(COLUMNS[name].title for name in names) + " |"
        yield "|---" * (2 + len(names)) + "|"
        for one in self.judged:
            cells = [_cell(one, name) for name in names]
            yield f"| {one.name} | {one.frames} | {' | '.join(cells)} |"
        yield from ("", "Each: the model's, and that of copying in brackets.")


def _row(tallies: Sequence[Tally | None]) -> Row | None:
    """None if nobody asked; without a frame, an interval of NaN."""
    asked = [tally for tally in tallies if tally is not None]
    counted = [tally for tally in asked if tally.frames]
    if not asked:
        return None
    nothing = metrics.Interval(*[float("nan")] * 3)
    value = metrics.bootstrap(*zip(*((one.total, one.frames) for one in counted), strict=True)) if counted else nothing
    frames, left_out = (sum(getattr(tally, name) for tally in asked) for name in ("frames", "left_out"))
    return Row(value, len(counted), frames, left_out)


def _table(rows: dict[str, dict[str, Row]]) -> Iterator[str]:
    yield "| | model | copying the source | over | frames left out |"
    yield "|---|---|---|---|---|"
    for name, of in rows.items():
        title, digits = (_SHARE_TITLE, 3) if name == SHARE else (COLUMNS[name].title, COLUMNS[name].digits)
        cells = [_told(of.get(who), digits) for who in WHO]
        over = f"{_counted(of[MODEL].videos, 'video')}, {_counted(of[MODEL].frames, 'frame')}"
        if COPYING in of and of[COPYING].frames != of[MODEL].frames:
            over += f"; copying {of[COPYING].frames}"
        left = [of[who].left_out for who in WHO if who in of]
        reason = f" ({COLUMNS[name].left_out})" if any(left) and name != SHARE else ""
        counts = f"{left[0]}" if len(set(left)) == 1 else f"{left[0]} of the model, {left[1]} of copying"
        yield f"| {title} | {cells[0]} | {cells[1]} | {over} | {counts}{reason} |"


def _told(row: Row | None, digits: int) -> str:
    if row is None or not row.frames:
        return _NOTHING
    # Of one video there is nothing to resample.
    return f"{row.value:.{digits}f}" if row.videos > 1 else f"{row.value.value:.{digits}f}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _cell(one: Result, name: str) -> str:
    values = [one.tallies[who].get(name, Tally()).mean for who in WHO]
    digits = COLUMNS[name].digits
    mine, copied = (_NOTHING if value is None else f"{value:.{digits}f}" for value in values)
    return mine if name not in one.tallies[COPYING] else f"{mine} ({copied})"


def _plain(rows: dict[str, dict[str, Row]]) -> dict[str, Any]:
    """Without NaN, which JSON does not know."""
    return {
        name: {who: row._asdict() | {"value": row.value._asdict() if row.frames else None} for who, row in of.items()}
        for name, of in rows.items()
    }

"""The table of all segments of a data set, what it says of dropped ones, and its summary."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from fomm_tf import errors, files
from fomm_tf.data import layout
from fomm_tf.data.prepare import clips
from fomm_tf.data.prepare.settings import Settings

TABLE = "prepare.csv"
# What would keep a dropped segment, by a word of the reason.
_CURES = {
    "fewer than": "; a lower `min_frames` keeps it",
    "less than": "; a lower `min_side` keeps it",
    "no detection": "; `crop` none keeps whole frames",
    "edge": "; a lower `edge_margin`, such as -1, keeps it",
}


def write(out: Path) -> list[clips.Row]:
    """Writes the table of all segments of all videos, and returns its rows."""
    rows = _read_rows(out)
    files.write_csv(out / TABLE, clips.Row._fields, rows)
    return rows


def summarize(out: Path, num_videos: int, rows: list[clips.Row], settings: Settings) -> str:
    """What a data set holds, in one line; warns of a split without clips.

    Raises:
      errors.UserError: if no clip was kept.
    """
    counts = {split: sum(row.split == split for row in rows) for split in layout.SPLITS}
    dropped = [row.reason for row in rows if row.is_dropped_segment]
    faults = [row.reason for row in rows if row.is_fault]
    if not any(counts.values()):
        reason = max(faults + dropped, key=(faults + dropped).count)
        raise errors.UserError(
            f"no clip of {num_videos} videos was kept; the most frequent reason: {reason.rstrip('.')}. {out / TABLE} "
            "lists all segments."
        )
    for split, count in counts.items():
        if not count and (split == "train" or settings.test_share or settings.test_identities):
            warnings.warn(
                f"{out} has no {split} clip; training needs both splits: see `split` and `test_share`.", stacklevel=2
            )
    return (
        f"{out}: {counts['train']} clips in train, {counts['test']} in test, {len(dropped)} segments dropped, "
        f"{len(faults)} faulty videos; {out / TABLE} lists all segments"
    )


def describe_dropped(out: str | Path) -> Iterator[str]:
    """A line for each reason for which segments or videos of a data set were dropped, with what would keep them."""
    groups: dict[str, list[clips.Row]] = {}
    for row in _read_rows(Path(out)):
        if row.reason:
            groups.setdefault(drop_reason(row) if row.frames else row.reason, []).append(row)
    for reason, group in sorted(groups.items(), key=lambda item: -len(item[1])):
        frames, first = sum(row.frames for row in group), Path(group[0].video).name
        cure = next((cure for word, cure in _CURES.items() if word in reason), "")
        of = f"{first}{' and others' if len(group) > 1 else ''}"
        subject = f"{len(group)} segment{'s' * (len(group) > 1)}, {frames} frames, of {of}" if frames else of
        yield f"dropped {subject}: {group[0].reason}{cure}"


def list_faults(out: str | Path) -> list[tuple[str, str]]:
    """Path and reason of each video of a data set that cannot be read, or not to its end."""
    return [(row.video, row.reason) for row in _read_rows(Path(out)) if row.is_fault]


def drop_reason(row: clips.Row) -> str:
    """The reason why a segment was dropped, without its own numbers."""
    return re.sub(r"^\d+ frames, |is \d+ pixels", "", row.reason)


def _read_rows(out: Path) -> list[clips.Row]:
    return [row for plan in sorted((out / clips.PLANS).rglob("*.json")) for row in clips.read_plan(plan).rows]

"""One video: what to take of it, and taking it.

What is to be taken is written down before, so that a video that was begun is gone on with, clip by clip.
"""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fomm_tf import detectors, errors, files, video, workers
from fomm_tf.data import layout
from fomm_tf.data.prepare import cropping, tracking
from fomm_tf.data.prepare.settings import WHOLE, Settings
from fomm_tf.data.prepare.sources import Source

# A hidden folder, which is passed over by who trains on the set.
PLANS = ".prepare"
# Frames that a detector sees at once: of 4K video, 200 MB.
_BATCH = 8

Detect = detectors.Detector[list[detectors.Boxes]]


class Row(NamedTuple):
    """A stretch of a video, or all of it, and what becomes of it.

    Attributes:
      video: the path.
      split: `train` or `test`; empty if it is dropped.
      clip: its name; empty if it is dropped.
      first: number of the first frame.
      frames: how many; 0 if the row tells of the video as a whole.
      left, top, side: of the crop, in pixels; 0 where there is none.
      end: why the stretch ends where it does.
      reason: why it is dropped; empty if it is not.
    """

    video: str
    split: str = ""
    clip: str = ""
    first: int = 0
    frames: int = 0
    left: int = 0
    top: int = 0
    side: int = 0
    end: str = ""
    reason: str = ""

    @property
    def square(self) -> cropping.Square:
        """Where to cut."""
        return cropping.Square(self.left, self.top, self.side)


class Plan(NamedTuple):
    """What to take of a video.

    Attributes:
      stamp: changes when the video does.
      rows: in the order of the frames, those of the whole video last.
    """

    stamp: str
    rows: tuple[Row, ...]

    @property
    def kept(self) -> list[Row]:
        """The clips."""
        return [row for row in self.rows if row.clip]


def plan_file(out: Path, source: Source) -> Path:
    """Where the plan of a video is kept."""
    return out / PLANS / (source.split or "") / f"{source.name}.json"


def clip_path(out: Path, row: Row, settings: Settings) -> Path:
    """Where a clip is kept."""
    return out / row.split / (f"{row.clip}.mp4" if settings.format == "mp4" else row.clip)


def stamp_of(source: Source) -> str:
    """What `Plan.stamp` has to be for a plan to hold."""
    return files.fingerprint(source.path).hex()


def read_plan(path: Path) -> Plan | None:
    """Reads a plan; None if there is none."""
    try:
        stamp, rows = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Plan(stamp, tuple(Row(*row) for row in rows))


def missing_clips(out: Path, plan: Plan, settings: Settings) -> list[Row]:
    """The clips of a plan that are not there yet; each is whole as soon as it is there."""
    return [row for row in plan.kept if not clip_path(out, row, settings).exists()]


def prepare(source: Source, out: Path, settings: Settings, tested: bool, detect: Detect) -> Plan:
    """Does with a video what is not done yet.

    Args:
      source: the video.
      out: folder of the set.
      settings: see there.
      tested: all its clips are for testing.
      detect: finds the boxes; not asked if `settings.crop` is `none`.

    Returns:
      What was to do; a video that cannot be read has a row that says so.
    """
    kept_in, stamp = plan_file(out, source), stamp_of(source)
    plan = read_plan(kept_in)
    if plan is None or plan.stamp != stamp:
        plan = Plan(stamp, tuple(_look(source, settings, tested, detect)))
        _write_plan(kept_in, plan)
    try:
        _cut(source, missing_clips(out, plan, settings), out, settings)
    except errors.UnreadableError as error:  # it was readable before
        return plan._replace(rows=(*plan.rows, Row(str(source.path), reason=str(error))))
    return plan


def _write_plan(path: Path, plan: Plan) -> None:
    files.write_json(path, [plan.stamp, plan.rows], indent=0)


def _look(source: Source, settings: Settings, tested: bool, detect: Detect) -> Iterator[Row]:
    path = str(source.path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            opened = _open(source, settings)
            looks = _looks(iter(opened), settings, detect)
            stretches = list(tracking.divide(looks, opened.size, settings))
        except errors.UnreadableError as error:
            yield Row(path, reason=str(error))
            return
    judged = [(stretch, *_judge(stretch, opened.size, settings)) for stretch in stretches]
    kept = sum(not reason for _, _, reason in judged)
    train = 0 if tested else round(kept * (1 - settings.test_share)) if settings.split == "time" else kept
    number = 0
    for stretch, square, reason in judged:
        row = Row(path, first=stretch.first, frames=stretch.frames, end=stretch.end, reason=reason)
        if square is not None:
            row = row._replace(**square._asdict())
        if not reason:
            split = source.split or layout.SPLITS[number >= train]
            last = stretch.first + stretch.frames - 1
            row = row._replace(split=split, clip=f"{source.name}#{stretch.first:06d}-{last:06d}")
            number += 1
        yield row
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        yield Row(path, reason=message)


def _judge(
    stretch: tracking.Stretch, frame_size: tuple[int, int], settings: Settings
) -> tuple[cropping.Square | None, str]:
    """The crop of a stretch, and why it is dropped, if it is."""
    if stretch.box is None:
        return None, stretch.end
    square = cropping.place(stretch.box, frame_size, settings)
    if stretch.frames < settings.min_frames:
        return square, f"{stretch.frames} frames, fewer than {settings.min_frames}"
    if square.side < settings.least_side:
        return square, f"the crop's side is {square.side} pixels, less than {settings.least_side}"
    return square, ""


def _looks(frames: Iterator[np.ndarray], settings: Settings, detect: Detect) -> Iterator[tracking.Look]:
    cuts = tracking.CutFinder()
    while batch := list(itertools.islice(frames, _BATCH)):
        workers.tick(len(batch))
        for frame, found in zip(batch, _boxes(batch, settings, detect), strict=True):
            yield tracking.Look(found, settings.cuts and cuts(frame))


def _boxes(batch: Sequence[np.ndarray], settings: Settings, detect: Detect) -> list[np.ndarray]:
    if settings.crop != WHOLE:
        return [found.box.astype(float) for found in detect(batch)]
    return [np.array([[0.0, 0.0, frame.shape[1], frame.shape[0]]]) for frame in batch]


def _cut(source: Source, rows: Sequence[Row], out: Path, settings: Settings) -> None:
    if not rows:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # were heeded at the first look
        opened = _open(source, settings)
        frames = iter(opened)
        place = 0
        for row in rows:
            for _ in itertools.islice(frames, row.first - place):
                workers.tick()
            with video.write_video(clip_path(out, row, settings), opened.fps) as writer:
                for frame in itertools.islice(frames, row.frames):
                    workers.tick()
                    writer.write(cropping.cut(frame, row.square, settings.size))
                if writer.count != row.frames:
                    raise errors.UnreadableError(
                        f"{source.path} has become shorter while it was prepared; start again."
                    )
            place = row.first + row.frames


def _open(source: Source, settings: Settings) -> video.Video:
    # A folder has no rate of its own that it could be resampled from.
    return video.open_video(source.path, fps=None if source.path.is_dir() else settings.fps)

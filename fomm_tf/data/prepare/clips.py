"""Plans and writes the clips of one video.

The plan is stored before any clip is written, so that an interrupted video resumes at its next clip.
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
from fomm_tf.data.prepare import segments
from fomm_tf.data.prepare.settings import WHOLE, Settings

# A hidden directory, which training ignores.
PLANS = ".prepare"
# Frames per call of a detector: 200 MB of 4K video.
_BATCH = 8

Detect = detectors.Detector[list[detectors.Boxes]]


class Source(NamedTuple):
    """A video.

    Attributes:
      path: of the file or directory.
      name: `identity#rest`, or the identity alone; unique in its split.
      split: `train` or `test` if the video is in a directory of that name.
    """

    path: Path
    name: str
    split: str | None = None

    @property
    def identity(self) -> str:
        """The person or object in the video."""
        return self.name.split("#")[0]


class Row(NamedTuple):
    """A row of the table: a segment of a video, or the whole video if it is faulty.

    Attributes:
      video: the path.
      split: `train` or `test`; empty if dropped.
      clip: name of the clip; empty if dropped.
      first: index of the first frame.
      frames: number of frames; 0 if the row is about the whole video.
      left, top, side: of the crop, in pixels; 0 if there is none.
      end: why the segment ends; in a row about the whole video, a remark that is not a fault.
      reason: why it is dropped; empty if it is kept.
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
    def square(self) -> segments.Square:
        """The crop."""
        return segments.Square(self.left, self.top, self.side)

    @property
    def is_fault(self) -> bool:
        """Whether the video cannot be read, or not to its end."""
        return bool(self.reason) and not self.frames

    @property
    def is_dropped_segment(self) -> bool:
        """Whether a segment of a readable part is dropped."""
        return bool(self.reason) and self.frames > 0


class Plan(NamedTuple):
    """The segments of a video.

    Attributes:
      stamp: fingerprint of the video's files.
      rows: sorted by frame; those about the whole video come last.
    """

    stamp: str
    rows: tuple[Row, ...]

    @property
    def clips(self) -> list[Row]:
        """The rows of kept segments."""
        return [row for row in self.rows if row.clip]

    @classmethod
    def from_json(cls, value: Sequence) -> Plan:
        """The plan that was stored as JSON."""
        stamp, rows = value
        return cls(stamp, tuple(Row(*row) for row in rows))


def plan_file(out: Path, source: Source) -> Path:
    """Path of a video's plan."""
    return out / PLANS / (source.split or "") / f"{source.name}.json"


def clip_path(out: Path, row: Row, settings: Settings) -> Path:
    """Path of a clip."""
    return out / row.split / (f"{row.clip}.mp4" if settings.format == "mp4" else row.clip)


def current_stamp(source: Source) -> str:
    """`Plan.stamp` of a plan that is up to date."""
    return files.fingerprint(source.path).hex()


def read_plan(path: Path) -> Plan | None:
    """Reads a plan; returns None if the file does not exist."""
    try:
        return Plan.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def missing_clips(out: Path, plan: Plan, settings: Settings) -> list[Row]:
    """The clips of a plan that are not written yet; clips are written atomically."""
    return [row for row in plan.clips if not clip_path(out, row, settings).exists()]


def prepare(source: Source, out: Path, settings: Settings, is_test: bool, detect: Detect) -> Plan:
    """Plans a video and writes its missing clips.

    Args:
      source: the video.
      out: directory of the data set.
      settings: of the data set.
      is_test: put all its clips into the test split.
      detect: detector of boxes; not used if `settings.crop` is `none`.

    Returns:
      The plan; a video that cannot be read has a row with the reason.
    """
    path, stamp = plan_file(out, source), current_stamp(source)
    plan = read_plan(path)
    if plan is None or plan.stamp != stamp:
        plan = Plan(stamp, tuple(_plan_rows(source, settings, is_test, detect)))
        write_plan(path, plan)
    try:
        _write_clips(source, missing_clips(out, plan, settings), out, settings)
    except errors.UnreadableError as error:  # it was readable when it was planned
        return plan._replace(rows=(*plan.rows, Row(str(source.path), reason=str(error))))
    return plan


def write_plan(path: Path, plan: Plan) -> None:
    """Writes a plan, atomically."""
    files.write_json(path, [plan.stamp, plan.rows], indent=0)


def _plan_rows(source: Source, settings: Settings, is_test: bool, detect: Detect) -> Iterator[Row]:
    path = str(source.path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            opened = _open(source, settings)
            parts = list(segments.split(_detect(iter(opened), settings, detect), opened.size, settings))
        except errors.UnreadableError as error:
            yield Row(path, reason=str(error))
            return
    planned = [(segment, *_place_crop(segment, opened.size, settings)) for segment in parts]
    kept = sum(not reason for _, _, reason in planned)
    train = 0 if is_test else round(kept * (1 - settings.test_share)) if settings.split == "time" else kept
    number = 0
    for segment, square, reason in planned:
        row = Row(path, first=segment.first, frames=segment.frames, end=segment.end, reason=reason)
        if square is not None:
            row = row._replace(**square._asdict())
        if not reason:
            split = source.split or layout.SPLITS[number >= train]
            last = segment.first + segment.frames - 1
            row = row._replace(split=split, clip=f"{source.name}#{segment.first:06d}-{last:06d}")
            number += 1
        yield row
    for message, is_note in {str(warning.message): warning.category is video.VideoNote for warning in caught}.items():
        yield Row(path, end=message) if is_note else Row(path, reason=message)


def _place_crop(
    segment: segments.Segment, frame_size: tuple[int, int], settings: Settings
) -> tuple[segments.Square | None, str]:
    """The crop of a segment, and the reason to drop the segment, if any."""
    if segment.box is None:
        return None, segment.end
    square = segments.place_crop(segment.box, frame_size, settings)
    if segment.frames < settings.min_frames:
        return square, f"{segment.frames} frames, fewer than {settings.min_frames}"
    if square.side < settings.min_crop_side:
        return square, f"the crop's side is {square.side} pixels, less than {settings.min_crop_side}"
    return square, ""


def _detect(frames: Iterator[np.ndarray], settings: Settings, detect: Detect) -> Iterator[segments.FrameDetections]:
    is_cut = segments.CutDetector()
    while batch := list(itertools.islice(frames, _BATCH)):
        workers.tick(len(batch))
        for frame, boxes in zip(batch, _detect_boxes(batch, settings, detect), strict=True):
            yield segments.FrameDetections(boxes, settings.cuts and is_cut(frame))


def _detect_boxes(batch: Sequence[np.ndarray], settings: Settings, detect: Detect) -> list[np.ndarray]:
    if settings.crop != WHOLE:
        return [detected.box.astype(float) for detected in detect(batch)]
    return [np.array([[0.0, 0.0, frame.shape[1], frame.shape[0]]]) for frame in batch]


def _write_clips(source: Source, rows: Sequence[Row], out: Path, settings: Settings) -> None:
    if not rows:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the plan has them already
        opened = _open(source, settings)
        frames = iter(opened)
        position = 0
        for row in rows:
            for _ in itertools.islice(frames, row.first - position):
                workers.tick()
            with video.write_video(clip_path(out, row, settings), opened.fps) as writer:
                for frame in itertools.islice(frames, row.frames):
                    workers.tick()
                    writer.write(segments.crop(frame, row.square, settings.size))
                if writer.count != row.frames:
                    raise errors.UnreadableError(
                        f"{source.path} became shorter while it was prepared; run the command again."
                    )
            position = row.first + row.frames


def _open(source: Source, settings: Settings) -> video.Video:
    # A directory of frames has no rate to resample from.
    return video.open_video(source.path, fps=None if source.path.is_dir() else settings.fps)

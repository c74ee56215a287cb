"""From time stamps to a constant frame rate.

Convention: a frame whose time is off the constant grid by less than a frame is used as it is, so that a constant rate
yields every stored frame once, in spite of jitter. Where a variable rate falls behind by more, the last frame is
repeated; where it runs ahead, frames are dropped. Motion keeps its speed, and audio stays in sync.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np

DEFAULT_FPS = Fraction(25)
# FFmpeg's own clock, for frames without one.
CLOCK = Fraction(1, av.time_base)


class TimedFrame(NamedTuple):
    """A frame as it is stored.

    Attributes:
      time: seconds from the start of the video.
      duration: in seconds.
      frame: decoded, but not converted.
    """

    time: float
    duration: float
    frame: av.VideoFrame | np.ndarray


def measure_rate(declared: Fraction | None, stamps: list[float]) -> Fraction:
    """The declared rate, unless it drifts away from the time stamps by a frame; long pauses are ignored.

    It is far off for browser recordings (1000 frames per second) and for gifs that hold their last frame.
    """
    gaps = np.diff(np.unique(stamps))
    if not len(gaps):
        return declared or DEFAULT_FPS
    gaps = gaps[gaps < 1.9 * np.median(gaps)]
    if declared and abs(gaps.sum() * declared - len(gaps)) < 1:
        return declared
    return Fraction(len(gaps) / gaps.sum()).limit_denominator(100)


def resample(
    frames: Iterable[TimedFrame], stored_fps: Fraction, fps: Fraction, start: float
) -> Iterator[av.VideoFrame | np.ndarray]:
    """Yields the frames from `start` on, at a constant rate of `fps`; a repeated frame is the same object.

    Args:
      frames: sorted by time.
      stored_fps: their rate, from `measure_rate`.
      fps: at `stored_fps` every frame is used; at another rate each place takes the nearest frame.
      start: in seconds.
    """
    tolerance = 1 if fps == stored_fps else 0.5
    shown, last, end = 0, None, start
    for time, duration, frame in frames:
        place = (time - start) * fps
        if shown or place > -0.5:
            while place >= shown + tolerance:
                yield frame if last is None else last
                shown += 1
            if place > shown - tolerance:
                yield frame
                shown += 1
        last, end = frame, time + duration
    while last is not None and (end - start) * fps >= shown + tolerance:
        yield last
        shown += 1

"""From time stamps to a constant frame rate.

Convention: a frame whose time is off the constant grid by less than 3/4 of a frame is used as it is, so that a constant
rate yields every stored frame once, in spite of jitter. Where a variable rate falls behind by more, the last frame is
repeated; where it runs ahead, frames are dropped. Motion keeps its speed, and audio stays in sync.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np

DEFAULT_FPS = Fraction(25)
# FFmpeg's own clock, for frames without one.
CLOCK = Fraction(1, av.time_base)
# Seconds that a frame may last; more is damage.
MAX_DURATION = 3600.0
# Steps of a track's decoding times, in seconds, that are jumps: back, and ahead in MPEG streams.
_JUMP_BACK, _JUMP_AHEAD = 0.1, 10.0
_MIN_FPS = Fraction(1, 100)


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


@dataclasses.dataclass(frozen=True)
class Probe:
    """Metadata of a video whose frames have time stamps.

    Attributes:
      fps: frames per second of the constant grid.
      size: `(H, W)` of an upright frame, in square pixels.
      end: seconds until the end; None if it is unknown.
      has_audio: whether there is an audio track.
    """

    fps: Fraction
    size: tuple[int, int]
    end: float | None
    has_audio: bool = dataclasses.field(default=False, kw_only=True)


class ContinuousStamps:
    """Closes the jumps in a track's time stamps where recordings were concatenated, or where the stamps are damaged.

    Args:
      container: the file; MPEG streams may jump by design.
      offsets: for an audio track, those of the video track of the same file, so that both stay in sync.

    Attributes:
      offsets: seconds that are added to the stamps of the first piece (0), the second, and so on.
    """

    def __init__(self, container: av.container.InputContainer, offsets: Sequence[float] = ()) -> None:
        self.offsets = [0.0]
        self._container, self._known = container, offsets
        self._jump_ahead = _JUMP_AHEAD if may_jump(container) else MAX_DURATION
        self._last = self._next = None

    def demux(self, stream: av.stream.Stream) -> Iterator[av.Packet]:
        """Yields the packets of the track."""
        while True:
            try:
                for packet in self._container.demux(stream):
                    self._shift(packet)
                    yield packet
                return
            except IndexError:  # of PyAV, where another track begins later in the file
                continue

    def _shift(self, packet: av.Packet) -> None:
        stamp = packet.pts if packet.dts is None else packet.dts
        if stamp is None:
            return
        time = float(stamp * packet.time_base)
        if self._last is not None and not -_JUMP_BACK < time - self._last < self._jump_ahead:
            piece = len(self.offsets)
            known = piece < len(self._known)
            self.offsets.append(self._known[piece] if known else self.offsets[-1] + self._next - time)
        duration = float((packet.duration or 0) * packet.time_base)
        self._last, self._next = time, time + duration
        if self.offsets[-1]:
            ticks = round(self.offsets[-1] / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks


def may_jump(container: av.container.InputContainer) -> bool:
    """Whether the format is a stream that may be cut and concatenated as it is: MPEG-TS, MPEG-PS."""
    return bool(container.format.flags & av.format.Flags.ts_discont.value)


def measure_rate(declared: Sequence[Fraction | None], stamps: Sequence[float]) -> Fraction:
    """The declared rate that fits the time stamps best, or the first of such; the stamps' own, if all drift by a frame.

    Declared rates are far off for browser recordings (1000 frames per second) and for gifs that hold their last frame.
    Long pauses are ignored.
    """
    rates = [_exact(rate) for rate in declared if rate]
    gaps = np.diff(np.unique(stamps))
    gaps = gaps[len(gaps) > 1 :]  # in fragmented mp4 files the first frame may last longer
    if not len(gaps):
        return rates[0] if rates else DEFAULT_FPS
    gaps = gaps[gaps < 1.9 * np.median(gaps)]
    # Stamps in milliseconds are off by less than a tenth of a frame.
    drifts = [round(abs(float(gaps.sum() * rate) - len(gaps)), 1) for rate in rates]
    if drifts and min(drifts) < 1:
        return rates[drifts.index(min(drifts))]
    return max(_MIN_FPS, Fraction(len(gaps) / gaps.sum()).limit_denominator(100))


def _exact(rate: Fraction) -> Fraction:
    """Matroska rounds frame durations to nanoseconds: 19001/317 is 60000/1001."""
    ntsc = Fraction(round(rate * Fraction(1001, 1000)) * 1000, 1001)
    return ntsc if abs(rate - ntsc) < rate / 1_000_000 else rate


def resample(
    frames: Iterable[TimedFrame], stored_fps: Fraction, fps: Fraction, start: float
) -> Iterator[av.VideoFrame | np.ndarray]:
    """Yields the frames from `start` on, at a constant rate of `fps`; a repeated frame is the same object.

    Args:
      frames: sorted by time.
      stored_fps: their rate, from `measure_rate`.
      fps: at `stored_fps` every frame is used if it can be; at another rate each place takes the nearest frame.
      start: in seconds.
    """
    tolerance = 0.75 if fps == stored_fps else 0.5
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

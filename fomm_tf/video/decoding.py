"""Video containers: metadata, and frames at a constant rate.

Convention:
  * times are seconds from the container's `origin`, the start of its video track;
  * a frame whose time is off the constant grid by less than a frame is used as it is, so that a constant rate yields
    every stored frame once, in spite of jitter. Where a variable rate falls behind by more, the last frame is
    repeated; where it runs ahead, frames are dropped. Motion keeps its speed, and audio stays in sync.
"""

import contextlib
import itertools
import os
import re
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from fomm_tf import errors

DEFAULT_FPS = Fraction(25)
# ffmpeg starts new scaler threads for every frame, which takes several times as long as scaling a small frame.
SCALER_THREADS = 1

# Enough packets to measure the frame rate of a recording whose header has none; a few seconds.
_PROBED_PACKETS = 300
# If a track ends earlier than its header says by more than this, in seconds, it counts as truncated.
_SHORTFALL = 0.5


class Probe(NamedTuple):
    """Metadata of a container.

    Attributes:
      fps: frames per second of the constant grid.
      width, height: of a frame before rotation, in square pixels.
      turns: quarter turns, counter-clockwise, that put it upright.
      end: seconds until the end, from the header; None if the header has no duration.
      has_audio: whether there is an audio track.
    """

    fps: Fraction
    width: int
    height: int
    turns: int
    end: float | None
    has_audio: bool


def open_container(path: Path) -> av.container.InputContainer:
    """Opens a media file for reading.

    Raises:
      UnreadableError: if ffmpeg cannot read it.
    """
    try:
        # An absolute path, since ffmpeg takes `12:30.mp4` for a URL; and local files only, whatever a playlist says.
        return av.open(os.path.abspath(path), metadata_errors="ignore", options={"protocol_whitelist": "file"})
    except av.FFmpegError as error:
        with path.open("rb") as file:
            if file.read(12)[4:8] == b"ftyp":
                message = f"{path} has no index, so it is truncated or damaged; copy or download it again."
                raise errors.UnreadableError(message) from error
        raise errors.UnreadableError(f"{path} is not a video that ffmpeg can read ({error.strerror}).") from error


def video_stream(container: av.container.InputContainer) -> av.VideoStream | None:
    """The first video track that is not a cover image."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    return None


def origin(container: av.container.InputContainer) -> float:
    """The container's time stamp of our second 0: the start of the video track, or of the file if there is none."""
    stream = video_stream(container)
    if stream is not None and stream.start_time is not None:
        return float(stream.start_time * stream.time_base)
    return (container.start_time or 0) / av.time_base


def probe(path: Path) -> Probe:
    """Reads the header and the first packets.

    Raises:
      UnreadableError: if the file is not a video, has no video track, or has no frame that can be decoded.
    """
    with open_container(path) as container:
        stream = video_stream(container)
        if stream is None:
            contents = "only audio" if container.streams.audio else "no video track"
            raise errors.UnreadableError(f"{path} holds {contents}; give a video.")
        if stream.codec_context is None:
            raise errors.UnreadableError(f"{path} is in a format that this ffmpeg cannot decode; convert it to H.264.")
        first, stamps = None, []
        for time, frames, _ in _packets(container, stream):
            first = first or next(iter(frames), None)
            if time is not None:
                stamps.append(time)
            if first is not None and len(stamps) >= _PROBED_PACKETS:
                break
        if first is None:
            message = f"{path} has a video track, but no frame can be decoded: it is empty, damaged or truncated."
            raise errors.UnreadableError(message)
        return Probe(
            fps=_rate(stream.average_rate, stamps),
            width=max(1, round(first.width * (stream.sample_aspect_ratio or 1))),
            height=first.height,
            turns=round(first.rotation / 90),
            end=_end(container, stream),
            has_audio=bool(container.streams.audio),
        )


def _rate(declared: Fraction | None, stamps: list[float]) -> Fraction:
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


def _end(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    # Matroska and WebM keep the length of a track in a tag.
    tag = re.match(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    if tag:
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3]) - origin(container)
    return None


def decode(path: Path, probed: Probe, fps: Fraction, start: float) -> Iterator[np.ndarray]:
    """Yields the frames from `start` on, at a constant rate of `fps`.

    Warns:
      UserWarning: if the file is damaged or truncated; the iteration then ends where the file does.
    """
    # At the video's own rate every frame is used; at another rate each place takes the nearest frame.
    tolerance = 1 if fps == probed.fps else 0.5
    shown, last, end = 0, None, start
    for time, duration, frame in _read_near(path, probed, start):
        place = (time - start) * fps
        if shown or place > -0.5:
            while place >= shown + tolerance:
                yield _upright(last or frame, probed)
                shown += 1
            if place > shown - tolerance:
                yield _upright(frame, probed)
                shown += 1
        last, end = frame, time + duration
    while last is not None and (end - start) * fps >= shown + tolerance:
        yield _upright(last, probed)
        shown += 1


def _upright(frame: av.VideoFrame, probed: Probe) -> np.ndarray:
    image = frame.reformat(probed.width, probed.height, "rgb24", threads=SCALER_THREADS).to_ndarray()
    return np.ascontiguousarray(np.rot90(image, probed.turns)) if probed.turns else image


_TimedFrame = tuple[float, float, av.VideoFrame]  # time, duration, frame


def _read_near(path: Path, probed: Probe, start: float) -> Iterator[_TimedFrame]:
    """Yields frames, beginning with the one at `start` or an earlier one."""
    if start > 0:
        frames = _read(path, probed, start)
        first = next(frames, None)
        # Not every container can seek, and some seek too far.
        if first is not None and first[0] <= start:
            return itertools.chain([first], frames)
        frames.close()
    return _read(path, probed)


def _read(path: Path, probed: Probe, seek_to: float = 0.0) -> Iterator[_TimedFrame]:
    with open_container(path) as container:
        stream, zero = video_stream(container), origin(container)
        stream.thread_type = "AUTO"
        if seek_to > 0:
            with contextlib.suppress(av.FFmpegError):
                container.seek(int((zero + seek_to) / stream.time_base), stream=stream)
        count, end, damaged = 0, 0.0, False
        for _, frames, intact in _packets(container, stream):
            damaged = damaged or not intact
            for frame in frames:
                time = end if frame.time is None else frame.time - zero
                duration = float(frame.duration * frame.time_base) if frame.duration else float(1 / probed.fps)
                count, end = count + 1, time + duration
                yield time, duration, frame
    if count and (damaged or (probed.end is not None and end < probed.end - max(_SHORTFALL, float(2 / probed.fps)))):
        of = f" of {probed.end:.1f}" if probed.end is not None else ""
        warnings.warn(f"{path} is damaged or truncated: it could be read up to {end:.1f}{of} s.", stacklevel=2)


def _packets(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[tuple[float | None, list[av.VideoFrame], bool]]:
    """Yields time stamp, decoded frames and whether the packet was intact, for each packet; never raises."""
    try:
        for packet in container.demux(stream):
            stamp = packet.dts if packet.pts is None else packet.pts
            time = None if stamp is None else float(stamp * packet.time_base)
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                yield time, [], False
            else:
                yield time, frames, not packet.is_corrupt
    except av.FFmpegError:
        yield None, [], False

"""Video containers: what one holds, and its frames at a constant rate.

Convention:
  * times are seconds from the container's `origin`, the start of its video track;
  * a frame that is off its place on the constant grid by less than a frame is taken as it comes, so that a constant
    rate gives every stored frame once, jitter or not; where a variable rate falls behind by more, the last frame is
    repeated, where it runs ahead, frames are left out. Motion keeps its pace and sound stays in step.
"""

import itertools
import os
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from fomm_tf import errors

DEFAULT_FPS = Fraction(25)

# Enough packets to tell the rate of a recording whose header does not; a few seconds.
_PROBED_PACKETS = 300
# Seconds that the end of a track may fall short of what the header says before we call it cut off.
_SHORTFALL = 0.5


class Probe(NamedTuple):
    """What a container holds.

    Attributes:
      fps: frames a second of the constant grid.
      width, height: of a frame before rotation, in square pixels.
      turns: quarter turns, counter-clockwise, that put it upright.
      end: seconds until the end, as the header has it; None if it does not say.
      has_audio: whether there is a sound track.
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
      UserError: if ffmpeg cannot make anything of it.
    """
    try:
        # An absolute path, since ffmpeg takes `12:30.mp4` for an address; and no network, whatever a playlist says.
        return av.open(os.path.abspath(path), metadata_errors="ignore", options={"protocol_whitelist": "file"})
    except av.FFmpegError as error:
        with path.open("rb") as file:
            if file.read(12)[4:8] == b"ftyp":
                message = f"{path} lacks its index, so it was cut off or is damaged; copy or download it again."
                raise errors.UserError(message) from error
        raise errors.UserError(f"{path} is not a video that ffmpeg can read ({error.strerror}).") from error


def video_stream(container: av.container.InputContainer) -> av.VideoStream | None:
    """The first video track that is no cover picture."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    return None


def origin(container: av.container.InputContainer) -> float:
    """The container's own time of our second 0: the start of the video track, else of the file."""
    stream = video_stream(container)
    if stream is not None and stream.start_time is not None:
        return float(stream.start_time * stream.time_base)
    return (container.start_time or 0) / av.time_base


def probe(path: Path) -> Probe:
    """Reads the header and the first packets.

    Raises:
      UserError: if the file is no video, has no video track, or no frame of it can be decoded.
    """
    with open_container(path) as container:
        stream = video_stream(container)
        if stream is None:
            held = "only sound" if container.streams.audio else "no video track"
            raise errors.UserError(f"{path} holds {held}; give a video.")
        if stream.codec_context is None:
            raise errors.UserError(f"{path} is in a format that this ffmpeg cannot decode; convert it to H.264.")
        first, stamps = None, []
        for packet, frames, _ in _decoded(container, stream):
            first = first or next(iter(frames), None)
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None:
                stamps.append(float(stamp * packet.time_base))
            if first is not None and len(stamps) >= _PROBED_PACKETS:
                break
        if first is None:
            raise errors.UserError(f"{path} has a video track without a frame that can be decoded; give another video.")
        return Probe(
            fps=_rate(stream.average_rate, stamps),
            width=max(1, round(first.width * (stream.sample_aspect_ratio or 1))),
            height=first.height,
            turns=round(first.rotation / 90),
            end=_end(container, stream),
            has_audio=bool(container.streams.audio),
        )


def _rate(declared: Fraction | None, stamps: list[float]) -> Fraction:
    """The declared rate, unless the time stamps belie it.

    It is far off for browser recordings (1000 frames a second) and for gifs that hold their last frame.
    """
    gaps = np.diff(np.unique(stamps))
    if not len(gaps):
        return declared or DEFAULT_FPS
    measured = 1 / gaps[gaps < 2 * np.median(gaps)].mean()
    if declared and 0.8 < declared / measured < 1.25:
        return declared
    return Fraction(measured).limit_denominator(100)


def _end(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if "DURATION" in stream.metadata:  # Matroska and WebM keep the length of a track in a tag
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds) - origin(container)
    return None


def decode(path: Path, probed: Probe, fps: Fraction, start: float) -> Iterator[np.ndarray]:
    """Yields the frames from `start` on, at a constant rate of `fps`.

    Warns:
      UserWarning: if the file turns out to be damaged or cut off; the iteration then ends where the file does.
    """
    # A rate that is not the video's own asks for the nearest frame, not for every one.
    tolerance = 1 if fps == probed.fps else 0.5
    frames = _frames_near(path, probed, start)
    shown, held, place = 0, None, 0.0
    for time, duration, frame in itertools.chain(frames, [(None, 0, None)]):
        place = place if time is None else (time - start) * fps
        if time is not None and shown == 0 and place < -0.5:
            held, place = frame, place + duration * fps
            continue
        held = held or frame
        while held is not None and place >= shown + tolerance:
            yield _upright(held, probed)
            shown += 1
        if frame is not None and place > shown - tolerance:
            yield _upright(frame, probed)
            shown += 1
        held, place = frame, place + duration * fps


def _upright(frame: av.VideoFrame, probed: Probe) -> np.ndarray:
    picture = frame.reformat(probed.width, probed.height, "rgb24").to_ndarray()
    return np.ascontiguousarray(np.rot90(picture, probed.turns)) if probed.turns else picture


def _frames_near(path, probed, start): ...
def _decoded(container, stream): ...

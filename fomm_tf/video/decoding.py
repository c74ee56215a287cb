"""Video containers: metadata, and frames at a constant rate.

Convention: times are seconds from the container's `origin`, the start of its video track.
"""

import collections
import contextlib
import dataclasses
import itertools
import os
import re
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from fomm_tf import errors
from fomm_tf.video import color, filters, images, timing

# Enough packets to measure the frame rate of a recording whose header has none; a few seconds.
_PROBED_PACKETS = 300
# If a track ends earlier than its header says by more than this, in seconds, it counts as truncated.
_SHORTFALL = 0.5
# FFmpeg's own VP8 and VP9 decoders ignore the second stream that holds the alpha channel.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


@dataclasses.dataclass(frozen=True)
class Probe(timing.Probe):
    """Metadata of a container.

    Attributes:
      orientation: the filters that put a frame upright.
      hdr: the kind of HDR, or None.
      dolby_vision: whether the colors are those of Dolby Vision alone.
      seekable: whether the time stamps of the file are continuous.
    """

    orientation: tuple[filters.Filter, ...]
    hdr: str | None
    dolby_vision: bool
    seekable: bool


def open_container(path: Path) -> av.container.InputContainer:
    """Opens a media file for reading.

    Raises:
      UnreadableError: if ffmpeg cannot read it.
    """
    try:
        # An absolute path, since ffmpeg takes `12:30.mp4` for a URL; and local files only, whatever a playlist says.
        return av.open(os.path.abspath(path), metadata_errors="ignore", options={"protocol_whitelist": "file"})
    except UnicodeEncodeError as error:
        raise errors.UnreadableError(f"the name {path} is not valid UTF-8, which ffmpeg needs; rename it.") from error
    except av.FFmpegError as error:
        with path.open("rb") as file:
            if file.read(12)[4:8] == b"ftyp":
                message = f"{path} has no index, so it is truncated or damaged; copy or download it again."
                raise errors.UnreadableError(message) from error
        raise errors.UnreadableError(f"{path} is not a video that ffmpeg can read ({error.strerror}).") from error


def video_stream(container: av.container.InputContainer) -> av.VideoStream | None:
    """FFmpeg's choice among the video tracks that are not a cover image."""
    streams = [
        stream for stream in container.streams.video if not stream.disposition & av.stream.Disposition.attached_pic
    ]
    # A cover that is not marked as such has one frame.
    streams = [stream for stream in streams if stream.frames != 1] or streams
    return _choose(streams, container.streams.best("video"))


def audio_stream(container: av.container.InputContainer) -> av.AudioStream | None:
    """FFmpeg's choice among the audio tracks that it can decode."""
    streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
    return _choose(streams, container.streams.best("audio"))


def _choose(streams: list, best: av.stream.Stream | None) -> av.stream.Stream | None:
    return best if best in streams else next(iter(streams), None)


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
        declared = color.read_tags(stream.codec_context)
        continuous = timing.ContinuousStamps(container)
        decoded, stamps = [], []
        for time, frames, _ in _packets(continuous, stream, lambda packet: [] if decoded else packet.decode()):
            decoded.extend(frames)
            if time is not None:
                stamps.append(time)
            if decoded and len(stamps) >= _PROBED_PACKETS and not timing.may_jump(container):
                break
        if not decoded:
            message = f"{path} has a video track, but no frame can be decoded: it is empty, damaged or truncated."
            raise errors.UnreadableError(message)
        first = decoded[0]
        color.complete_tags(first, declared)
        orientation = filters.orientation_filters(first)
        size = (first.height, max(1, round(first.width * (stream.sample_aspect_ratio or 1))))
        if size[0] * size[1] > images.MAX_PIXELS:
            raise errors.UnreadableError(
                f"{path} has frames of {size[1]} x {size[0]}; the limit is {images.MAX_PIXELS:,} pixels."
            )
        fps = timing.measure_rate((stream.guessed_rate, stream.average_rate), stamps[:_PROBED_PACKETS])
        seekable, end = len(continuous.offsets) == 1, _end(container, stream)
        if not seekable and timing.may_jump(container):
            end = max(stamps) - origin(container) + float(1 / fps)
        return Probe(
            fps=fps,
            size=size[::-1] if filters.is_transposed(orientation) else size,
            orientation=orientation,
            end=end,
            has_audio=bool(container.streams.audio),
            hdr=color.hdr_kind(first),
            dolby_vision=color.is_dolby_vision(first, stream.codec_context.codec_tag),
            seekable=seekable,
        )


def read_offsets(path: Path) -> list[float]:
    """The offsets of the video track's pieces, see `timing.ContinuousStamps`; in seconds, the first is 0."""
    with open_container(path) as container:
        continuous, stream = timing.ContinuousStamps(container), video_stream(container)
        if stream is not None and timing.may_jump(container):
            collections.deque(_packets(continuous, stream, lambda packet: []), maxlen=0)
    return continuous.offsets


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
    convert = color.RgbConverter(probed.size)
    frames = filters.apply(_read_near(path, probed, start), probed.orientation)
    yield from map(convert, timing.resample(frames, probed.fps, fps, start))


def _read_near(path: Path, probed: Probe, start: float) -> Iterator[timing.TimedFrame]:
    """Yields frames, beginning with the one at `start` or an earlier one."""
    if start > 0 and probed.seekable:
        frames = _read(path, probed, start)
        first = next(frames, None)
        # Not every container can seek, and some seek too far.
        if first is not None and first.time <= start:
            return itertools.chain([first], frames)
        frames.close()
    return _read(path, probed)


def _read(path: Path, probed: Probe, seek_to: float = 0.0) -> Iterator[timing.TimedFrame]:
    with open_container(path) as container:
        stream, zero = video_stream(container), origin(container)
        if seek_to > 0:
            with contextlib.suppress(av.FFmpegError):
                container.seek(int((zero + seek_to) / stream.time_base), stream=stream)
        declared = color.read_tags(stream.codec_context)
        count, end, damaged = 0, 0.0, False
        continuous = timing.ContinuousStamps(container)
        for _, frames, intact in _packets(continuous, stream, _decoder(path, stream).decode):
            damaged = damaged or not intact
            for frame in frames:
                time = end if frame.time is None else frame.time - zero
                duration = float(frame.duration * frame.time_base) if frame.duration else float(1 / probed.fps)
                count, end = count + 1, time + duration
                color.complete_tags(frame, declared)
                yield timing.TimedFrame(time, min(duration, timing.MAX_DURATION), frame)
    damaged = damaged and probed.seekable  # where streams were concatenated, a packet may be cut
    if count and (damaged or (probed.end is not None and end < probed.end - max(_SHORTFALL, float(2 / probed.fps)))):
        of = f" of {probed.end:.1f}" if probed.end is not None else ""
        warnings.warn(f"{path} is damaged or truncated: it could be read up to {end:.1f}{of} s.", stacklevel=2)


def _decoder(path: Path, stream: av.VideoStream) -> av.VideoCodecContext:
    """The stream's decoder, or the one that decodes its alpha channel too."""
    stream.thread_type = "AUTO"
    name = _ALPHA_DECODERS.get(stream.codec_context.name)
    if name is None or stream.metadata.get("alpha_mode") != "1":
        return stream.codec_context
    try:
        return av.CodecContext.create(name, "r")
    except av.codec.codec.UnknownCodecError:
        warnings.warn(f"{path} has transparent areas, which this ffmpeg cannot decode; they are opaque.", stacklevel=2)
        return stream.codec_context


def _packets(
    continuous: timing.ContinuousStamps,
    stream: av.VideoStream,
    decode: Callable[[av.Packet], list[av.VideoFrame]],
) -> Iterator[tuple[float | None, list[av.VideoFrame], bool]]:
    """Yields time stamp, decoded frames and whether the packet was intact, for each packet; never raises."""
    try:
        for packet in continuous.demux(stream):
            stamp = packet.dts if packet.pts is None else packet.pts
            time = None if stamp is None else float(stamp * packet.time_base)
            try:
                frames = decode(packet)
            except av.error.InvalidDataError:
                yield time, [], False
            else:
                yield time, frames, not packet.is_corrupt
    except av.FFmpegError:
        yield None, [], False

"""Fixtures that write clips with numbered frames, and audio whose pitch encodes the second."""

import resource
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

RATE = 48000


def _numbered(index: int, height: int = 32, width: int = 64) -> np.ndarray:
    """A frame that shows `index` in eight black or white bars."""
    bars = np.array([255 * (index >> bit & 1) for bit in range(8)], np.uint8)
    return np.broadcast_to(np.repeat(bars, width // 8)[None, :, None], (height, width, 3)).copy()


def _number(frame: np.ndarray) -> int:
    """Reads what `numbered` wrote."""
    bar = frame.shape[1] // 8
    return sum(1 << bit for bit in range(8) if frame[:, bit * bar + 1 : (bit + 1) * bar - 1].mean() > 127)


def _sound(seconds: float) -> np.ndarray:
    """Second k sounds at 400 + 200 k Hz."""
    time = np.arange(int(seconds * RATE)) / RATE
    return np.round(20000 * np.sin(2 * np.pi * (400 + 200 * np.floor(time)) * time)).astype(np.int16)


def _encode_sound(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    samples = _sound(seconds)
    for begin in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, begin : begin + 1024], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, begin, Fraction(1, RATE)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _clip(
    path: Path,
    count: int = 20,
    size: tuple[int, int] = (32, 64),
    fps: Fraction | int = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    codec_options: dict[str, str] | None = None,
    muxer_options: dict[str, str] | None = None,
    times: list[float] | None = None,
    frame=_numbered,
    sound: float = 0,
    sound_codec: str = "aac",
    aspect: Fraction | None = None,
) -> Path:
    with av.open(str(path), "w", options=muxer_options or {}) as container:
        stream = container.add_stream(codec, rate=fps, options=codec_options or {})
        stream.height, stream.width, stream.pix_fmt = *size, pix_fmt
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        audio = container.add_stream(sound_codec, rate=RATE, layout="mono") if sound else None
        for index in range(count):
            image = av.VideoFrame.from_ndarray(frame(index, *size), "rgb24").reformat(format=pix_fmt)
            if times:
                image.pts, image.time_base = round(times[index] * 1000), Fraction(1, 1000)
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))
        if audio:
            _encode_sound(container, audio, sound)
    return path


def _sound_file(path: Path, codec: str, seconds: float) -> Path:
    with av.open(str(path), "w") as container:
        _encode_sound(container, container.add_stream(codec, rate=RATE, layout="mono"), seconds)
    return path


def _pitches(path: Path) -> list[int]:
    """The pitch of each tenth of a second, in Hz, of a file's decoded audio."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", RATE)
        start = container.streams.video[0].start_time * container.streams.video[0].time_base
        samples = np.zeros(0, np.float32)
        for frame in container.decode(container.streams.audio[0]):
            begin = round(float(frame.pts * frame.time_base - start) * RATE)
            for piece in resampler.resample(frame):
                values = piece.to_ndarray().reshape(-1)
                end = max(0, begin + len(values))
                samples = np.pad(samples, (0, max(0, end - len(samples))))
                samples[max(0, begin) : end] = values[max(0, -begin) :]
    tenth = RATE // 10
    pieces = [samples[at : at + tenth] for at in range(0, len(samples) - tenth + 1, tenth)]
    return [int(np.argmax(np.abs(np.fft.rfft(piece)))) * 10 for piece in pieces]


@pytest.fixture
def numbered():
    return _numbered


@pytest.fixture
def number():
    return _number


@pytest.fixture
def clip():
    return _clip


@pytest.fixture
def sound_file():
    return _sound_file


@pytest.fixture
def pitches():
    return _pitches


@pytest.fixture
def resident():
    """Bytes of this process that lie in memory."""
    return lambda: int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

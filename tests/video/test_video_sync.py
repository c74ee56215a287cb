"""Sound stays in sync: a frame that flashes and the click that starts with it stay together."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest

from fomm_tf import video

_NTSC = Fraction(30000, 1001)
_TICK = Fraction(1, 90000)
_RATE = 48000
_TONE = (12000 * np.sin(2 * np.pi * 2000 * np.arange(480) / _RATE)).astype(np.int16)


class _Audio(NamedTuple):
    """An audio track: the encoder, the channels, and how much longer than the video it is, in seconds."""

    codec: str = "aac"
    layout: str = "mono"
    surplus: float = 0.0


_AAC = _Audio()


def _clip(
    path: Path,
    times: Sequence[float],
    clicks: Sequence[int],
    audio: _Audio = _AAC,
    codec: str = "libx264",
    start: float = 0.0,
    cover: bool = False,
) -> Path:
    """Writes frames at `times`; those numbered `clicks` are white, and a click sounds at the same instant."""
    silence = np.zeros(round((times[-1] + audio.surplus) * _RATE) + 2048, np.int16)
    for click in clicks:
        begin = round(times[click] * _RATE)
        silence[begin : begin + len(_TONE)] = _TONE[: max(0, len(silence) - begin)]
    with av.open(str(path), "w") as container:
        image = container.add_stream("mjpeg", rate=25) if cover else None
        stream = container.add_stream(codec, rate=_NTSC if codec == "libx264" else 30, options={"preset": "ultrafast"})
        sound = container.add_stream(audio.codec, rate=_RATE, layout=audio.layout)
        for each in (image, stream):
            if each is not None:
                each.height, each.width, each.pix_fmt = 16, 32, "yuvj420p" if each is image else "yuv420p"
        stream.codec_context.time_base = _TICK if codec == "libx264" else Fraction(1, 30)
        if image is not None:
            container.mux(image.encode(_frame(100, 0, Fraction(1, 25), image.pix_fmt)) + image.encode(None))
        position = 0
        for index, time in enumerate(times):
            level = 235 if index in clicks else 16
            container.mux(stream.encode(_frame(level, time + start, stream.codec_context.time_base)))
            while position < min(len(silence), time * _RATE):
                container.mux(sound.encode(_sound(silence[position : position + 1024], position, audio.layout, start)))
                position += 1024
        container.mux(stream.encode(None))
        for begin in range(position, len(silence), 1024):
            container.mux(sound.encode(_sound(silence[begin : begin + 1024], begin, audio.layout, start)))
        container.mux(sound.encode(None))
    return path


def _frame(level: int, time: float, clock: Fraction, pix_fmt: str = "yuv420p") -> av.VideoFrame:
    frame = av.VideoFrame(32, 16, pix_fmt)
    for plane, value in zip(frame.planes, (level, 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    frame.pts, frame.time_base = round(time / clock), clock
    return frame


def _sound(samples: np.ndarray, position: int, layout: str, start: float) -> av.AudioFrame:
    channels = av.AudioLayout(layout).nb_channels
    frame = av.AudioFrame.from_ndarray(np.repeat(samples, channels)[None], "s16", layout)
    frame.sample_rate, frame.pts, frame.time_base = _RATE, position + round(start * _RATE), Fraction(1, _RATE)
    return frame


def _flashes(frames: Sequence[np.ndarray], fps: Fraction) -> list[float]:
    """When the white frames of a clip begin, in seconds."""
    white = np.array([False, *(frame.mean() > 127 for frame in frames)])
    return [float(index / fps) for index in np.flatnonzero(white[1:] & ~white[:-1])]


def _clicks(path: Path) -> list[float]:
    """When the clicks of a file begin, in seconds from the start of its video track."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        origin = float(stream.start_time * stream.time_base)
        onsets, quiet = [], 0.0
        resampler = av.AudioResampler("s16", "mono", _RATE)
        for frame in container.decode(container.streams.audio[0]):
            begin = frame.time - origin
            for piece in resampler.resample(frame):
                for loud in np.flatnonzero(np.abs(piece.to_ndarray().reshape(-1).astype(int)) > 1500):
                    if begin + loud / _RATE > quiet:
                        onsets.append(begin + loud / _RATE)
                    quiet = begin + loud / _RATE + 0.1
    return onsets


def _assert_in_sync(source: Path, out: Path, count: int, **options: float) -> None:
    """Copies a clip through reader and writer, as `fomm animate` and the client do, and compares both tracks."""
    opened = video.open_video(source, **options)
    frames = list(opened)
    with video.write_video(out, opened.fps, audio_from=source, audio_start=options.get("start", 0.0)) as writer:
        for frame in frames:
            writer.write(frame)
    flashes, clicks = _flashes(frames, opened.fps), _clicks(out)
    assert len(flashes) == len(clicks) == count, (flashes, clicks)
    np.testing.assert_allclose(flashes, clicks, atol=float(1 / opened.fps))
    assert opened.frame_count == pytest.approx(len(frames), abs=2)


def _ntsc(seconds: float) -> list[float]:
    return [index / float(_NTSC) for index in range(round(seconds * _NTSC))]


def _phone(seconds: float) -> list[float]:
    """A phone's camera: jitter, and a missed frame now and then; slower in the dark."""
    random = np.random.default_rng(0)
    gaps = [float(random.normal(1 / 30, 0.002)) for _ in range(round(seconds * 31))]
    gaps = [0.1 if random.random() < 0.02 else gap for gap in gaps]
    times = np.concatenate([[0], np.cumsum(gaps)])
    slow = times > seconds / 2
    times[slow] += (times[slow] - seconds / 2) * 0.25
    return list(times[times < seconds])


def _screen(seconds: float) -> list[float]:
    """A screen recording: frames only where something moves."""
    random = np.random.default_rng(0)
    times = np.cumsum(random.choice([1 / 60, 1 / 60, 0.5, 1.0], round(seconds * 4)))
    return [0.0, *times[times < seconds]]


@pytest.mark.parametrize(
    ("suffix", "out", "audio"),
    [
        (".mp4", ".mp4", _AAC),
        (".mp4", ".webm", _AAC),
        (".mp4", ".mp4", _Audio("libopus", "stereo")),
        (".mp4", ".webm", _Audio("libopus", "5.1")),
        (".mp4", ".mp4", _Audio("aac", "5.1")),
        (".mkv", ".mp4", _Audio("ac3", "5.1", 2.0)),
        (".mp4", ".mp4", _Audio("aac", "stereo", 2.0)),
        (".ts", ".mp4", _Audio("aac", "stereo")),
    ],
)
def test_audio_track_stays_in_sync_at_ntsc_rate(tmp_path, suffix, out, audio):
    clip = _clip(tmp_path / f"in{suffix}", _ntsc(4), (5, 40, 100), audio)
    _assert_in_sync(clip, tmp_path / f"out{out}", 3)
    assert video.open_video(clip).fps == _NTSC


@pytest.mark.parametrize("times", [_phone, _screen])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_audio_track_stays_in_sync_at_variable_rate(tmp_path, times, suffix):
    times = times(12)
    numbers = (3, len(times) // 2, len(times) - 4)
    _assert_in_sync(_clip(tmp_path / f"in{suffix}", times, numbers), tmp_path / "out.mp4", 3)


@pytest.mark.conformance
@pytest.mark.parametrize(("times", "suffix"), [(_ntsc, ".mp4"), (_ntsc, ".mkv"), (_phone, ".mp4"), (_screen, ".mkv")])
def test_audio_track_stays_in_sync_for_ten_minutes(tmp_path, times, suffix):
    times = times(600)
    numbers = (3, len(times) // 2, len(times) - 4)
    _assert_in_sync(_clip(tmp_path / f"in{suffix}", times, numbers), tmp_path / "out.mp4", 3)


def test_audio_track_shorter_than_video_keeps_its_part_in_sync(tmp_path):
    clip = _clip(tmp_path / "in.mp4", _ntsc(4), (5, 40, 100), _Audio(surplus=-2.0))
    opened = video.open_video(clip)
    with video.write_video(tmp_path / "out.mp4", opened.fps, audio_from=clip) as writer:
        for frame in opened:
            writer.write(frame)
    assert writer.count == 120
    np.testing.assert_allclose(_clicks(tmp_path / "out.mp4"), [5 / 29.97, 40 / 29.97], atol=1 / 30)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_open_video_passes_over_a_cover_that_is_not_marked(tmp_path, suffix):
    """The cover image is the first video track."""
    clip = _clip(tmp_path / f"in{suffix}", _ntsc(3), (5, 60), cover=True)
    _assert_in_sync(clip, tmp_path / "out.mp4", 2)


def _concatenate(path: Path, *pieces: Path) -> Path:
    path.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    return path


@pytest.mark.parametrize("start", [0.0, 4.5])
@pytest.mark.parametrize("starts", [(0, 0), (0, 5000), (5000, 0)])
def test_open_video_reads_concatenated_transport_streams(tmp_path, recwarn, starts, start):
    pieces = [
        _clip(tmp_path / f"{index}.ts", _ntsc(3), (20, 70), start=begin) for index, begin in enumerate((*starts, 0))
    ]
    clip = _concatenate(tmp_path / "in.ts", *pieces)
    _assert_in_sync(clip, tmp_path / "out.mp4", 3 if start else 6, start=start)
    assert not recwarn.list


def test_open_video_reads_concatenated_program_streams(tmp_path):
    clip = _clip(tmp_path / "1.mpg", [index / 30 for index in range(90)], (20, 70), _Audio("mp2"), "mpeg1video")
    _assert_in_sync(_concatenate(tmp_path / "in.mpg", clip, clip), tmp_path / "out.mp4", 4)


def test_audio_track_may_change_its_layout(tmp_path):
    """As a broadcast does between a film and advertisements."""
    pieces = [
        _clip(tmp_path / f"{layout}.ts", _ntsc(3), (20, 70), _Audio("ac3", layout)) for layout in ("stereo", "5.1")
    ]
    _assert_in_sync(_concatenate(tmp_path / "in.ts", *pieces), tmp_path / "out.mp4", 4)


def test_audio_track_transcodes_mp3_that_mp4_cannot_hold(tmp_path):
    source = tmp_path / "slow.mp3"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libmp3lame", rate=8000, layout="mono")
        for begin in range(0, 16000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, begin, Fraction(1, 8000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with video.write_video(tmp_path / "out.mp4", 25, audio_from=source) as writer:
        for _ in range(25):
            writer.write(np.zeros((16, 32, 3), np.uint8))
    assert video.open_video(tmp_path / "out.mp4").has_audio

import av
import numpy as np
import pytest

from fomm_tf import errors, video


def _write(path, seconds, fps=25, **options):
    with video.write_video(path, fps, **options) as writer:
        for index in range(round(seconds * fps)):
            writer.write(np.full((32, 64, 3), index % 256, np.uint8))
    return path


def _sound(path):
    """Codec and duration of the audio in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        packets = [packet for packet in container.demux(stream) if packet.pts is not None]
        end = max(float((packet.pts + packet.duration) * packet.time_base) for packet in packets)
        return stream.codec_context.name, end


def _expected(first: float, seconds: float) -> list[int]:
    """The pitch in the middle of each tenth of a second; see `conftest`."""
    return [400 + 200 * int(first + tenth / 10 + 0.05) for tenth in range(round(seconds * 10))]


def _assert_pitches(got, expected):
    assert abs(len(got) - len(expected)) <= 1
    # The run-up of a decoder, and a cut in the middle of a packet, blur a tenth of a second at most.
    wrong = [place for place, (one, other) in enumerate(zip(got, expected, strict=False)) if one != other]
    assert len(wrong) <= 1, (got, expected)


def test_audio_track_copies_packets(tmp_path, clip, pitches):
    source = clip(tmp_path / "in.mp4", 100, sound=4)
    path = _write(tmp_path / "out.mp4", 4, audio_from=source)

    def payload(file):
        with av.open(str(file)) as container:
            return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]

    copied, original = payload(path), payload(source)
    assert copied == original[: len(copied)]
    assert len(original) - len(copied) <= 2
    _assert_pitches(pitches(path), _expected(0, 4))
    assert video.open_video(path).has_audio


@pytest.mark.slow
@pytest.mark.parametrize("start", [0, 1, 2.5])
@pytest.mark.parametrize(
    ("name", "sound_codec", "out", "expected"),
    [
        ("in.mp4", "aac", "out.mp4", "aac"),
        ("in.mkv", "aac", "out.mov", "aac"),
        ("in.mp4", "libmp3lame", "out.mp4", "mp3float"),
        ("in.webm", "libopus", "out.webm", "libopus"),
        ("in.webm", "libopus", "out.mp4", "aac"),
        ("in.mp4", "aac", "out.webm", "libopus"),
        ("in.avi", "pcm_s16le", "out.mp4", "aac"),
        ("in.ts", "aac", "out.mp4", "aac"),
        ("in.avi", "libmp3lame", "out.webm", "libopus"),
    ],
)
def test_audio_track_is_trimmed_to_start_and_frames(tmp_path, clip, pitches, name, sound_codec, out, expected, start):
    options = {".webm": {"codec": "libvpx"}, ".avi": {"codec": "mpeg4", "codec_options": {"bf": "0"}}}
    source = clip(
        tmp_path / name, 125, sound=5, sound_codec=sound_codec, **options.get(name[-5:], options.get(name[-4:], {}))
    )
    path = _write(tmp_path / out, 2, audio_from=source, audio_start=start)
    codec, end = _sound(path)
    assert codec in (expected, expected.removeprefix("lib"), expected.removesuffix("float"))
    assert 1.9 < end <= 2.03
    _assert_pitches(pitches(path), _expected(start, 2))
    opened = video.open_video(path)
    assert opened.has_audio and opened.fps == 25
    assert len(list(opened)) == 50


@pytest.mark.parametrize("out", ["out.mp4", "out.webm"])
def test_audio_track_stays_in_sync_with_late_video_start(tmp_path, clip, pitches, out):
    """The first frame is at 0.7 s: that is second 0 for video and audio."""
    source = clip(tmp_path / "in.mkv", 50, times=[0.7 + index / 25 for index in range(50)], sound=4)
    assert len(list(video.open_video(source))) == 50
    _assert_pitches(pitches(_write(tmp_path / out, 2, audio_from=source)), _expected(0.7, 2))


def test_audio_track_shorter_than_video_ends_earlier(tmp_path, clip):
    path = _write(tmp_path / "out.mp4", 3, audio_from=clip(tmp_path / "in.mp4", 25, sound=1))
    assert 0.9 < _sound(path)[1] < 1.1
    assert len(list(video.open_video(path))) == 75


@pytest.mark.parametrize("out", ["out.mp4", "out.webm", "out.gif", "out"])
def test_write_video_without_audio_adds_no_track(tmp_path, clip, sound_file, out):
    silent = clip(tmp_path / "in.mp4", 25)
    short = clip(tmp_path / "short.mp4", 25, sound=1)
    for source, start in ((silent, 0), (tmp_path, 0), (short, 5)):
        assert not video.open_video(_write(tmp_path / out, 1, audio_from=source, audio_start=start)).has_audio


def test_write_video_ignores_audio_for_gif_and_directory(tmp_path, clip):
    source = clip(tmp_path / "in.mp4", 25, sound=1)
    for out in ("out.gif", "out"):
        assert not video.open_video(_write(tmp_path / out, 1, audio_from=source)).has_audio


def test_write_video_takes_audio_from_an_audio_file(tmp_path, sound_file, pitches):
    path = _write(tmp_path / "out.mp4", 2, audio_from=sound_file(tmp_path / "a.wav", "pcm_s16le", 3), audio_start=1)
    _assert_pitches(pitches(path), _expected(1, 2))


def test_write_video_rejects_unreadable_audio_source(tmp_path):
    (tmp_path / "text.mp4").write_text("text\n" * 100)
    for name, message in (("missing.mp4", "does not exist"), ("text.mp4", "is not a video that ffmpeg can read")):
        with pytest.raises(errors.UserError, match=message):
            _write(tmp_path / "out.mp4", 1, audio_from=tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == ["text.mp4"]


def test_audio_track_is_interleaved_with_video(tmp_path, clip):
    path = _write(tmp_path / "out.mp4", 20, audio_from=clip(tmp_path / "in.mp4", 500, sound=20))
    with av.open(str(path)) as container:
        places = [
            (packet.pos, packet.stream.type, float(packet.dts * packet.time_base))
            for packet in container.demux()
            if packet.size
        ]
    last = {"audio": 0.0, "video": 0.0}
    for _, kind, time in sorted(places):
        last[kind] = time
        assert abs(last["audio"] - last["video"]) < 1.5


def test_write_video_takes_audio_from_a_transport_stream_without_video(tmp_path, sound_file, pitches):
    path = _write(tmp_path / "out.mp4", 1, audio_from=sound_file(tmp_path / "a.ts", "aac", 2))
    _assert_pitches(pitches(path), _expected(0, 1))

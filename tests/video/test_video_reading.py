import itertools
import subprocess
import sys
import warnings
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from fomm_tf import errors, video
from fomm_tf.video import decoding, images, timing

CONTAINERS = {
    ".mp4": {"codec_options": {"g": "30", "bf": "3"}},
    ".mov": {"codec_options": {"g": "30"}},
    ".mkv": {"codec_options": {"g": "30"}},
    ".ts": {"codec_options": {"g": "30"}},
    ".webm": {"codec": "libvpx", "codec_options": {"g": "30"}},
    ".avi": {"codec": "mpeg4", "codec_options": {"g": "30"}},
    ".gif": {"codec": "gif", "pix_fmt": "rgb8"},
}


def _refusal(path, error=errors.UserError, **options) -> str:
    with pytest.raises(error) as caught:
        list(video.open_video(path, **options))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30000, 1001)])
@pytest.mark.parametrize("suffix", CONTAINERS)
def test_open_video_yields_every_frame_once_from_any_start(tmp_path, clip, number, suffix, fps):
    path = clip(tmp_path / f"a clip ü{suffix}", 100, fps=fps, **CONTAINERS[suffix])
    whole = video.open_video(path)
    assert whole.size == (32, 64) and not whole.has_audio
    assert whole.frame_count in ((100, 101) if suffix == ".ts" else (100,))
    assert float(whole.fps) == pytest.approx(float(fps), rel=2e-3 if suffix == ".gif" else 0)
    frames = list(whole)
    assert [number(frame) for frame in frames] == list(range(100))
    assert all(frame.shape == (32, 64, 3) and frame.dtype == np.uint8 for frame in frames)
    for first in (1, 29, 30, 31, 60, 97):
        part = video.open_video(path, start=first / float(fps), duration=3 / float(fps))
        assert [number(frame) for frame in part] == [first, first + 1, first + 2]
        assert part.frame_count == 3
    assert [number(frame) for frame in video.open_video(path, start=98 / float(fps))] == [98, 99]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_open_video_tries_no_image_formats_on_common_containers(tmp_path, clip, monkeypatch, suffix):
    path = clip(tmp_path / f"a{suffix}", 2, **CONTAINERS[suffix])
    monkeypatch.setattr(Image, "open", None)
    assert len(list(video.open_video(path))) == 2 and video.is_video(path)


def test_open_video_seeks_to_a_late_start(tmp_path, clip, monkeypatch):
    path = clip(tmp_path / "a.mp4", 250, codec_options={"g": "25"})
    late = video.open_video(path, start=9.5, duration=0.1)
    decoded = []
    packets = decoding._packets
    monkeypatch.setattr(decoding, "_packets", lambda *a: (decoded.extend(p[1]) or p for p in packets(*a)))
    assert len(list(late)) == 2
    assert len(decoded) < 40


def test_open_video_yields_same_frames_on_second_iteration(tmp_path, clip):
    opened = video.open_video(clip(tmp_path / "a.mp4"))
    unfinished = itertools.islice(opened, 5)
    first = list(opened)
    assert len(first) == 20
    for one, other in zip(first, opened, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(list(unfinished)) == 5


def test_open_video_memory_stays_flat(tmp_path, clip, resident):
    path = clip(tmp_path / "long.mp4", 1500, size=(128, 192), codec_options={"preset": "ultrafast"})
    sizes = [resident() for _ in video.open_video(path)]
    assert len(sizes) == 1500
    assert sizes[-1] - sizes[300] < 10e6  # all frames are 110 MB


def test_open_video_colors_are_correct(tmp_path, clip):
    patches = np.kron(
        np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]], np.uint8), np.ones((16, 32, 1))
    )
    path = clip(tmp_path / "a.mp4", 3, codec_options={"crf": "1"}, frame=lambda *_: patches.astype(np.uint8))
    frame = next(iter(video.open_video(path))).astype(int)
    for y, x in itertools.product((8, 24), (16, 48)):
        assert np.abs(frame[y, x] - patches[y, x]).max() < 8


def test_open_video_variable_rate_keeps_speed(tmp_path, clip, number):
    """25 frames a second, a still second, and on."""
    times = [index / 25 for index in range(50)] + [3 + index / 25 for index in range(50)]
    for suffix in (".mp4", ".webm"):
        opened = video.open_video(clip(tmp_path / f"a{suffix}", 100, times=times, **CONTAINERS[suffix]))
        assert opened.fps == 25
        numbers = [number(frame) for frame in opened]
        assert abs(len(numbers) - 125) <= 1
        for place, index in enumerate(numbers):
            shown = max(i for i in range(100) if times[i] <= place / 25 + 1e-6)
            assert abs(index - shown) <= 1


def test_open_video_jitter_neither_drops_nor_repeats_frames(tmp_path, clip, number):
    jitter = np.random.default_rng(0).uniform(-0.012, 0.012, 100)
    times = [max(0, index / 30 + shift) for index, shift in enumerate(jitter)]
    opened = video.open_video(clip(tmp_path / "a.webm", 100, fps=30, times=times, **CONTAINERS[".webm"]))
    assert abs(opened.fps - 30) < 0.5
    assert [number(frame) for frame in opened] == list(range(100))


def test_open_video_measures_rate_when_header_is_wrong():
    stamps = np.cumsum([0.033, 0.034, 0.03, 0.036] * 50)
    assert timing.measure_rate([Fraction(1000)], stamps) == pytest.approx(30, rel=0.01)
    assert timing.measure_rate([], stamps) == pytest.approx(30, rel=0.01)
    rates = [Fraction(30), Fraction(30000, 1001)]
    assert timing.measure_rate(rates, np.round(np.arange(300) / 30, 3)) == 30
    assert timing.measure_rate(rates, np.round(np.arange(300) * 1.001 / 30, 3)) == rates[1]
    assert timing.measure_rate([None], []) == 25


def test_open_video_gif_holds_last_frame(tmp_path):
    images = [Image.new("L", (8, 8), 20 * index) for index in range(5)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=[100] * 4 + [1000])
    opened = video.open_video(tmp_path / "a.gif")
    assert opened.fps == 10 and opened.frame_count == 14
    assert [frame[0, 0, 0] // 20 for frame in opened] == [0, 1, 2, 3] + [4] * 10


def test_open_video_resamples_to_given_rate(tmp_path, clip, number):
    path = clip(tmp_path / "a.mp4", 30, fps=30)
    assert [number(frame) for frame in video.open_video(path, fps=15)] == list(range(0, 30, 2))
    assert [number(frame) for frame in video.open_video(path, fps=60)] == [i // 2 for i in range(60)]
    assert len(list(video.open_video(path, fps=24))) == 24


@pytest.mark.parametrize(
    ("matrix", "turns"),
    [((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1), ((1, 0, 0, 1), 0)],
)
def test_open_video_applies_rotation_metadata(tmp_path, clip, matrix, turns):
    """The track's (a, b, c, d) takes (x, y), y down, to (a x + c y, b x + d y): (0, 1, -1, 0) turns clockwise."""
    corner = np.zeros((32, 64, 3), np.uint8)
    corner[:16, :16] = 255
    path = clip(tmp_path / "a.mp4", 3, frame=lambda *_: corner)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    for place, value in zip((0, 1, 3, 4), matrix, strict=True):
        data[at + 4 * place : at + 4 * place + 4] = (value * 65536).to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    opened = video.open_video(path)
    expected = np.rot90(corner, turns)
    assert opened.size == expected.shape[:2]
    frame = next(iter(opened))
    assert frame.flags.c_contiguous
    assert np.abs(frame.astype(int) - expected).mean() < 5


def test_open_video_makes_pixels_square(tmp_path, clip):
    opened = video.open_video(clip(tmp_path / "a.mp4", 3, aspect=Fraction(4, 3)))
    assert opened.size == (32, 85) == next(iter(opened)).shape[:2]


def test_open_video_reads_odd_sides(tmp_path, clip):
    opened = video.open_video(clip(tmp_path / "a.webm", 3, size=(33, 64), codec="libvpx-vp9"))
    assert opened.size == (33, 64) == next(iter(opened)).shape[:2]


def test_open_video_reads_directory_in_natural_order(tmp_path, numbered, number):
    folder = tmp_path / "frames of me"
    folder.mkdir()
    for index in (1, 2, 9, 10, 11, 100):
        Image.fromarray(numbered(index)).save(folder / f"Frame{index}.PNG")
    (folder / "notes.txt").touch()
    (folder / ".hidden.png").touch()
    opened = video.open_video(folder)
    assert (opened.fps, opened.size, opened.frame_count, opened.has_audio) == (25, (32, 64), 6, False)
    assert [number(frame) for frame in opened] == [number(frame) for frame in opened] == [1, 2, 9, 10, 11, 100]
    part = video.open_video(folder, start=1, duration=1.5, fps=2)
    assert part.fps == 2 and part.frame_count == 3
    assert [number(frame) for frame in part] == [9, 10, 11]


def test_open_video_splits_stacked_image_into_squares(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    Image.fromarray(np.concatenate(list(frames), axis=1)).save(tmp_path / "a.png")
    opened = video.open_video(tmp_path / "a.png")
    assert (opened.fps, opened.size, opened.frame_count) == (25, (16, 16), 6)
    np.testing.assert_array_equal(list(opened), frames)
    np.testing.assert_array_equal(list(video.open_video(tmp_path / "a.png", 0.5, 1, fps=2)), frames[1:3])


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".mkv", ".avi"])
def test_open_video_truncated_file_yields_frames_and_warns(tmp_path, clip, number, suffix):
    options = CONTAINERS[suffix] | ({"muxer_options": {"movflags": "+faststart"}} if suffix == ".mp4" else {})
    path = clip(tmp_path / f"a{suffix}", 100, **options)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.7)])
    opened = video.open_video(path)
    with pytest.warns(UserWarning, match="is damaged or truncated: it could be read up to") as caught:
        numbers = [number(frame) for frame in opened]
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    assert 30 < len(numbers) < 90
    assert numbers[:30] == list(range(30))


def test_open_video_complete_file_does_not_warn(tmp_path, clip):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for suffix, options in CONTAINERS.items():
            sound = {} if suffix == ".gif" else {"sound": 6, "sound_codec": "libopus" if suffix == ".webm" else "aac"}
            opened = video.open_video(clip(tmp_path / f"a{suffix}", 50, **options, **sound))
            assert opened.has_audio == bool(sound)
            # AVI has no time stamps: its first frame lasts two places for the encoder's delay.
            assert len(list(opened)) == (51 if suffix == ".avi" else 50)
            assert opened.frame_count in (50, 51)


def test_open_video_rejects_other_files_with_specific_messages(tmp_path, clip, sound_file):
    assert "missing.mp4 does not exist" in _refusal(tmp_path / "missing.mp4")
    (tmp_path / "empty.mp4").touch()
    assert "empty.mp4 is empty (0 bytes)" in _refusal(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("this is text\n" * 100)
    assert "text.mp4 is not a video that ffmpeg can read" in _refusal(tmp_path / "text.mp4")
    assert "holds only audio" in _refusal(sound_file(tmp_path / "a.mp3", "libmp3lame", 1))
    (tmp_path / "folder").mkdir()
    assert "is a directory without images" in _refusal(tmp_path / "folder")
    Image.new("RGB", (48, 32)).save(tmp_path / "one.png")
    assert "is one image of 48 x 32" in _refusal(tmp_path / "one.png")
    path = clip(tmp_path / "cut.mp4", 50)
    path.write_bytes(path.read_bytes()[:1000])
    assert "cut.mp4 has no index" in _refusal(path)


def test_open_video_rejects_audio_with_cover_image(tmp_path, sound_file):
    """A hand-made ID3 tag with an attached image in front of an mp3."""
    Image.new("RGB", (16, 16)).save(tmp_path / "cover.png")
    body = b"\x00image/png\x00\x03\x00" + (tmp_path / "cover.png").read_bytes()
    frame = b"APIC" + len(body).to_bytes(4, "big") + b"\x00\x00" + body
    length = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    path = sound_file(tmp_path / "a.mp3", "libmp3lame", 1)
    path.write_bytes(b"ID3\x03\x00\x00" + length + frame + path.read_bytes())
    with av.open(str(path)) as container:
        assert container.streams.video
    assert "holds only audio" in _refusal(path)


def test_open_video_rejects_track_without_frames(tmp_path):
    for name, message in (("a.avi", "no frame can be decoded"), ("a.mp4", "holds no video track")):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.height, stream.width, stream.pix_fmt = 32, 64, "yuv420p"
            container.start_encoding()
        assert message in _refusal(tmp_path / name)


def test_open_video_rejects_undecodable_frames(tmp_path, clip):
    path = clip(tmp_path / "a.mp4", muxer_options={"movflags": "+faststart"})
    data = path.read_bytes()
    at = data.index(b"mdat") + 4
    path.write_bytes(data[:at] + b"\xff" * (len(data) - at))
    assert "no frame can be decoded" in _refusal(path)
    path.write_bytes(data.replace(b"avc1", b"zz9z"))
    assert "cannot decode" in _refusal(path)


@pytest.mark.filterwarnings("ignore:.*is damaged or truncated")
def test_open_video_truncated_anywhere_does_not_blame_options(tmp_path):
    path = tmp_path / "a.mp4"
    with video.write_video(path, 25) as writer:
        for frame in np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8):
            writer.write(frame)
    data = path.read_bytes()
    messages = set()
    for end in range(1, len(data) - 1, len(data) // 60):
        path.write_bytes(data[:end])
        messages.add(_refusal(path, error=errors.UnreadableError))
    assert f"{path} has no frame that can be decoded: it is damaged or truncated." in messages
    assert not any("start" in message for message in messages)


@pytest.mark.parametrize("name", ["a.mp4", "a.png"])
def test_open_video_reports_file_removed_during_reading(tmp_path, clip, name):
    path = tmp_path / name
    if name == "a.mp4":
        clip(path, 50)
    else:
        Image.new("RGB", (64, 8)).save(path)
    opened = video.open_video(path)
    path.unlink()
    with pytest.raises(errors.UnreadableError, match=name):
        next(iter(opened))


def test_open_video_rejects_directory_with_unequal_frames(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    Image.new("RGB", (9, 8)).save(tmp_path / "1.png")
    assert "1.png is 9 x 8, but 0.png is 8 x 8" in _refusal(tmp_path)


def test_open_video_rejects_invalid_times(tmp_path, clip):
    path = clip(tmp_path / "a.mp4", 50)
    Image.new("RGB", (64, 8)).save(tmp_path / "a.png")
    assert "`start` must be 0 seconds or more; got -1" in _refusal(path, start=-1)
    assert "`start` must be 0 seconds or more; got nan" in _refusal(path, start=float("nan"))
    assert "`duration` must be more than 0 seconds; got 0" in _refusal(path, duration=0)
    assert "`fps` must be above 0 and at most 1000; got 0" in _refusal(path, fps=0)
    assert "is after the last frame" in _refusal(path, start=2)
    assert "which lasts 2.00 s" in _refusal(path, start=100)
    assert "is after the last frame" in _refusal(tmp_path / "a.png", start=1)
    with pytest.warns(UserWarning):
        data = clip(tmp_path / "b.mkv", 100).read_bytes()
        (tmp_path / "b.mkv").write_bytes(data[: len(data) // 2])
        assert "is after the last frame" in _refusal(tmp_path / "b.mkv", start=3.5)


def test_open_video_never_treats_path_as_url(tmp_path, clip, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clip(tmp_path / "a.mp4").rename(tmp_path / "12:30 %d.mp4")
    assert len(list(video.open_video("12:30 %d.mp4"))) == 20


def test_open_video_loads_neither_tensorflow_nor_opencv():
    code = "import sys, fomm_tf.video; sys.exit(any(name in sys.modules for name in ('tensorflow', 'cv2')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_is_video_separates_images_and_videos(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, [24, 48, 3], np.uint8)
    video.write_image(tmp_path / "wide.png", image)
    video.write_image(tmp_path / "frames" / "0.png", image)
    (tmp_path / "text.png").write_text("not an image\n" * 20)
    (tmp_path / "text.mp4").write_text("not a video\n" * 20)
    for name, count in (("many.gif", 3), ("one.gif", 1), ("many.webp", 3), ("clip.mp4", 3)):
        with video.write_video(tmp_path / name, 25) as writer:
            for index in range(count):
                writer.write(np.roll(image, index, axis=1))
    videos = {path.name for path in tmp_path.iterdir() if video.is_video(path)}
    assert videos == {"frames", "many.gif", "many.webp", "clip.mp4", "text.mp4"}
    assert video.is_video(tmp_path / "wide.png", stacked=True) and not video.is_video(tmp_path / "text.png")
    with pytest.raises(errors.UnreadableError, match="does not exist"):
        video.is_video(tmp_path / "none.png")


def test_open_still_is_a_video_of_one_frame(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, [24, 48, 3], np.uint8)
    video.write_image(tmp_path / "wide.png", image)
    still = video.open_still(tmp_path / "wide.png", 30)
    assert (still.fps, still.size, still.frame_count, still.has_audio) == (30, (24, 48), 1, False)
    for _ in range(2):
        np.testing.assert_array_equal(list(still), image[np.newaxis])


def test_open_video_rejects_frames_of_too_many_pixels(tmp_path, clip, monkeypatch):
    path = clip(tmp_path / "a.mp4", 2)
    monkeypatch.setattr(images, "MAX_PIXELS", 2000)
    with pytest.raises(errors.UserError, match=r"a\.mp4 has frames of 64 x 32; the limit is 2,000 pixels"):
        video.open_video(path)

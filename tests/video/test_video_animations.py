"""Animated images as videos: timing, transparency, and that they are never taken for stacked frames."""

from fractions import Fraction

import drawn_videos
import numpy as np
import pytest
from PIL import Image

from fomm_tf import errors, video

_SUFFIXES = ("webp", "avif", "png", "apng", "gif", "tif")


def _animation(path, size=(64, 64), count=6, mode="RGB", **options):
    """Frames with a bar that moves by 8 pixels."""
    frames = []
    for index in range(count):
        frame = np.full((*size, 3), 30, np.uint8)
        frame[:, 8 * index : 8 * index + 8] = 220
        frames.append(Image.fromarray(frame).convert(mode))
    kind = {"apng": "png", "tif": "tiff"}.get(path.suffix[1:], path.suffix[1:])
    options = {"duration": 40} | options if kind != "tiff" else options
    frames[0].save(path, kind, save_all=True, append_images=frames[1:], **options)
    return path


def _bar(frame):
    return int((frame[32, :, 1] > 125).argmax()) // 8


@pytest.mark.parametrize("suffix", _SUFFIXES)
@pytest.mark.parametrize("size", [(64, 64), (64, 128), (64, 50)])
def test_open_video_reads_animated_images(tmp_path, suffix, size):
    opened = video.open_video(_animation(tmp_path / f"a.{suffix}", size))
    frames = list(opened)
    assert [_bar(frame) for frame in frames] == [0, 1, 2, 3, 4, 5]
    assert opened.size == size == frames[0].shape[:2]
    assert (opened.fps, opened.frame_count, opened.has_audio) == (25, 6, False)
    assert [_bar(frame) for frame in opened] == [0, 1, 2, 3, 4, 5]  # again


@pytest.mark.parametrize("suffix", ["webp", "avif", "png"])
def test_open_video_keeps_time_of_animated_images(tmp_path, suffix):
    path = _animation(tmp_path / f"a.{suffix}", count=5, duration=[100, 100, 300, 100, 100])
    assert [_bar(frame) for frame in video.open_video(path)] == [0, 1, 2, 2, 2, 3, 4]
    assert [_bar(frame) for frame in video.open_video(path, start=0.2, duration=0.4)] == [2, 2, 2, 3]
    assert [_bar(frame) for frame in video.open_video(path, fps=5)] == [0, 2, 2, 4]
    with pytest.raises(errors.UserError, match="start"):
        video.open_video(path, start=5)


@pytest.mark.parametrize("suffix", ["webp", "png"])
def test_open_video_shows_transparent_areas_of_animations_as_white(tmp_path, suffix):
    frames = []
    for index in range(4):
        frame = np.zeros((64, 64, 4), np.uint8)
        frame[16:-16, 16 + index : 48 + index] = (200, 60, 60, 255)
        frames.append(Image.fromarray(frame))
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], duration=40, **options)
    decoded = list(video.open_video(tmp_path / f"a.{suffix}"))
    assert len(decoded) == 4
    for index, frame in enumerate(decoded):
        assert (frame[1, 1] == 255).all()
        np.testing.assert_array_equal(frame[32, 16 + index], (200, 60, 60))
        np.testing.assert_array_equal(frame[32, 15 + index], (255, 255, 255))


@pytest.mark.parametrize("suffix", ["webp", "png"])
def test_open_video_applies_exif_orientation_of_animations(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [Image.fromarray(drawn_videos.chart())] * 2 + [Image.new("RGB", (96, 64))]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], duration=40, exif=exif)
    opened = video.open_video(tmp_path / f"a.{suffix}")
    assert opened.size == (96, 64)
    expected = drawn_videos.turn(drawn_videos.COLORS, "turned-90")
    assert np.abs(drawn_videos.quarters(next(iter(opened))) - expected).max() <= 8


def test_open_video_skips_default_image_of_apng(tmp_path):
    path = tmp_path / "a.png"
    frames = [Image.new("RGB", (32, 64), (value, 0, 0)) for value in (1, 2, 3)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40, default_image=True)
    assert [int(frame[0, 0, 0]) for frame in video.open_video(path)] == [2, 3]


def test_open_video_truncated_animation_yields_frames_and_warns(tmp_path):
    path = _animation(tmp_path / "a.png")
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"fdAT") + 20])
    with pytest.warns(UserWarning, match="damaged or truncated"):
        assert len(list(video.open_video(path))) == 5


def test_is_animated_is_false_for_single_images_and_other_files(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.webp")
    (tmp_path / "b.png").write_bytes(b"no image")
    assert not any(video.is_animated(tmp_path / name) for name in ("a.webp", "b.png", "c.png"))
    assert video.is_animated(_animation(tmp_path / "d.webp"))
    assert video.is_animated(_animation(tmp_path / "e.gif"))


@pytest.mark.parametrize("suffix", ["bmp", "webp", "tif", "avif", "png", "jpg"])
def test_open_video_reads_directory_of_frames(tmp_path, suffix):
    for index in range(4):
        Image.new("RGB", (32, 32), (50 * index,) * 3).save(tmp_path / f"{index}.{suffix}")
    assert [round(frame.mean() / 50) for frame in video.open_video(tmp_path)] == [0, 1, 2, 3]


def test_open_video_leaves_out_unreadable_frames_and_names_them(tmp_path):
    for index in range(8):
        Image.new("RGB", (32, 32), (30 * index,) * 3).save(tmp_path / f"{index}.jpg")
    for index in (0, 3):
        (tmp_path / f"{index}.jpg").write_bytes((tmp_path / f"{index}.jpg").read_bytes()[:200])
    opened = video.open_video(tmp_path)
    with pytest.warns(UserWarning, match=r"left out 2 files \(0\.jpg, 3\.jpg\) that cannot be read"):
        assert [round(frame.mean() / 30) for frame in opened] == [1, 2, 4, 5, 6, 7]


def test_open_video_rejects_directory_without_readable_frame(tmp_path):
    (tmp_path / "0.png").write_bytes(b"no image")
    with pytest.raises(errors.UnreadableError, match=r"0\.png"):
        video.open_video(tmp_path)


def test_open_video_names_files_that_are_passed_over(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "0.png")
    for name in ("a.txt", "b.wav", "c.json", "d.json", ".hidden"):
        (tmp_path / name).touch()
    with pytest.warns(video.VideoNote, match=r"passed over 4 files \(a\.txt, b\.wav, c\.json and 1 more\)"):
        video.open_video(tmp_path)


def test_open_video_reads_frames_of_minutes(tmp_path):
    """A slide show, and a duration that is damage."""
    frames = [Image.new("L", (8, 8), 20 * index) for index in range(3)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:], duration=[300_000, 300_000, 60_000_000])
    opened = video.open_video(tmp_path / "a.png")
    assert opened.fps == Fraction(1, 100)
    assert [frame[0, 0, 0] // 20 for frame in opened] == [0] * 3 + [1] * 3 + [2] * 36


def test_open_video_rejects_stacked_images_of_several_sizes(tmp_path):
    first, second = (Image.fromarray(np.zeros((side, 64, 3), np.uint8)) for side in (64, 32))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[first, second])
    with pytest.raises(
        errors.UserError, match=r"a\.tif: frame 2 is 64 x 32, but the first is 64 x 64; all frames must have the same"
    ):
        list(video.open_video(tmp_path / "a.tif"))

"""Geometry of decoded videos: display matrix, pixel aspect ratio, interlacing."""

from fractions import Fraction

import av
import drawn_videos
import numpy as np
import pytest

from fomm_tf import video
from fomm_tf.video import filters


@pytest.mark.parametrize("orientation", drawn_videos.MATRICES)
@pytest.mark.parametrize(
    ("codec", "pix_fmt"),
    [("libx264", "yuv420p"), ("libx264", "yuv422p"), ("prores_ks", "yuv422p10le"), ("png", "pal8"), ("qtrle", "argb")],
)
def test_open_video_applies_display_matrix(tmp_path, orientation, codec, pix_fmt):
    suffix = ".mp4" if codec == "libx264" else ".mov"
    frame = drawn_videos.chart()
    if pix_fmt == "pal8":
        frame = drawn_videos.palette_frame(frame)
    path = drawn_videos.write(tmp_path / f"a{suffix}", [frame] * 3, codec, pix_fmt, orientation=orientation)
    opened = video.open_video(path)
    assert opened.size == ((96, 64) if drawn_videos.MATRICES[orientation][0] == 0 else (64, 96))
    frames = list(opened)
    assert len(frames) == 3
    assert frames[0].shape[:2] == opened.size
    assert frames[0].flags.c_contiguous
    expected = drawn_videos.turn(drawn_videos.COLORS, orientation)
    assert np.abs(drawn_videos.quarters(frames[0]) - expected).max() <= 8


@pytest.mark.parametrize(
    ("rotation", "orientation"), [(0, "upright"), (90, "turned-270"), (180, "turned-180"), (-90, "turned-90")]
)
def test_orientation_filters_use_rotation_beside_unknown_side_data(tmp_path, rotation, orientation):
    """PyAV raises ValueError where a frame has side data of a type that it does not know, such as EXIF."""

    class Frame:
        side_data = property(lambda self: av.sidedata.sidedata.Type(1000))

    Frame.rotation = rotation
    path = drawn_videos.write(tmp_path / "a.mov", [drawn_videos.chart()], orientation=orientation)
    with av.open(str(path)) as container:
        expected = filters.orientation_filters(next(container.decode(video=0)))
    assert filters.orientation_filters(Frame()) == expected


@pytest.mark.parametrize("orientation", ["upright", "turned-90"])
def test_open_video_makes_pixels_square_before_turning(tmp_path, orientation):
    path = drawn_videos.write(
        tmp_path / "a.mp4", [drawn_videos.chart()] * 2, aspect=Fraction(4, 3), orientation=orientation
    )
    opened = video.open_video(path)
    assert opened.size == ((64, 128) if orientation == "upright" else (128, 64)) == next(iter(opened)).shape[:2]


def _interlaced(path, codec="libx264", options=None, size=(96, 128), count=8, **arguments):
    """A bar that moves by 6 pixels a field, top field first."""

    def bar(field):
        image = np.full((*size, 3), 30, np.uint8)
        image[:, 10 + 6 * field : 26 + 6 * field] = 220
        return image

    frames = []
    for index in range(count):
        frame = bar(2 * index)
        frame[1::2] = bar(2 * index + 1)[1::2]
        frames.append(frame)
    return drawn_videos.write(
        path, frames, codec, options=options or {"x264-params": "tff=1", "crf": "10"}, **arguments
    )


def _comb(frame):
    """Mean difference of odd and even rows."""
    frame = frame.astype(float)
    return np.abs(frame[::2].mean(0) - frame[1::2].mean(0)).mean()


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [("a.mp4", "libx264", None), ("a.mpg", "mpeg2video", {"flags": "+ilme+ildct", "qscale": "2", "g": "4"})],
)
def test_open_video_deinterlaces(tmp_path, name, codec, options):
    frames = list(video.open_video(_interlaced(tmp_path / name, codec, options)))
    assert len(frames) == 8
    assert max(map(_comb, frames)) < 3
    # Each frame shows its first field: the bar moves by 12 pixels a frame.
    centers = [np.average(np.arange(128), weights=(frame[48, :, 1] > 125) + 1e-9) for frame in frames]
    np.testing.assert_allclose(np.diff(centers), 12, atol=1)


def test_open_video_deinterlaces_and_turns(tmp_path):
    opened = video.open_video(_interlaced(tmp_path / "a.mp4", orientation="turned-90"))
    frames = list(opened)
    assert len(frames) == 8
    assert frames[0].shape[:2] == opened.size == (128, 96)
    assert max(_comb(frame.transpose(1, 0, 2)) for frame in frames) < 3


def test_open_video_progressive_frames_are_not_filtered(tmp_path):
    """A fine comb that is drawn, not interlaced, stays."""
    comb = np.zeros((64, 64, 3), np.uint8)
    comb[::2] = 255
    path = drawn_videos.write(tmp_path / "a.mp4", [comb] * 3, options={"crf": "4"})
    assert _comb(next(iter(video.open_video(path)))) > 200

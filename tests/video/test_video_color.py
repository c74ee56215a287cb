"""Colors of decoded videos: matrix, range, HDR, wide gamut, alpha."""

import itertools
import warnings

import av
import drawn_videos
import numpy as np
import pytest
from PIL import Image

from fomm_tf import video
from fomm_tf.video import color as video_color

_GREEN = (40, 180, 60)
_NEAR_LOSSLESS = {"crf": "4"}
_HEVC = {"crf": "4", "x265-params": "log-level=none"}


def _first(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return next(iter(video.open_video(path)))


def _flat(size, color=_GREEN):
    return np.full((*size, len(color)), color, np.uint8)


@pytest.mark.parametrize(
    ("size", "matrix"),
    [((720, 1280), 1), ((1280, 720), 1), ((544, 1280), 1), ((480, 640), 5), ((576, 720), 5), ((480, 854), 5)],
)
def test_open_video_untagged_matrix_depends_on_size(tmp_path, size, matrix):
    path = drawn_videos.write(tmp_path / "a.mp4", [_flat(size)], matrix=matrix, options=_NEAR_LOSSLESS)
    assert np.abs(_first(path)[::64, ::64].astype(int) - _GREEN).max() <= 8


@pytest.mark.parametrize(("size", "matrix"), [((720, 1280), 5), ((720, 1280), 6), ((64, 64), 1)])
def test_open_video_tagged_matrix_wins_over_size(tmp_path, size, matrix):
    tags = {"colorspace": matrix, "color_range": 1}
    path = drawn_videos.write(tmp_path / "a.mp4", [_flat(size)], matrix=matrix, tags=tags, options=_NEAR_LOSSLESS)
    assert np.abs(_first(path)[::32, ::32].astype(int) - _GREEN).max() <= 8


@pytest.mark.parametrize(("size", "primaries", "matrix"), [((720, 1280), 6, 6), ((64, 64), 1, 1)])
def test_open_video_infers_untagged_matrix_from_primaries(tmp_path, size, primaries, matrix):
    tags = {"color_primaries": primaries}
    path = drawn_videos.write(tmp_path / "a.mp4", [_flat(size)], matrix=matrix, tags=tags, options=_NEAR_LOSSLESS)
    assert np.abs(_first(path)[::32, ::32].astype(int) - _GREEN).max() <= 8


def test_open_video_uses_tags_of_container_where_stream_has_none(tmp_path):
    """FFmpeg's encoder of ProRes does not write them into the stream."""
    tags = {"colorspace": 1, "color_primaries": 1, "color_trc": 1}
    path = drawn_videos.write(tmp_path / "a.mov", [drawn_videos.chart()], "prores_ks", "yuv422p10le", tags, matrix=1)
    assert np.abs(drawn_videos.quarters(_first(path)) - drawn_videos.COLORS).max() <= 8


@pytest.mark.parametrize(("kind", "transfer"), [("HLG", 18), ("PQ", 16)])
def test_open_video_tone_maps_hdr_and_says_so(tmp_path, kind, transfer):
    """What SDR can show is kept; above white, a color fades to white without a change of hue."""
    colors = [(128, 128, 128), (255, 255, 255), _GREEN, (200, 40, 40), (230, 180, 150)]
    bright = [np.array(colors[-1]) * gain for gain in (1.5, 2)]
    tags = {"colorspace": 9, "color_primaries": 9, "color_trc": transfer, "color_range": 1}
    frames = [drawn_videos.hdr_frame(color, kind) for color in [*colors, *bright]]
    path = drawn_videos.write(tmp_path / "a.mov", frames, "libx265", "yuv420p10le", tags, options=_HEVC)
    with pytest.warns(video.VideoNote, match=rf"a\.mov is HDR \({kind}\); it is tone-mapped to SDR"):
        opened = video.open_video(path)
    decoded = [frame.astype(int) for frame in opened]
    for frame, color in zip(decoded, colors, strict=False):
        assert np.abs(frame - color).max() <= 8  # every row and column
    for before, after in itertools.pairwise(frame[32, 32] for frame in decoded[-3:]):
        assert (after >= before - 1).all()
        assert after[0] > after[1] > after[2]


def test_open_video_bt2020_sdr_keeps_its_saturation(tmp_path):
    tags = {"colorspace": 9, "color_primaries": 9, "color_trc": 14, "color_range": 1}
    colors = [_GREEN, (200, 40, 40), (40, 40, 200)]
    frames = [drawn_videos.wide_gamut_frame(color) for color in colors]
    path = drawn_videos.write(tmp_path / "a.mp4", frames, "libx265", "yuv420p10le", tags, options=_HEVC)
    for frame, color in zip(video.open_video(path), colors, strict=True):
        assert np.abs(frame.astype(int) - color).max() <= 8


_ALPHA = {
    "prores_ks": (".mov", "yuva444p10le", {}),
    "qtrle": (".mov", "argb", {}),
    "png": (".mov", "rgba", {}),
    "ffv1": (".mkv", "yuva420p", {}),
    "libvpx": (".webm", "yuva420p", {"auto-alt-ref": "0", "crf": "4", "b": "2M"}),
    "libvpx-vp9": (".webm", "yuva420p", {"auto-alt-ref": "0", "crf": "4", "b": "0"}),
}


@pytest.mark.parametrize("codec", _ALPHA)
def test_open_video_shows_transparent_areas_as_white(tmp_path, codec):
    suffix, pix_fmt, options = _ALPHA[codec]
    frame = drawn_videos.chart((64, 96), [(200, 60, 60, 255), (0, 0, 0, 0), (40, 200, 40, 0), (100, 0, 0, 128)])
    path = drawn_videos.write(tmp_path / f"a{suffix}", [frame] * 3, codec, pix_fmt, options=options)
    expected = [(200, 60, 60), (255, 255, 255), (255, 255, 255), (177, 127, 127)]
    frames = list(video.open_video(path))
    assert len(frames) == 3
    assert np.abs(drawn_videos.quarters(frames[0]) - expected).max() <= 8


def test_open_video_without_alpha_decoder_warns(tmp_path, monkeypatch):
    suffix, pix_fmt, options = _ALPHA["libvpx-vp9"]
    frame = drawn_videos.chart((64, 96), [(200, 60, 60, 255), (0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0)])
    path = drawn_videos.write(tmp_path / f"a{suffix}", [frame], "libvpx-vp9", pix_fmt, options=options)

    def create(name, *_):
        raise av.codec.codec.UnknownCodecError(name)

    monkeypatch.setattr(av.CodecContext, "create", create)
    with pytest.warns(UserWarning, match="transparent areas, which this ffmpeg cannot decode"):
        assert len(list(video.open_video(path))) == 1


def test_open_video_says_that_dolby_vision_is_shown_wrong(tmp_path):
    frames = [drawn_videos.chart()] * 3
    path = drawn_videos.write(
        tmp_path / "a.mp4", frames, "libx265", "yuv420p10le", options={"x265-params": "log-level=none"}
    )
    path.write_bytes(path.read_bytes().replace(b"hev1", b"dvhe"))
    with pytest.warns(video.VideoNote, match=r"a\.mp4 has the colors of Dolby Vision \(profile 5\).*convert it to SDR"):
        assert len(list(video.open_video(path))) == 3


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ((9, 1, 18, 2), (9, 1, 18, 9)),  # HDR has the primaries of BT.2020
        ((2, 1, 16, 2), (9, 1, 16, 9)),  # and its matrix
        ((2, 1, 16, 12), (9, 1, 16, 12)),
        ((10, 1, 14, 9), (9, 1, 14, 9)),  # constant luminance, which the scaler does not know
        ((6, 1, 1, 9), (6, 1, 1, 9)),
    ],
)
def test_missing_and_unknown_tags_are_inferred(tags, expected):
    frame = av.VideoFrame(64, 64, "yuv420p10le")
    video_color.set_tags(frame, video_color.Tags(*tags))
    video_color._infer_tags(frame)
    assert video_color.read_tags(frame) == expected


def test_image_with_the_tags_of_display_p3_is_converted_without_a_note(tmp_path, monkeypatch):
    tags = b"".join(number.to_bytes(2, "big") for number in (12, 13, 6))
    (tmp_path / "a.avif").write_bytes(b"\0\0\0\x1cftypavif" + b"colrnclx" + tags)
    converted = []
    monkeypatch.setattr(video_color, "RgbConverter", lambda size: converted.append)  # its tables take seconds
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        video_color.image_to_srgb(tmp_path / "a.avif", Image.fromarray(drawn_videos.chart()))
    (frame,) = converted
    assert video_color.read_tags(frame) == (0, 2, 13, 12)

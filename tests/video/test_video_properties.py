"""Decoded frames equal the drawn ones, whatever codec, pixel format, orientation, rate, tags and alpha."""

import itertools
import tempfile
import types
import warnings
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import drawn_videos
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fomm_tf import video

# Levels of 255.
_LOSSLESS, _LOSSY = 3, 8


class _Kind(NamedTuple):
    """A codec and pixel format.

    Attributes:
      codec, pix_fmt, suffix, options: see `drawn_videos.write`.
      limit: levels by which a color may be off.
      tags: whether the file keeps color tags.
      full_range: whether it can be tagged as full range.
      alpha: whether the pixel format has an alpha channel.
    """

    codec: str
    pix_fmt: str
    suffix: str
    options: Mapping[str, str] = types.MappingProxyType({})
    limit: int = _LOSSY
    tags: bool = True
    full_range: bool = True
    alpha: bool = False

    def __str__(self) -> str:
        return f"{self.codec}-{self.pix_fmt}{self.suffix}"


_HEVC = {"crf": "6", "x265-params": "log-level=none"}
_VPX = {"auto-alt-ref": "0", "crf": "4", "b": "2M"}
KINDS = (
    _Kind("libx264", "yuv420p", ".mp4", {"crf": "6"}),
    _Kind("libx264", "yuv444p", ".mov", {"crf": "6"}),
    _Kind("libx264", "yuv422p10le", ".mp4", {"crf": "6"}),
    _Kind("libx264", "yuv420p", ".mov", {"qp": "0"}, _LOSSLESS),
    _Kind("libx264", "yuv420p", ".ts", {"crf": "6"}),
    _Kind("libx265", "yuv420p", ".mp4", _HEVC),
    _Kind("libx265", "yuv420p10le", ".mov", _HEVC),
    _Kind("prores_ks", "yuv422p10le", ".mov", full_range=False),
    _Kind("prores_ks", "yuva444p10le", ".mov", full_range=False, alpha=True),
    _Kind("ffv1", "yuv420p", ".mkv", {}, _LOSSLESS),
    _Kind("ffv1", "yuv422p", ".mkv", {}, _LOSSLESS),
    _Kind("ffv1", "yuv444p", ".mkv", {}, _LOSSLESS),
    _Kind("ffv1", "yuv420p10le", ".mkv", {}, _LOSSLESS),
    _Kind("ffv1", "yuva420p", ".mkv", {}, _LOSSLESS, alpha=True),
    _Kind("ffv1", "bgra", ".mkv", {}, _LOSSLESS, tags=False, alpha=True),
    _Kind("png", "rgb24", ".mov", {}, _LOSSLESS, tags=False),
    _Kind("png", "rgba", ".mov", {}, _LOSSLESS, tags=False, alpha=True),
    _Kind("qtrle", "argb", ".mov", {}, _LOSSLESS, tags=False, alpha=True),
    _Kind("libvpx", "yuv420p", ".webm", _VPX, tags=False),
    _Kind("libvpx", "yuva420p", ".webm", _VPX, tags=False, alpha=True),
    _Kind("libvpx-vp9", "yuv420p", ".webm", _VPX),
    _Kind("libvpx-vp9", "yuv444p", ".webm", _VPX),
    _Kind("libvpx-vp9", "yuva420p", ".webm", _VPX, alpha=True),
    _Kind("mpeg4", "yuv420p", ".avi", {"qscale": "2", "flags": "+qscale", "global_quality": "118"}, tags=False),
    _Kind("mpeg2video", "yuv420p", ".mpg", {"flags": "+qscale", "global_quality": "118"}, full_range=False),
    _Kind("mjpeg", "yuvj422p", ".mov", {"flags": "+qscale", "global_quality": "118"}, tags=False),
    _Kind("mjpeg", "yuvj420p", ".mov", {"flags": "+qscale", "global_quality": "118"}, tags=False),
)
# Matrix by its number in ITU-T H.273 and range by FFmpeg's; None is untagged, which small frames read as BT.601.
RATES = (Fraction(25), Fraction(30000, 1001), Fraction(24), Fraction(50), Fraction(60000, 1001))
TAGS = (None, (1, 1), (1, 2), (5, 1), (6, 2), (9, 1))


def _check(folder: Path, kind: _Kind, orientation: str, tags: tuple[int, int] | None, colors, fps=RATES[0]) -> None:
    turns = kind.suffix in (".mp4", ".mov")
    orientation = orientation if turns else "upright"
    if not kind.tags or (tags and tags[1] == 2 and not kind.full_range):
        tags = None
    matrix, color_range = tags or (5, 2 if kind.pix_fmt.startswith("yuvj") else 1)
    colors = np.array(colors)
    if kind.alpha:
        opacity = np.array([255, 0, 128, 255])
        frame = drawn_videos.chart((64, 96), np.column_stack([colors, opacity]))
        weight = opacity[:, None] / 255
        colors = colors * weight + 255 * (1 - weight)
    else:
        frame = drawn_videos.chart((64, 96), colors)
    path = drawn_videos.write(
        folder / f"a{kind.suffix}",
        [frame] * (12 if kind.suffix == ".ts" else 3),  # FFmpeg reads no shorter ones
        kind.codec,
        kind.pix_fmt,
        {"colorspace": matrix, "color_range": color_range} if tags else {"color_range": 2} if color_range == 2 else {},
        matrix,
        color_range == 2,
        kind.options,
        orientation=orientation,
        fps=fps,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = video.open_video(path)
        frames = list(opened)
    assert len(frames) == (12 if kind.suffix == ".ts" else 3)
    assert opened.fps == fps
    assert (
        opened.size
        == frames[0].shape[:2]
        == (frame.shape[:2], frame.shape[1::-1])["trans" in orientation or (orientation in ("turned-90", "turned-270"))]
    )
    expected = drawn_videos.turn(colors, orientation)
    for decoded in frames:
        np.testing.assert_allclose(drawn_videos.quarters(decoded), expected, atol=kind.limit)


_CHANNEL = st.integers(20, 235)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(KINDS),
    orientation=st.sampled_from(list(drawn_videos.MATRICES)),
    tags=st.sampled_from(TAGS),
    colors=st.lists(st.tuples(_CHANNEL, _CHANNEL, _CHANNEL), min_size=4, max_size=4),
    fps=st.sampled_from(RATES),
)
def test_open_video_decodes_what_was_drawn(kind, orientation, tags, colors, fps):
    with tempfile.TemporaryDirectory() as folder:
        _check(Path(folder), kind, orientation, tags, colors, fps)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_open_video_decodes_every_kind(tmp_path, kind):
    _check(tmp_path, kind, "turned-90", (1, 1), drawn_videos.COLORS, Fraction(30000, 1001))


@pytest.mark.conformance
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_open_video_decodes_every_combination(tmp_path, kind):
    rates = itertools.cycle(RATES)
    for orientation, tags in itertools.product(drawn_videos.MATRICES, TAGS):
        _check(tmp_path, kind, orientation, tags, drawn_videos.COLORS, next(rates))

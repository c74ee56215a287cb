"""Decoded video frames -> RGB as screens show it: sRGB / BT.709, 8 bits, opaque.

Convention:
  * tags win: range, matrix, transfer, primaries, of the stream, or of the container if the stream has none. An untagged
    matrix follows from tagged primaries; without these it is BT.709 for HD (720 lines or 1280 columns and more) and
    BT.601 below, as in most players; an untagged range is limited;
  * HDR (PQ, HLG) becomes SDR with white at 203 cd/m2, and the wide gamuts BT.2020 and P3 become BT.709, by the color
    management of FFmpeg's scaler: colors that SDR can show stay what they are, brighter and purer ones fade to white
    without a change of hue. The small differences between the primaries of BT.601 and BT.709 are left alone, as by
    most players;
  * transparent areas are white.
"""

from typing import NamedTuple

import av
import numpy as np
from av.video import reformatter

from fomm_tf.video import images

# ffmpeg starts new scaler threads for every frame, which takes several times as long as scaling a small frame.
SCALER_THREADS = 1

# Numbers of ITU-T H.273, which FFmpeg uses too.
BT709 = 1
LIMITED_RANGE = 1
_UNSPECIFIED = 2
_BT601 = 6
_BT2020 = 9
# Matrices that the scaler knows: RGB, BT.709, FCC, BT.601 (625 and 525 lines), SMPTE 240M, BT.2020.
_KNOWN_MATRICES = {0, 1, 4, 5, 6, 7, 9}
_MATRIX_OF_PRIMARIES = {1: BT709, 5: _BT601, 6: _BT601, 7: 7, 9: _BT2020}
_BT2020_CONSTANT_LUMINANCE = 10
# BT.2020, DCI-P3, Display P3.
_WIDE_PRIMARIES = {9, 11, 12}
_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}

# Without full chroma interpolation, 10-bit and nv12 frames are off by 4 levels; with it, FFmpeg 8's color management
# writes wrong colors into every other line of a 4:2:0 frame.
_COLOR_MANAGED = reformatter.Interpolation.BILINEAR
_SCALED = _COLOR_MANAGED | reformatter.Interpolation.FULL_CHR_H_INT


def hdr_kind(frame: av.VideoFrame) -> str | None:
    """The kind of HDR, `PQ` or `HLG`; None for SDR."""
    return _HDR_TRANSFERS.get(frame.color_trc)


class Tags(NamedTuple):
    """Color tags of a frame, by their numbers in ITU-T H.273."""

    colorspace: int = _UNSPECIFIED
    color_range: int = 0
    color_trc: int = _UNSPECIFIED
    color_primaries: int = _UNSPECIFIED


def read_tags(frame: av.VideoFrame | av.VideoCodecContext) -> Tags:
    """Returns the tags of a frame, or of a container's track from its codec context before a frame is decoded."""
    return Tags(frame.colorspace, frame.color_range, frame.color_trc, frame.color_primaries)


def set_tags(frame: av.VideoFrame, tags: Tags) -> None:
    """Overwrites the tags of a frame; its pixels stay."""
    frame.colorspace, frame.color_range, frame.color_trc, frame.color_primaries = tags


def complete_tags(frame: av.VideoFrame, declared: Tags) -> None:
    """Replaces missing tags of a frame by those of the container."""
    tags = read_tags(frame)
    set_tags(
        frame,
        Tags(*(other if tag == missing else tag for tag, other, missing in zip(tags, declared, Tags(), strict=True))),
    )


class RgbConverter:
    """Converts frames to RGB of one size; keeps the scaler's tables, which take seconds to compute for HDR."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size[::-1]
        self._scaled, self._managed = reformatter.VideoReformatter(), reformatter.VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """Returns `[H, W, 3]` uint8."""
        _infer_tags(frame)
        has_alpha = frame.format.has_palette or any(component.is_alpha for component in frame.format.components)
        target = None
        if hdr_kind(frame):
            target = {"dst_color_trc": BT709, "dst_color_primaries": BT709}
        elif frame.color_primaries in _WIDE_PRIMARIES:
            target = {"dst_color_primaries": BT709}
        if target:
            # To 16 bits, since its 8-bit results are off by 15 levels.
            depth = "rgba64le" if has_alpha else "rgb48le"
            frame = self._managed.reformat(
                frame, *self._size, depth, interpolation=_COLOR_MANAGED, threads=SCALER_THREADS, **target
            )
        converted = self._scaled.reformat(
            frame, *self._size, "rgba" if has_alpha else "rgb24", interpolation=_SCALED, threads=SCALER_THREADS
        ).to_ndarray()
        return images.over_white(converted) if has_alpha else converted


def _infer_tags(frame: av.VideoFrame) -> None:
    """Replaces tags that neither stream nor container has, or that the scaler does not know."""
    is_hdr = hdr_kind(frame) is not None
    if is_hdr and frame.color_primaries == _UNSPECIFIED:
        frame.color_primaries = _BT2020
    if frame.colorspace == _BT2020_CONSTANT_LUMINANCE:
        frame.colorspace = _BT2020
    if frame.colorspace in _KNOWN_MATRICES:
        return
    is_hd = frame.height >= 720 or frame.width >= 1280
    by_size = _BT2020 if is_hdr else BT709 if is_hd else _BT601
    frame.colorspace = _MATRIX_OF_PRIMARIES.get(frame.color_primaries, by_size)

"""Small drawn videos of four colors, with codec, pixel format, color tags, alpha and display matrix by choice."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video import reformatter

COLORS = ((200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40))

# (a, b, c, d) of the eight display matrices, which take (x, y), y down, to (a x + c y, b x + d y).
MATRICES = {
    "upright": (1, 0, 0, 1),
    "mirrored": (-1, 0, 0, 1),
    "flipped": (1, 0, 0, -1),
    "turned-90": (0, 1, -1, 0),
    "turned-180": (-1, 0, 0, -1),
    "turned-270": (0, -1, 1, 0),
    "transposed": (0, 1, 1, 0),
    "transversed": (0, -1, -1, 0),
}

_BT709_TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
_BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593])
_WHITE = 203.0  # cd/m2, ITU-R BT.2408
# The test's own conversions are exact, those of the code under test need not be.
_EXACT = reformatter.Interpolation.BICUBIC | reformatter.Interpolation.ACCURATE_RND


def chart(size: tuple[int, int] = (64, 96), colors: Sequence[Sequence[int]] = COLORS) -> np.ndarray:
    """Quarters of one color each: top left, top right, bottom left, bottom right; `[H, W, C]` uint8."""
    quarters = np.array(colors, np.uint8).reshape(2, 2, -1)
    return quarters.repeat(size[0] // 2, 0).repeat(size[1] // 2, 1)


def quarters(frame: np.ndarray) -> np.ndarray:
    """Mean color in the middle of each quarter, `[4, 3]`, in the order of `chart`."""
    height, width = frame.shape[:2]
    rows, columns = (slice(size // 8, 3 * size // 8) for size in (height, width))
    bottom, right = (slice(5 * size // 8, 7 * size // 8) for size in (height, width))
    return np.array([frame[y, x].mean((0, 1)) for y in (rows, bottom) for x in (columns, right)])


def turn(colors: Sequence[Sequence[float]], orientation: str) -> np.ndarray:
    """The quarters' colors after a display matrix is applied, `[4, 3]`."""
    a, b, c, d = MATRICES[orientation]
    turned = [None] * 4
    for number, color in enumerate(colors):
        x, y = (number % 2) * 2 - 1, (number // 2) * 2 - 1
        turned[(b * x + d * y + 1) // 2 * 2 + (a * x + c * y + 1) // 2] = color
    return np.array(turned)


def write(
    path: Path,
    frames: Sequence[np.ndarray | av.VideoFrame],
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    tags: Mapping[str, int] | None = None,
    matrix: int | None = None,
    full_range: bool = False,
    options: Mapping[str, str] | None = None,
    container: str | None = None,
    aspect: Fraction | None = None,
    orientation: str = "upright",
    fps: Fraction | int = 25,
) -> Path:
    """Writes a video.

    Args:
      frames: `[H, W, 3 or 4]` uint8, or converted already.
      tags: attributes of the encoder, such as {"colorspace": 1}.
      matrix: the matrix that frames are converted with, by its number in ITU-T H.273; default BT.601.
      full_range: whether they are converted to full range.
      orientation: key of `MATRICES`; mp4 and mov only.
      fps: frames per second.
    """
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=fps, options=dict(options or {}))
        first = frames[0]
        stream.height, stream.width = (
            (first.height, first.width) if isinstance(first, av.VideoFrame) else first.shape[:2]
        )
        stream.pix_fmt = pix_fmt
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        for index, frame in enumerate(frames):
            if not isinstance(frame, av.VideoFrame):
                drawn = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), ("rgb24", "rgba")[frame.shape[2] - 3])
                color_range = 2 if full_range else 1
                frame = drawn.reformat(
                    format=pix_fmt, dst_colorspace=matrix, dst_color_range=color_range, interpolation=_EXACT
                )
            frame.pts, frame.time_base = index, 1 / Fraction(fps)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    if orientation != "upright":
        _set_display_matrix(path, orientation)
    return path


def _set_display_matrix(path: Path, orientation: str) -> None:
    """Overwrites the matrix in the track header of an mp4 or mov file."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in MATRICES[orientation])
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def hdr_frame(color: Sequence[int], kind: str, size: tuple[int, int] = (64, 64)) -> av.VideoFrame:
    """An SDR color as it looks in an HDR video, by ITU-R BT.2100: BT.2020, 10 bits, white at 203 cd/m2.

    Args:
      color: RGB.
      kind: HLG or PQ.
      size: `(H, W)`.
    """
    return _bt2020_frame(hdr_code(color, kind), size)


def hdr_code(color: Sequence[int], kind: str) -> np.ndarray:
    """The RGB values in [0, 1] of an SDR color in an HDR image, see `hdr_frame`."""
    light = _BT709_TO_BT2020 @ (np.array(color) / 255) ** 2.4 * _WHITE
    if kind == "PQ":
        power = (light / 10000) ** 0.1593017578125
        return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    scene = light / 1000 * max(float(_BT2020_LUMA @ light) / 1000, 1e-9) ** (1 / 1.2 - 1)
    logarithm = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), logarithm)


def wide_gamut_frame(color: Sequence[int], size: tuple[int, int] = (64, 64)) -> av.VideoFrame:
    """A BT.709 color in BT.2020, SDR, 10 bits."""
    return _bt2020_frame((_BT709_TO_BT2020 @ (np.array(color) / 255) ** 2.4) ** (1 / 2.4), size)


def _bt2020_frame(code: np.ndarray, size: tuple[int, int]) -> av.VideoFrame:
    luma = float(_BT2020_LUMA @ code)
    planes = (64 + 876 * luma, 512 + 896 * (code[2] - luma) / 1.8814, 512 + 896 * (code[0] - luma) / 1.4746)
    frame = av.VideoFrame(size[1], size[0], "yuv420p10le")
    for plane, value in zip(frame.planes, planes, strict=True):
        plane.update(np.full((plane.height, plane.line_size // 2), round(value), "<u2").tobytes())
    return frame


def palette_frame(image: np.ndarray) -> av.VideoFrame:
    """A frame with a palette of the image's colors."""
    colors, indices = np.unique(image.reshape(-1, 3), axis=0, return_inverse=True)
    palette = np.zeros((256, 4), np.uint8)
    palette[:, 3], palette[: len(colors), 1:] = 255, colors
    palette[:, 0] = 255
    return av.VideoFrame.from_ndarray((indices.reshape(image.shape[:2]).astype(np.uint8), palette), "pal8")

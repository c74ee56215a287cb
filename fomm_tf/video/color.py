"""Decoded video frames and images -> RGB as screens show it: sRGB / BT.709, 8 bits, opaque.

Convention:
  * tags win: range, matrix, transfer, primaries, of the stream, or of the container if the stream has none. An untagged
    matrix follows from tagged primaries; without these it is BT.709 for HD (720 lines or 1280 columns and more) and
    BT.601 below, as in most players; an untagged range is limited;
  * HDR (PQ, HLG) becomes SDR with white at 203 cd/m2, and the wide gamuts BT.2020 and P3 become BT.709, by the color
    management of FFmpeg's scaler: colors that SDR can show stay what they are, brighter and purer ones fade to white
    without a change of hue. The small differences between the primaries of BT.601 and BT.709 are left alone, as by
    most players;
  * the ICC profile of an image is applied by Pillow's ImageCms (Little CMS); without one, the tags of an AVIF or HEIF
    image count as those of a video, its matrix apart, which the decoder has applied;
  * transparent areas are white.
"""

import contextlib
import io
import warnings
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.video import reformatter
from PIL import Image, ImageCms

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
_RGB, _FULL_RANGE = 0, 2
# Colors of Dolby Vision that only its own decoders convert, in files whose stream has no other tags (profile 5).
_DOLBY_VISION_CODECS = {"dvh1", "dvhe", "dav1"}
# Of a colr box, followed by primaries, transfer and matrix of 2 bytes each; it is among the first boxes of a file.
_NCLX, _HEADER_BYTES = b"colrnclx", 1 << 16

# The mode that a profile of each color space takes.
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}

# Without full chroma interpolation, 10-bit and nv12 frames are off by 4 levels; with it, FFmpeg 8's color management
# writes wrong colors into every other line of a 4:2:0 frame.
_COLOR_MANAGED = reformatter.Interpolation.BILINEAR
_SCALED = _COLOR_MANAGED | reformatter.Interpolation.FULL_CHR_H_INT


def hdr_kind(frame: av.VideoFrame) -> str | None:
    """The kind of HDR, `PQ` or `HLG`; None for SDR."""
    return _HDR_TRANSFERS.get(frame.color_trc)


def is_dolby_vision(frame: av.VideoFrame, codec_tag: str) -> bool:
    """Whether the colors of a video are those of Dolby Vision alone."""
    return codec_tag in _DOLBY_VISION_CODECS and hdr_kind(frame) is None


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
        return over_white(converted) if has_alpha else converted


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


def over_white(image: np.ndarray | Image.Image) -> np.ndarray:
    """Puts an RGBA image, `[H, W, 4]` uint8 or of Pillow, on white."""
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    return np.array(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))


def image_to_srgb(path: Path, image: Image.Image) -> np.ndarray:
    """Converts a decoded 8-bit image of any mode.

    Args:
      path: the file; also for messages.
      image: with an ICC profile, tags of its file, or neither.

    Returns:
      `[H, W, 3]` uint8.

    Warns:
      UserWarning: if the image is HDR, or if its ICC profile is damaged or belongs to another kind of image and is
        ignored.
    """
    has_profile = bool(image.info.get("icc_profile"))
    if has_profile:
        image = _apply_profile(path, image)
    rgb = over_white(image.convert("RGBA")) if image.has_transparency_data else np.array(image.convert("RGB"))
    return rgb if has_profile else _apply_tags(path, rgb)


def _apply_tags(path: Path, rgb: np.ndarray) -> np.ndarray:
    header = b""
    with contextlib.suppress(OSError), path.open("rb") as file:
        header = file.read(12)
        header = file.read(_HEADER_BYTES) if header[4:8] == b"ftyp" else b""
    _, _, tags = header.partition(_NCLX)
    primaries, transfer = (int.from_bytes(tags[at : at + 2], "big") for at in (0, 2))
    if primaries not in _WIDE_PRIMARIES and transfer not in _HDR_TRANSFERS:
        return rgb
    frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
    set_tags(frame, Tags(_RGB, _FULL_RANGE, transfer, primaries))
    if kind := hdr_kind(frame):
        warnings.warn(f"{path} is HDR ({kind}); it is tone-mapped to SDR.", stacklevel=2)
    return RgbConverter(rgb.shape[:2])(frame)


def _apply_profile(path: Path, image: Image.Image) -> Image.Image:
    """Applies the embedded profile of an 8-bit image.

    Args:
      path: for messages.
      image: of any mode; it is returned as it is if its profile is that of sRGB, or unusable.

    Returns:
      Mode RGB, or RGBA if the image has transparency.

    Warns:
      UserWarning: if the profile is damaged or belongs to another kind of image; it is ignored.
    """
    data = image.info["icc_profile"]
    has_alpha = image.has_transparency_data
    opaque = image.convert("RGBA" if has_alpha else "RGB") if image.mode in ("P", "PA") else image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        if "sRGB" in ImageCms.getProfileDescription(profile):
            return image
        mode = _MODES.get(profile.profile.xcolor_space.strip(), "")
        if not mode or (opaque.mode == "CMYK") != (mode == "CMYK") or (mode == "L" and opaque.mode not in ("L", "LA")):
            raise ImageCms.PyCMSError(f"it describes {profile.profile.xcolor_space.strip()}, not {image.mode}")
        colors = ImageCms.profileToProfile(
            opaque.convert(mode), profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        warnings.warn(f"{path} has an ICC profile that cannot be used ({error}); it is ignored.", stacklevel=2)
        return image
    if has_alpha:
        colors.putalpha(image.convert("RGBA").getchannel("A"))
    return colors

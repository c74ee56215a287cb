"""Image files: reads and writes them."""

import contextlib
import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from fomm_tf import errors, files
from fomm_tf.video import color, frames

# 10,000 x 10,000: a 100 megapixel camera, or 1,500 frames of 256 x 256 in one image. Decoded, that is 300 MB.
MAX_PIXELS = 100_000_000

# A frame, a PIL image, or the path of an image file.
ImageLike = np.ndarray | Image.Image | str | os.PathLike

STILL_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
# Depending on the format, Pillow raises any of these for a damaged file.
_DECODING_ERRORS = (
    *(AttributeError, EOFError, IndexError, KeyError, OSError, RuntimeError, SyntaxError, TypeError, ValueError),
    *(struct.error, zlib.error),
)
# Brands of a file type box, without those of AVIF, which Pillow reads itself.
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1"}
# To find that a video is no image, Pillow would load the code of all its formats.
_VIDEO_BRANDS = {b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"avc1", b"mp41", b"mp42", b"M4V ", b"qt  "}
_MATROSKA = b"\x1aE\xdf\xa3"
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" dc:description="{}"/></rdf:RDF></x:xmpmeta>'
)


def read_image(path: str | Path) -> np.ndarray:
    """Reads an image in any format that Pillow knows.

    Grayscale and palette images become RGB, 16 bits become 8, transparent areas become white; ICC profile and EXIF
    orientation are applied. An animation yields its first frame.

    Warns:
      UserWarning: if the ICC profile cannot be used.

    Returns:
      `[H, W, 3]` uint8 RGB.

    Raises:
      UnreadableError: if the file is missing, damaged or not an image, or if its header declares more than
        `MAX_PIXELS` pixels (rejected before decoding).
    """
    path = Path(path)
    files.check_readable(path)
    with files.convert_read_errors(path):
        image = open_image(path)
        if image is None:
            raise errors.UnreadableError(f"{path} is not an image; give a png, jpg or similar file.")
        with image:
            return decode_image(path, image)


def as_frame(image: ImageLike) -> np.ndarray:
    """Reads an image file or converts a PIL image to a frame; anything else is returned as it is.

    Returns:
      `[H, W, 3]` uint8 RGB, see `read_image`.

    Raises:
      UnreadableError: if a file cannot be read or a PIL image cannot be decoded.
    """
    if isinstance(image, str | os.PathLike):
        return read_image(image)
    return decode_image(Path("image"), image) if isinstance(image, Image.Image) else image


def open_image(path: Path) -> Image.Image | None:
    """Reads the header of an image; returns None if the file is not an image.

    Raises:
      UnreadableError: if it declares more than `MAX_PIXELS` pixels, or if it is HEIC and pillow-heif is missing.
    """
    with path.open("rb") as file:
        header = file.read(12)
    brand = header[8:12] if header[4:8] == b"ftyp" else None
    if brand in _VIDEO_BRANDS or header.startswith(_MATROSKA):
        return None
    image = _open(path)
    if image is None and brand in _HEIF_BRANDS:
        _register_heif(path)
        image = _open(path)
    return image


def _open(path: Path) -> Image.Image | None:
    with convert_decoding_errors(path):
        try:
            image = Image.open(path)
        except UnidentifiedImageError:
            return None
        if image.width * image.height > MAX_PIXELS:
            image.close()
            raise Image.DecompressionBombError
        return image


def declared_size(data: bytes) -> tuple[int, int] | None:
    """Reads `(H, W)` from the header of a JPEG or PNG file, without decoding it; None if it has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            width, height = Image.open(io.BytesIO(data), formats=("JPEG", "PNG")).size
        except (*_DECODING_ERRORS, Image.DecompressionBombError):
            return None
    return height, width


def _register_heif(path: Path) -> None:
    """Teaches Pillow to open HEIF files.

    Raises:
      UnreadableError: if pillow-heif is not installed; it names `path`.
    """
    try:
        import pillow_heif
    except ImportError:
        message = (
            f"{path} is a HEIC image, which needs the package pillow-heif; install it (pip install pillow-heif), or "
            "convert the image to jpg."
        )
        raise errors.UnreadableError(message) from None
    pillow_heif.register_heif_opener()


def decode_image(path: Path, image: Image.Image) -> np.ndarray:
    """Decodes an image that `open_image` opened; `path` is for error messages."""
    with convert_decoding_errors(path):
        transparent, is_deep = image.info.get("transparency"), "16B" in str(getattr(image, "tile", ""))
        if is_deep and isinstance(transparent, tuple):
            # Pillow reduces the colors to 8 bits, but not the one that is transparent.
            image.info["transparency"] = tuple(value >> 8 for value in transparent)
        image.load()
        return _rgb(path, ImageOps.exif_transpose(image))


@contextlib.contextmanager
def convert_decoding_errors(path: Path) -> Iterator[None]:
    """Converts all that Pillow raises for a damaged image to an `UnreadableError`."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of damaged metadata without naming the file, and above its own, lower limit of size.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    except errors.UnreadableError:
        raise
    except errors.UserError as error:
        raise errors.UnreadableError(f"{path}: {error}") from None
    except Image.DecompressionBombError:
        message = f"{path} declares more than {MAX_PIXELS:,} pixels, which is the limit; make it smaller first."
        raise errors.UnreadableError(message) from None
    except _DECODING_ERRORS as error:
        if getattr(error, "errno", None):
            raise errors.UnreadableError(f"{path} cannot be read ({error.strerror}).") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise errors.UnreadableError(f"{path} is damaged or truncated ({reason}); save it again.") from error


def displayed_size(image: Image.Image) -> tuple[int, int]:
    """`(H, W)` of an opened image after its EXIF orientation is applied."""
    width, height = image.size
    # Of a TIFF, Pillow reports the size after that.
    is_turned = image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    return (width, height) if is_turned else (height, width)


def _rgb(path: Path, image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):  # 16-bit grayscale; Pillow's own conversion clips at 255
        values = np.clip(np.asarray(image), 0, 65535)
        return _gray(np.where(values == image.info.get("transparency"), 255, values >> 8))
    if image.mode == "F":
        return _gray(frames.to_uint8(np.asarray(image)))
    return color.image_to_srgb(path, image)


def _gray(values: np.ndarray) -> np.ndarray:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=-1)


def write_image(path: str | Path, image: np.ndarray, tag: str | None = None) -> None:
    """Writes a png, jpg or webp file atomically.

    Args:
      path: its suffix decides the format; missing parents are created.
      image: `[H, W, 3]` uint8, or float in [0, 1].
      tag: text for the file's comment.

    Raises:
      UserError: if the suffix is unknown, the path is not writable or the disk is full.
    """
    path = Path(path)
    check_image_output(path)
    with files.replace_atomically(path) as temporary:
        save_image(temporary, image, tag)


def check_image_output(path: str | Path, *inputs: str | Path | None) -> None:
    """Checks an output path as `write_image` does; call it before anything is read.

    Args:
      path: the output.
      inputs: what must not be replaced; see `fomm_tf.files.check_output`.

    Raises:
      UserError: if the suffix is unknown, the path is a directory, or an input would be replaced.
    """
    files.check_output(path, *inputs)
    path = Path(path)
    if path.suffix.lower() not in STILL_SUFFIXES:
        raise errors.UserError(
            f"{path}: the suffix of an image must be one of {', '.join(STILL_SUFFIXES)}; got {path.suffix!r}."
        )
    if path.is_dir():
        raise errors.UserError(f"{path} is a directory; give a file name.")


def save_image(path: Path, image: np.ndarray, tag: str | None = None) -> None:
    """`write_image` without checks and not atomic."""
    if path.suffix.lower() == ".png":
        text = PngImagePlugin.PngInfo()
        if tag:
            text.add_text("Comment", tag)
        options = {"pnginfo": text}
    elif path.suffix.lower() == ".webp":
        options = {"quality": 95, "xmp": webp_comment(tag) if tag else b""}
    else:
        options = {"quality": 95, "subsampling": 0, "comment": tag or ""}
    Image.fromarray(frames.to_uint8(image)).save(path, **options)


def webp_comment(text: str) -> bytes:
    """XMP metadata with a description: WebP has no comments."""
    return _XMP.format(text).encode()

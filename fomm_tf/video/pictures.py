"""Pictures: read, write, resize, and floats to bytes."""

import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from fomm_tf import errors
from fomm_tf.video import files

# 10,000 x 10,000: a 100 megapixel camera, or 1,500 stacked frames of 256 x 256. Decoded, that is 300 MB.
MAX_PIXELS = 100_000_000

# A frame, a PIL image, or the path of an image file.
ImageLike = np.ndarray | Image.Image | str | os.PathLike

_SUFFIXES = (".png", ".jpg", ".jpeg")
# Float pictures may leave [0, 1] by a rounding error, a quarter of a grey level.
_SLACK = 0.25 / 255


def read_image(path: str | Path) -> np.ndarray:
    """Reads a picture of any kind that Pillow knows.

    Grey and palette pictures become RGB, 16 bits become 8, transparency shows white, EXIF orientation is applied; of
    an animation the first frame is taken.

    Returns:
      `[H, W, 3]` uint8 RGB.

    Raises:
      UnreadableError: if there is no such picture, it is damaged, or its header declares more than `MAX_PIXELS` pixels
        (refused before decoding).
    """
    path = Path(path)
    files.check_input(path)
    with files.reading(path):
        image = open_image(path)
    if image is None:
        raise errors.UnreadableError(f"{path} is not a picture; give a png, jpg or the like.")
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
    """Reads the header of a picture; None if it is not one.

    Raises:
      UnreadableError: if it declares more than `MAX_PIXELS` pixels.
    """
    too_large = f"{path} declares more than {MAX_PIXELS:,} pixels, as many as are read; make it smaller first."
    try:
        with warnings.catch_warnings():
            # Pillow warns from a limit of its own, lower than ours, and refuses at twice that.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
    except UnidentifiedImageError:
        return None
    except Image.DecompressionBombError:
        raise errors.UnreadableError(too_large) from None
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise errors.UnreadableError(too_large)
    return image


def decode_image(path: Path, image: Image.Image) -> np.ndarray:
    """Decodes what `open_image` opened; `path` is for the message."""
    try:
        image.load()
        return _rgb(ImageOps.exif_transpose(image))
    except errors.UserError as error:
        raise errors.UnreadableError(f"{path}: {error}") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow raises, depending on the format
        raise errors.UnreadableError(f"{path} is damaged or cut off ({error}); save it again.") from error


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):  # 16 bits a grey value; Pillow's own conversion clips at 255
        return _grey(np.clip(np.asarray(image), 0, 65535) >> 8)
    if image.mode == "F":
        return _grey(to_uint8(np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=-1)


def write_image(path: str | Path, image: np.ndarray, tag: str | None = None) -> None:
    """Writes a png or jpg, by suffix; it appears complete or not at all.

    Args:
      path: the suffix decides; missing parents are made.
      image: `[H, W, 3]` uint8, or float in [0, 1].
      tag: text for the file's comment.

    Raises:
      UserError: if the suffix is unknown, the place cannot be written to or the disk is full.
    """
    path = Path(path)
    check_picture(path)
    with files.replacing(path) as temporary:
        save_image(temporary, image, tag)


def check_picture(path: str | Path) -> None:
    """Refuses a name that `write_image` would refuse; to be asked before long work.

    Raises:
      UserError: if the suffix is unknown, or if a folder stands under the name.
    """
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise errors.UserError(f"{path}: pictures are written as {', '.join(_SUFFIXES)}, not as {path.suffix!r}.")
    if path.is_dir():
        raise errors.UserError(f"{path} is a folder; name a file.")


def save_image(path: Path, image: np.ndarray, tag: str | None = None) -> None:
    """`write_image` without its care for the name."""
    if path.suffix.lower() == ".png":
        text = PngImagePlugin.PngInfo()
        if tag:
            text.add_text("Comment", tag)
        options = {"pnginfo": text}
    else:
        options = {"quality": 95, "subsampling": 0, "comment": tag or ""}
    Image.fromarray(to_uint8(image)).save(path, **options)


def to_uint8(frames: np.ndarray) -> np.ndarray:
    """Frames of any shape as uint8: those come back as they are, floats in [0, 1] are scaled and rounded.

    Raises:
      UserError: if a float is not finite or outside [0, 1], or if the type is another one.
    """
    frames = np.asarray(frames)
    if frames.dtype == np.uint8:
        return frames
    if not np.issubdtype(frames.dtype, np.floating):
        raise errors.UserError(f"frames are {frames.dtype}; give uint8, or float in [0, 1].")
    low, high = frames.min(initial=0), frames.max(initial=0)
    if not np.isfinite(low + high):
        raise errors.UserError("frames hold NaN or infinity; give float in [0, 1], or uint8.")
    if low < -_SLACK or high > 1 + _SLACK:
        raise errors.UserError(f"float frames reach from {low:g} to {high:g}; give them in [0, 1], or as uint8.")
    return np.rint(np.clip(frames, 0, 1) * 255).astype(np.uint8)


def resize(frame: np.ndarray, size: tuple[int, int], fit: str = "crop") -> np.ndarray:
    """Resizes by area where it shrinks, linearly where it grows.

    Args:
      frame: `[H, W, 3]` uint8 or float32.
      size: `(H, W)` wanted.
      fit: `crop` fills the size and cuts what sticks out, the centre stays; `pad` shows all, centred between black
        bars; `stretch` changes the proportions.

    Returns:
      `[*size, 3]`, dtype of `frame`; `frame` itself if it has that size.

    Raises:
      UserError: if `fit` is unknown, or if OpenCV lacks a system library.
    """
    if frame.shape[:2] == tuple(size):
        return frame
    height, width = frame.shape[:2]
    if fit == "stretch":
        return _scale(frame, size)
    if fit == "crop":
        scale = max(size[0] / height, size[1] / width)
        inner = (min(height, max(1, round(size[0] / scale))), min(width, max(1, round(size[1] / scale))))
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        return _scale(frame[top : top + inner[0], left : left + inner[1]], size)
    if fit == "pad":
        scale = min(size[0] / height, size[1] / width)
        inner = (max(1, round(height * scale)), max(1, round(width * scale)))
        top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
        padded = np.zeros((*size, 3), frame.dtype)
        padded[top : top + inner[0], left : left + inner[1]] = _scale(frame, inner)
        return padded
    raise errors.UserError(f"fit is {fit!r}; give crop, pad or stretch.")


def _scale(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from fomm_tf.opencv import cv2  # reading and writing can do without, where a slim image lacks its libraries

    # One axis may shrink while the other grows, and INTER_AREA works only where both shrink.
    smaller = (min(size[0], frame.shape[0]), min(size[1], frame.shape[1]))
    frame = cv2.resize(frame, smaller[::-1], interpolation=cv2.INTER_AREA)
    return cv2.resize(frame, tuple(size)[::-1], interpolation=cv2.INTER_LINEAR)

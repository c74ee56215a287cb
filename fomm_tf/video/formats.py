"""Which files are videos and images, by their suffixes or first bytes.

A file that is named explicitly may have any suffix.
"""

from collections.abc import Sequence
from pathlib import Path

from fomm_tf import errors

# What FFmpeg demuxes and people have.
VIDEO_SUFFIXES = (
    *(".3g2", ".3gp", ".amv", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".ivf", ".m1v", ".m2t", ".m2ts"),
    *(".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mod", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mpv", ".mts"),
    *(".mxf", ".nut", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".tod", ".ts", ".vob", ".webm", ".wmv", ".y4m"),
)
IMAGE_SUFFIXES = (
    *(".apng", ".avif", ".avifs", ".bmp", ".dib", ".heic", ".heif", ".hif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
    *(".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
)
# For messages, in which the whole list would hide the rest.
COMMON_SUFFIXES = (".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif")

_NAMED_FILES = 3
# Brands of a file type box, without those of AVIF, which Pillow reads itself.
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1"}


def is_hidden(path: Path) -> bool:
    """Whether a file or directory is hidden, as on Unix."""
    return path.name.startswith(".")


def is_image_name(path: Path) -> bool:
    """Whether the file name is an image's."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def is_video_name(path: Path) -> bool:
    """Whether the file name is a video's, gif included."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def list_names(paths: Sequence[Path]) -> str:
    """`7 files (a.txt, b.txt, c.txt and 4 more)`, for messages."""
    names = ", ".join(path.name for path in paths[:_NAMED_FILES])
    more = f" and {len(paths) - _NAMED_FILES} more" * (len(paths) > _NAMED_FILES)
    return f"{len(paths)} file{'s' * (len(paths) != 1)} ({names}{more})"


def is_heif(path: Path) -> bool:
    """Whether a file starts like HEIC or HEIF."""
    with path.open("rb") as file:
        header = file.read(12)
    return header[4:8] == b"ftyp" and header[8:12] in _HEIF_BRANDS


def register_heif(path: Path) -> None:
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

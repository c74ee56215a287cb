"""File name suffixes of what `open_video` and `read_image` read; a file that is named explicitly may have any."""

from collections.abc import Sequence
from pathlib import Path

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

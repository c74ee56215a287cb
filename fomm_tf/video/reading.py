"""Opens videos of every kind: a container, an animated image, a directory of frames, or frames side by side."""

import dataclasses
import itertools
import math
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from fomm_tf import errors, files
from fomm_tf.video import animations, decoding, images, timing

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


class VideoNote(UserWarning):
    """Something about a video that users should know and that is not a fault."""


@dataclasses.dataclass(frozen=True)
class Video:
    """Frames of one size at a constant rate; each iteration reads the file again, and no frame is kept in memory.

    Attributes:
      path: the file or directory.
      fps: frames per second.
      size: `(H, W)` of a frame, after rotation.
      frame_count: expected number of frames: from the header for a container, None if the header has no duration;
        exact for a stacked image, and for a directory whose images can all be read.
      has_audio: whether there is an audio track.
    """

    path: Path
    fps: Fraction
    size: tuple[int, int]
    frame_count: int | None
    has_audio: bool
    _read: Callable[[], Iterator[np.ndarray]] = dataclasses.field(repr=False)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yields `[H, W, 3]` uint8 RGB.

        Raises:
          UnreadableError: if the file was removed or changed after it was opened.
        """
        with files.convert_read_errors(self.path):
            yield from self._read()


# Animations that FFmpeg reads.
_FFMPEG_FORMATS = {"GIF", "MPEG"}


def open_video(
    path: str | Path,
    start: float | None = None,
    duration: float | None = None,
    fps: float | Fraction | None = None,
) -> Video:
    """Opens a video; the file itself is open only during iteration.

    Args:
      path: any video that ffmpeg reads, including gif; an animated WebP, PNG or AVIF; a directory of frames, in natural
        order of their names; or a stacked image: square frames side by side.
      start: seconds from the first frame; the frame nearest to it is the first.
      duration: seconds to read from there; at least one frame is read.
      fps: a directory or a stacked image has this rate, by default 25; a video is resampled to it.

    Warns:
      UserWarning: if the video is HDR, or if a directory holds files that are passed over. Iterating warns if the video
        is damaged, or if frames of a directory are left out since they cannot be read.

    Raises:
      UnreadableError: if `path` is not a video.
      UserError: if it has no frame at `start`, or an argument is out of range.
    """
    path = Path(path)
    if start is not None and not 0 <= start < math.inf:
        raise errors.UserError(f"`start` must be 0 seconds or more; got {start:g}.")
    if duration is not None and not 0 < duration < math.inf:
        raise errors.UserError(f"`duration` must be more than 0 seconds; got {duration:g}.")
    fps = None if fps is None else frame_rate(fps)
    with files.convert_read_errors(path):
        if path.is_dir():
            return _open_directory(path, start or 0, duration, fps or timing.DEFAULT_FPS)
        files.check_readable(path)
        image = images.open_image(path)
        if image is not None:
            with image, images.convert_decoding_errors(path):
                if animations.is_animated(image):
                    return _open_animation(path, start or 0, duration, fps)
                if image.format not in _FFMPEG_FORMATS:
                    size = images.displayed_size(image)
                    return _open_stacked(path, size, start or 0, duration, fps or timing.DEFAULT_FPS)
        return _open_container(path, start or 0, duration, fps)


def is_video(path: str | Path, stacked: bool = False) -> bool:
    """Whether a file has several frames; True for a directory and for what neither is an image nor is named as one.

    Args:
      path: the file or directory.
      stacked: whether a stacked image counts as a video; see `open_video`.

    Raises:
      UnreadableError: if the file is missing, or an image that cannot be opened.
    """
    if os.path.isdir(path):  # also for a name that is too long, which Path.is_dir raises for
        return True
    path = Path(path)
    files.check_readable(path)
    with files.convert_read_errors(path):
        image = images.open_image(path)
        if image is None:
            return not is_image_name(path)
        with image, images.convert_decoding_errors(path):
            if image.format in _FFMPEG_FORMATS:
                return getattr(image, "n_frames", 2) > 1
            height, width = images.displayed_size(image)
            return animations.is_animated(image) or (stacked and width > height and width % height == 0)


def open_still(path: str | Path, fps: float | Fraction = timing.DEFAULT_FPS) -> Video:
    """An image as a video of one frame.

    Raises:
      UnreadableError: if it cannot be read.
    """
    frame = images.read_image(path)
    return Video(Path(path), frame_rate(fps), frame.shape[:2], 1, False, lambda: iter([frame]))


def frame_rate(fps: float | Fraction) -> Fraction:
    """The exact rate of `fps`: 29.97002997 is 30000/1001.

    Raises:
      UserError: if it is not above 0 and at most 1000.
    """
    if not 0 < fps <= 1000:
        raise errors.UserError(f"`fps` must be above 0 and at most 1000; got {fps:g}.")
    return Fraction(fps).limit_denominator(1001)


def _open_container(path: Path, start: float, duration: float | None, fps: Fraction | None) -> Video:
    probed = decoding.probe(path)
    if probed.hdr:
        warnings.warn(f"{path} is HDR ({probed.hdr}); it is tone-mapped to SDR.", VideoNote, stacklevel=3)
    if probed.dolby_vision:
        message = (
            f"{path} has the colors of Dolby Vision (profile 5), which are shown wrong; convert it to SDR or HDR10."
        )
        warnings.warn(message, VideoNote, stacklevel=3)
    return _timed_video(path, probed, decoding.decode, start, duration, fps)


def _open_animation(path: Path, start: float, duration: float | None, fps: Fraction | None) -> Video:
    return _timed_video(path, animations.probe(path), animations.decode, start, duration, fps)


def _timed_video(
    path: Path,
    probed: timing.Probe,
    decode: Callable[..., Iterator[np.ndarray]],
    start: float,
    duration: float | None,
    fps: Fraction | None,
) -> Video:
    """A video whose frames have time stamps; `decode` takes path, probe, rate and start."""
    fps = fps or probed.fps
    if start > 0 and probed.end is not None and start >= probed.end:
        raise _start_error(path, start, probed.end)
    limit = None if duration is None else max(1, round(duration * fps))
    declared = None if probed.end is None else max(1, round((probed.end - start) * fps))
    count = min((number for number in (limit, declared) if number is not None), default=None)

    def read() -> Iterator[np.ndarray]:
        frames = itertools.islice(decode(path, probed, fps, start), limit)
        first = next(frames, None)
        if first is None:
            if start:
                raise _start_error(path, start, probed.end)
            raise errors.UnreadableError(f"{path} has no frame that can be decoded: it is damaged or truncated.")
        yield first
        yield from frames

    return Video(path, fps, probed.size, count, probed.has_audio, read)


def _open_directory(path: Path, start: float, duration: float | None, fps: Fraction) -> Video:
    visible = sorted((file for file in path.iterdir() if not is_hidden(file)), key=_natural)
    names = [file for file in visible if is_image_name(file)]
    if not names:
        raise errors.UnreadableError(
            f"{path} is a directory without images; give a video or a directory of png or jpg frames."
        )
    if others := [file for file in visible if not is_image_name(file)]:
        warnings.warn(f"{path}: passed over {list_names(others)}, no images.", VideoNote, stacklevel=3)
    names = _clip(path, names, start, duration, fps)
    size = next(_read_frames(path, names)).shape[:2]
    return Video(path, fps, size, len(names), False, lambda: _read_frames(path, names))


def _read_frames(path: Path, names: list[Path]) -> Iterator[np.ndarray]:
    """Yields the images that can be read, and warns about the others; raises if there is none, or if sizes differ."""
    first, unreadable = None, []
    for name in names:
        try:
            frame = images.read_image(name)
        except errors.UnreadableError as error:
            unreadable.append((name, error))
            continue
        first = first or (name.name, frame.shape[:2])
        if frame.shape[:2] != first[1]:
            got = f"{frame.shape[1]} x {frame.shape[0]}, but {first[0]} is {first[1][1]} x {first[1][0]}"
            raise errors.UnreadableError(f"{name} is {got}; all frames must have the same size.")
        yield frame
    if first is None:
        raise unreadable[0][1]
    if unreadable:
        left_out = list_names([name for name, _ in unreadable])
        reason = str(unreadable[0][1]).rstrip(".")
        warnings.warn(f"{path}: left out {left_out} that cannot be read: {reason}.", stacklevel=2)


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


def _natural(file: Path) -> list[int | str]:
    """Sort key that puts frame2 before frame10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", file.name)]


def _open_stacked(path: Path, size: tuple[int, int], start: float, duration: float | None, fps: Fraction) -> Video:
    side, width = size
    if width <= side or width % side:
        raise errors.UnreadableError(
            f"{path} is one image of {width} x {side}; give a video, a directory of frames, or square frames side "
            "by side in one image."
        )
    places = _clip(path, range(0, width, side), start, duration, fps)

    def read() -> Iterator[np.ndarray]:
        stacked = images.read_image(path)
        for left in places:
            yield stacked[:, left : left + side].copy()

    return Video(path, fps, (side, side), len(places), False, read)


def _clip(path: Path, frames: list | range, start: float, duration: float | None, fps: Fraction) -> list | range:
    first = round(start * fps)
    if first >= len(frames):
        raise _start_error(path, start, len(frames) / fps)
    return frames[first:] if duration is None else frames[first : first + max(1, round(duration * fps))]


def _start_error(path: Path, start: float, end: float | None) -> errors.UserError:
    length = "" if end is None else f", which lasts {float(end):.2f} s"
    return errors.UserError(f"`start` {start:g} s is after the last frame of {path}{length}; give an earlier one.")

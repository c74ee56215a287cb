"""Opens videos of every kind: a container, a directory of frames, or frames side by side in one image."""

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from fomm_tf import errors, files
from fomm_tf.video import decoding, images
from fomm_tf.video.decoding import DEFAULT_FPS

_FRAME_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


@dataclasses.dataclass(frozen=True)
class Video:
    """Frames of one size at a constant rate; each iteration reads the file again, and no frame is kept in memory.

    Attributes:
      path: the file or directory.
      fps: frames per second.
      size: `(H, W)` of a frame, after rotation.
      frame_count: expected number of frames: exact for a directory or a stacked image, from the header for a
        container; None if the header has no duration.
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


def open_video(
    path: str | Path,
    start: float | None = None,
    duration: float | None = None,
    fps: float | Fraction | None = None,
) -> Video:
    """Opens a video; the file itself is open only during iteration.

    Args:
      path: any video that ffmpeg reads, including gif; a directory of frames, in natural order of their names; or a
        stacked image: square frames side by side.
      start: seconds from the first frame; the frame nearest to it is the first.
      duration: seconds to read from there; at least one frame is read.
      fps: a directory or a stacked image has this rate, by default 25; a video is resampled to it.

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
            return _open_directory(path, start or 0, duration, fps or DEFAULT_FPS)
        files.check_readable(path)
        image = images.open_image(path)
        if image is not None:
            with image:
                if not _is_animated(image):
                    return _open_stacked(path, image.size[::-1], start or 0, duration, fps or DEFAULT_FPS)
        return _open_container(path, start or 0, duration, fps)


def frame_rate(fps: float | Fraction) -> Fraction:
    """The exact rate of `fps`: 29.97002997 is 30000/1001.

    Raises:
      UserError: if it is not above 0 and at most 1000.
    """
    if not 0 < fps <= 1000:
        raise errors.UserError(f"`fps` must be above 0 and at most 1000; got {fps:g}.")
    return Fraction(fps).limit_denominator(1001)


def _is_animated(image: Image.Image) -> bool:
    return image.format in ("GIF", "MPEG") or (image.format == "PNG" and image.is_animated)


def _open_container(path: Path, start: float, duration: float | None, fps: Fraction | None) -> Video:
    probed = decoding.probe(path)
    fps = fps or probed.fps
    if start > 0 and probed.end is not None and start >= probed.end:
        raise _start_error(path, start, probed.end)
    limit = None if duration is None else max(1, round(duration * fps))
    declared = None if probed.end is None else max(1, round((probed.end - start) * fps))
    count = min((number for number in (limit, declared) if number is not None), default=None)

    def read() -> Iterator[np.ndarray]:
        frames = itertools.islice(decoding.decode(path, probed, fps, start), limit)
        first = next(frames, None)
        if first is None:
            if start:
                raise _start_error(path, start, probed.end)
            raise errors.UnreadableError(f"{path} has no frame that can be decoded: it is damaged or truncated.")
        yield first
        yield from frames

    size = (probed.width, probed.height) if probed.turns % 2 else (probed.height, probed.width)
    return Video(path, fps, size, count, probed.has_audio, read)


def _open_directory(path: Path, start: float, duration: float | None, fps: Fraction) -> Video:
    names = [file for file in path.iterdir() if file.suffix.lower() in _FRAME_SUFFIXES and file.name[0] != "."]
    if not names:
        raise errors.UnreadableError(
            f"{path} is a directory without images; give a video or a directory of png or jpg frames."
        )
    names = _clip(path, sorted(names, key=_natural), start, duration, fps)
    size = images.read_image(names[0]).shape[:2]

    def read() -> Iterator[np.ndarray]:
        for name in names:
            frame = images.read_image(name)
            if frame.shape[:2] != size:
                got = f"{frame.shape[1]} x {frame.shape[0]}, but {names[0].name} is {size[1]} x {size[0]}"
                raise errors.UnreadableError(f"{name} is {got}; all frames must have the same size.")
            yield frame

    return Video(path, fps, size, len(names), False, read)


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

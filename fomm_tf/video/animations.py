"""Animated WebP, PNG and AVIF, and TIFF with several pages, by Pillow; FFmpeg reads gif, and writes gif and WebP.

Pillow composes the frames, and applies transparency, ICC profile and orientation as to a single image. FFmpeg writes no
comments into animated images; they are added here.
"""

import itertools
import os
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from fomm_tf import errors, files
from fomm_tf.video import images, timing

_FORMATS = {"AVIF", "PNG", "TIFF", "WEBP"}
# What viewers make of a duration of 0.
_LEAST_DURATION = 0.1
# Enough frames to measure the rate.
_PROBED_FRAMES = 100


def is_animated(image: Image.Image) -> bool:
    """Whether an opened image has several frames that this module reads."""
    return image.format in _FORMATS and getattr(image, "is_animated", False)


def is_animated_file(path: Path) -> bool:
    """Whether a file is an animated image, gif included; False if it cannot be read."""
    try:
        with files.convert_read_errors(path), images.convert_decoding_errors(path):
            image = images.open_image(path)
            if image is None:
                return False
            with image:
                return image.format == "GIF" or is_animated(image)
    except errors.UnreadableError:
        return False


def probe(path: Path) -> timing.Probe:
    """Decodes the first frames; the end is estimated if there are many.

    Raises:
      UnreadableError: if the first frame cannot be decoded.
    """
    timed = list(itertools.islice(_read(path), _PROBED_FRAMES))
    with images.open_image(path) as image, images.convert_decoding_errors(path):
        count = image.n_frames - _skipped(image)
    measured = timed[-1].time + timed[-1].duration
    return timing.Probe(
        fps=timing.measure_rate([], [frame.time for frame in timed]),
        size=timed[0].frame.shape[:2],
        end=measured * count / len(timed),
    )


def decode(path: Path, probed: timing.Probe, fps: Fraction, start: float) -> Iterator[np.ndarray]:
    """Yields the frames from `start` on, at a constant rate of `fps`.

    Warns:
      UserWarning: if a frame is damaged; the iteration then ends before it.
    """
    for frame in timing.resample(_read(path), probed.fps, fps, start):
        yield frame.copy()


def _skipped(image: Image.Image) -> int:
    """An APNG may start with an image for programs that do not animate."""
    return int(image.info.get("default_image", False))


def _read(path: Path) -> Iterator[timing.TimedFrame]:
    time, size = 0.0, None
    with images.open_image(path) as image:
        with images.convert_decoding_errors(path):
            numbers = range(_skipped(image), image.n_frames)
        for number in numbers:
            try:
                with images.convert_decoding_errors(path):
                    image.seek(number)
                    frame = images.decode_image(path, image)
            except errors.UnreadableError:
                if size is None:
                    raise
                message = f"{path} is damaged or truncated: it could be read up to {time:.1f} s."
                warnings.warn(message, stacklevel=2)
                return
            size = size or frame.shape[:2]
            if frame.shape[:2] != size:
                raise errors.UnreadableError(
                    f"{path}: frame {number} is {frame.shape[1]} x {frame.shape[0]}, but the first is {size[1]} x "
                    f"{size[0]}; all frames must have the same size."
                )
            milliseconds = image.info.get("duration", float(1000 / timing.DEFAULT_FPS))
            duration = min(milliseconds / 1000, timing.MAX_DURATION) or _LEAST_DURATION
            yield timing.TimedFrame(time, duration, frame)
            time += duration


def add_gif_comment(path: Path, text: str) -> None:
    """Adds a comment extension before the trailer of a gif: FFmpeg writes no comments."""
    comment = text.encode()[:255]
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x21\xfe" + bytes([len(comment)]) + comment + b"\x00" + b"\x3b")


def add_webp_comment(path: Path, text: str) -> None:
    """Adds XMP to an animated WebP, which FFmpeg writes without metadata: its flag, the chunk, and the file's size."""
    chunk = images.webp_comment(text)
    with path.open("r+b") as file:
        flags = file.read(21)[20]
        file.seek(20)
        file.write(bytes([flags | 0x04]))
        file.seek(0, os.SEEK_END)
        file.write(b"XMP " + len(chunk).to_bytes(4, "little") + chunk + b"\0" * (len(chunk) % 2))
        size = file.tell() - 8
        file.seek(4)
        file.write(size.to_bytes(4, "little"))

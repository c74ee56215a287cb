"""What a figure is made from: source pictures, and frames spread over a driving clip. No TensorFlow."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fomm_tf import errors, video


class Material(NamedTuple):
    """Pictures as they are in their files.

    Attributes:
      names: of the sources.
      sources: pictures.
      times: seconds from the clip's first frame, one a frame.
      frames: of the clip.
      first: the clip's first frame, which relative motion starts from; None without a clip.
    """

    names: list[str]
    sources: list[np.ndarray]
    times: list[float]
    frames: list[np.ndarray]
    first: np.ndarray | None


def read(
    sources: Sequence[str],
    driving: str | None,
    count: int,
    start: float | None = None,
    duration: float | None = None,
) -> Material:
    """Reads pictures and `count` frames spread over the clip, the last one among them.

    The first frame is left out where there are more: relative motion and reconstruction give it back as it is.

    Args:
      sources: picture files.
      driving: see `fomm_tf.video.open_video`; None for no clip.
      count: frames to take; all, of a shorter clip.
      start: where the clip begins in the video, in seconds.
      duration: how long it is, in seconds.

    Raises:
      errors.UserError: if a file cannot be read or `count` is below 1.
    """
    if count < 1:
        raise errors.UserError(f"--frames is {count}; give 1 or more.")
    names = [pathlib.Path(source).stem for source in sources]
    pictures = [video.read_image(source) for source in sources]
    if driving is None:
        return Material(names, pictures, [], [], None)
    clip = video.open_video(driving, start, duration)
    total = sum(1 for _ in clip)  # what a header promises need not be so
    wanted = set(np.linspace(0, total - 1, count + 1).round().astype(int)[1:]) if count < total else set(range(total))
    times, frames, first = [], [], None
    for number, frame in enumerate(clip):
        first = frame if number == 0 else first
        if number in wanted:
            times.append(float(number / clip.fps))
            frames.append(frame)
    return Material(names, pictures, times, frames, first)

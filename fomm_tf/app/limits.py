"""Limits of the page, and the check of a pair of files before it is animated."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

from fomm_tf import errors, video
from fomm_tf.inference import motion_files

_MEBIBYTE = 2**20


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a visitor may use.

    Attributes:
      upload_mib: of one uploaded file, such as a checkpoint.
      video_mib: of a source or driving file.
      disk_mib: of all uploaded files and results; the oldest are deleted first.
      megapixels: of a video frame, in millions of pixels; images have `fomm_tf.video.MAX_PIXELS`.
      seconds: of the driving video that are animated.
      frames: of one animation.
      waiting: jobs that are not finished.
      live_sessions: cameras at once.
      keep_seconds: how long uploaded files and results are kept.
    """

    upload_mib: int = 1024
    video_mib: int = 256
    disk_mib: int = 4096
    megapixels: int = 10
    seconds: int = 60
    frames: int = 3000
    waiting: int = 8
    live_sessions: int = 2
    keep_seconds: int = 3600

    @property
    def upload_bytes(self) -> int:
        """Of one uploaded file."""
        return self.upload_mib * _MEBIBYTE

    @property
    def disk_bytes(self) -> int:
        """Of all uploaded files and results."""
        return self.disk_mib * _MEBIBYTE


def check_pair(limits: Limits, source: pathlib.Path, driving: pathlib.Path, options: Mapping[str, str]) -> None:
    """Checks the size and length of uploaded files before they are read as a whole.

    Args:
      limits: of the page.
      source: an image or a video.
      driving: a video or a motion file.
      options: of `fomm animate`; `duration` shortens the driving video.

    Raises:
      errors.UserError: if a limit is exceeded, or a file cannot be read.
    """
    for path in (source, driving):
        size = path.stat().st_size
        if size > limits.video_mib * _MEBIBYTE:
            raise errors.UserError(
                f"{path.name} has {size / _MEBIBYTE:.0f} MiB; expected at most {limits.video_mib} MiB: shorten it."
            )
    if video.is_video(source):
        _check_frames(limits, video.open_video(source))
    if motion_files.is_motion_name(driving):
        return
    clip = video.open_video(driving)
    _check_frames(limits, clip)
    seconds = None if clip.frame_count is None else float(clip.frame_count / clip.fps)
    start, duration = (_number(options, name) for name in ("start", "duration"))
    if seconds is not None:
        seconds = max(0.0, seconds - (start or 0.0))
    seconds = duration if duration is not None and (seconds is None or duration < seconds) else seconds
    if seconds is not None and seconds > limits.seconds:
        raise errors.UserError(
            f"{driving.name}: {seconds:.1f} s would be animated; expected at most {limits.seconds} s: give a shorter "
            "`duration`."
        )


def _check_frames(limits: Limits, clip: video.Video) -> None:
    height, width = clip.size
    if height * width > limits.megapixels * 1_000_000:
        raise errors.UserError(
            f"{clip.path.name} has frames of {width} x {height}; expected at most {limits.megapixels} million pixels: "
            "scale it down."
        )


def _number(options: Mapping[str, str], name: str) -> float | None:
    """An option that is a number; None without it, and if it is none: then `fomm animate` says so."""
    try:
        return float(options[name])
    except (KeyError, ValueError):
        return None

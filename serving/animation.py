"""Animates an image file with a video file through a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import tqdm

from fomm_tf import video
from fomm_tf.serving import client as clients

TAG = "animated with fomm-tf"


class Options(NamedTuple):
    """How to animate."""

    relative: bool = True  # transfer the motion since the first driving frame, not the pose itself
    adapt_scale: bool = False  # scale it by the ratio of the two objects' sizes
    batch_size: int = clients.BATCH_SIZE  # driving frames per request
    audio: bool = True  # keep the driving video's audio
    audio_start: float = 0.0  # where in the driving file's audio the video begins, in seconds
    tag: bool = True  # write `TAG` to the metadata
    progress: bool = False  # show a progress bar on a terminal
    smooth: float = 0.0  # strength of the filter of keypoints
    motion_strength: float = 1.0  # scales relative motion


class Views(NamedTuple):
    """What of a source and a driving video is animated, at the model's frame size."""

    images: list[np.ndarray]  # of the source: the whole image, or one for each animated face
    read: Callable[[], Iterable[np.ndarray]]  # reads the driving frames from the first one
    compose: Callable[[list[np.ndarray]], np.ndarray]  # makes an output frame of the animated `images`


def animate(
    client: clients.Client,
    view: Callable[[tuple[int, int]], Views],
    driving: video.Video,
    output: str,
    options: Options,
) -> int:
    """Animates an image of any size and writes the result.

    Args:
      client: of the model.
      view: what is animated, by the model's frame size (H, W).
      driving: the opened driving video.
      output: a video file, or a directory of png frames.
      options: how to animate.

    Returns:
      The number of frames.

    Raises:
      errors.UserError: if the driving video cannot be read, or the output cannot be written.
      clients.ArgumentError: for an invalid batch size.
      clients.ServerError: if a request fails.
    """
    video.check_output(output, driving.path)
    views = view(client.frame_size)
    filters = options.smooth, options.motion_strength, float(driving.fps)
    animations = [
        client.animate(image, views.read(), options.relative, options.adapt_scale, options.batch_size, *filters)
        for image in views.images
    ]
    animation = map(views.compose, map(list, zip(*animations, strict=True)))
    writer = video.write_video(
        output,
        driving.fps,
        audio_from=driving.path if options.audio and driving.has_audio else None,
        audio_start=options.audio_start,
        tag=TAG if options.tag else None,
    )
    disable = None if options.progress else True
    progress = tqdm.tqdm(animation, total=driving.frame_count, unit="frame", disable=disable)
    with writer as written, progress:
        for frame in progress:
            written.write(frame)
    return written.count

"""Demonstrates a model on drawn heads, without downloads."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import numpy as np

from fomm_tf import files, video, visualize
from fomm_tf.data import puppets

# Odd seeds are test data: the bundled model was not trained on these.
SOURCE, DRIVING, _MOTION = 5, 7, 3


def draw_image(size: int) -> np.ndarray:
    """Draws a head in the first pose of `draw_clip`, as relative motion requires.

    Args:
      size: side of the image in pixels, at least 32.

    Returns:
      `[size, size, 3]` uint8 RGB.
    """
    return next(draw_clip(size, character=SOURCE))


def draw_clip(size: int, count: int = 50, character: int = DRIVING) -> Iterator[np.ndarray]:
    """Draws a moving head: the driving one, or with `SOURCE` the ground truth of the animation.

    Args:
      size: side of the frames in pixels, at least 32.
      count: number of frames.
      character: seed of the head.

    Yields:
      `[size, size, 3]` uint8 RGB.
    """
    identity = puppets.sample_identity(character, portrait=True)
    for pose in puppets.sample_motion(_MOTION, count, portrait=True):
        yield puppets.draw(identity, pose, size)


def run(folder: str | None, output: pathlib.Path) -> Iterator[str]:
    """Animates a drawn image by a drawn clip and draws the detected keypoints.

    Args:
      folder: run directory of the model; None for the bundled model.
      output: directory to write to.

    Yields:
      Lines about the outputs.

    Raises:
      errors.UserError: if `folder` is not a run directory or the output cannot be written.
    """
    from fomm_tf import checkpoint
    from fomm_tf.inference import animate, animator

    model = animator.Animator.load(folder or checkpoint.BUNDLED)
    yield f"device: {animator.describe_device()}"
    height, width = model.config.model.frame_size
    image = draw_image(max(height, width))
    source, driving, animated = output / "source.png", output / "driving.mp4", output / "animated.mp4"
    video.write_image(source, image)
    with video.write_video(driving, 25) as writer:
        for frame in draw_clip(max(height, width)):
            writer.write(frame)
    count = animate.animate_file(
        model,
        str(source),
        video.open_video(driving),
        animate.Output(str(animated), side_by_side=True, visualize=str(output / "visualize")),
        model.config.animate,
    )
    yield f"{animated}: the drawn image, the clip that drives it and the result, {count} frames"

    keypoints = model.detect(video.resize(image, (height, width))[np.newaxis]).frame(0)
    large = video.resize(image, (4 * height, 4 * width))
    video.write_image(output / "keypoints.png", visualize.draw_keypoints(large, *keypoints))
    contents = {name: None if part is None else part.numpy().tolist() for name, part in keypoints._asdict().items()}
    files.write_json(output / "keypoints.json", contents)
    count = len(keypoints.value)
    yield f"{output / 'keypoints.png'}: the image with its {count} keypoints ({output / 'keypoints.json'})"
    yield f"{output / 'visualize'}: intermediate results of the model (see overview.png)"

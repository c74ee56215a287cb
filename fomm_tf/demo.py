"""Demonstrates a model on drawn heads, without downloads."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import numpy as np

from fomm_tf import files, model_folders, video, visualize
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
      folder: the model's directory; None for the bundled model.
      output: directory to write to.

    Yields:
      Lines about the outputs.

    Raises:
      errors.UserError: if `folder` is not a model directory or the output cannot be written.
    """
    from fomm_tf.inference import animate, animator

    model = animator.Animator.load(folder or model_folders.BUNDLED)
    yield f"device: {model.engine.device()}"
    height, width = model.config.model.frame_size
    image = draw_image(max(height, width))
    visualized = str(output / "visualize") if model.engine.has_details else None
    source, driving, animated = output / "source.png", output / "driving.mp4", output / "animated.mp4"
    video.write_image(source, image)
    with video.write_video(driving, 25) as writer:
        for frame in draw_clip(max(height, width)):
            writer.write(frame)
    count = animate.animate_file(
        model,
        str(source),
        video.open_video(driving),
        animate.Output(str(animated), side_by_side=True, visualize=visualized),
        model.config.animate,
    )
    yield f"{animated}: the drawn image, the clip that drives it and the result, {count} frames"

    keypoints = model.detect(video.resize(image, (height, width))[np.newaxis]).frame(0)
    large = video.resize(image, (4 * height, 4 * width))
    video.write_image(output / "keypoints.png", visualize.draw_keypoints(large, *keypoints))
    contents = keypoints.map(lambda part: np.asarray(part).tolist())._asdict()
    files.write_json(output / "keypoints.json", contents)
    count = len(keypoints.value)
    yield f"{output / 'keypoints.png'}: the image with its {count} keypoints ({output / 'keypoints.json'})"
    if visualized is not None:
        yield f"{visualized}: intermediate results of the model (see overview.png)"

"""What a model does, on drawn heads, so that nothing needs to be downloaded."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator

import numpy as np

from fomm_tf import video, visualize
from fomm_tf.data import puppets

# Odd seeds belong to test sets: the bundled model has seen none of these.
SHOWN, DRIVING, _MOTION = 5, 7, 3


def draw_image(size: int) -> np.ndarray:
    """A drawn head, in the pose with which `draw_clip` begins, as relative motion wants it.

    Args:
      size: side of the image in pixels, at least 32.

    Returns:
      `[size, size, 3]` uint8 RGB.
    """
    return next(draw_clip(size, who=SHOWN))


def draw_clip(size: int, count: int = 50, who: int = DRIVING) -> Iterator[np.ndarray]:
    """A head that moves: the one that drives, or with `SHOWN` what a model should make of the image by it.

    Args:
      size: side of the frames in pixels, at least 32.
      count: how many frames.
      who: seed of the head.

    Yields:
      `[size, size, 3]` uint8 RGB.
    """
    identity = puppets.sample_identity(who, portrait=True)
    for pose in puppets.sample_motion(_MOTION, count, portrait=True):
        yield puppets.draw(identity, pose, size)


def run(folder: str | None, output: pathlib.Path) -> Iterator[str]:
    """Animates a drawn image by a drawn clip and shows the keypoints that the model finds.

    Args:
      folder: run folder of the model; None for the bundled one.
      output: folder to write to.

    Yields:
      Lines that say what was written.

    Raises:
      errors.UserError: if the folder is no run folder or the output cannot be written.
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

    keypoints = model.detect(video.resize(image, (height, width))[np.newaxis])
    value, jacobian = (None if part is None else part[0].numpy() for part in keypoints)
    large = video.resize(image, (4 * height, 4 * width))
    video.write_image(output / "keypoints.png", visualize.draw_keypoints(large, value, jacobian))
    numbers = {"value": value.tolist(), "jacobian": None if jacobian is None else jacobian.tolist()}
    (output / "keypoints.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    yield f"{output / 'keypoints.png'}: the image with its {len(value)} keypoints ({output / 'keypoints.json'})"
    yield f"{output / 'visualize'}: what the model saw (overview.png first)"

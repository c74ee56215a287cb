"""What a model does, on a face that is drawn here, so that nothing needs to be downloaded."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator

import numpy as np

from fomm_tf import video, visualize
from fomm_tf.opencv import cv2


def draw_face(size: int, turn: float = 0.0, smile: float = 0.5) -> np.ndarray:
    """A drawn face on a soft background.

    Args:
      size: side of the picture in pixels.
      turn: of the head, -1 (left) to 1 (right).
      smile: opening of the mouth, 0 to 1.

    Returns:
      `[size, size, 3]` uint8 RGB.
    """
    side = 256
    shade = np.linspace(0, 1, side)[:, None, None]
    picture = np.ascontiguousarray(np.array([150, 180, 205]) * (1 - shade) + np.array([225, 215, 190]) * shade)
    picture = picture.astype(np.uint8).repeat(side, axis=1).copy()
    middle = 128 + round(22 * turn)

    def ellipse(x: float, y: float, width: float, height: float, colour: tuple[int, int, int], span=(0, 360)) -> None:
        centre, axes = (round(x), round(y)), (round(width), round(height))
        cv2.ellipse(picture, centre, axes, 0, *span, colour, cv2.FILLED, cv2.LINE_AA)

    ellipse(128, 270, 95, 70, (70, 90, 140))
    ellipse(middle, 120, 74, 92, (92, 58, 34))
    ellipse(middle, 132, 62, 80, (232, 186, 152))
    for eye in (-1, 1):
        x = middle + 26 * eye + 10 * turn
        ellipse(x, 116, 13, 9, (250, 250, 250))
        ellipse(x + 5 * turn, 116, 6, 7, (60, 90, 60))
        ellipse(x, 96, 16, 4, (92, 58, 34))
    ellipse(middle + 16 * turn, 142, 8, 16, (212, 160, 128))
    ellipse(middle + 10 * turn, 176, 24, 4 + 16 * smile, (170, 50, 60), (0, 180))
    return video.resize(picture, (size, size))


def draw_clip(size: int, count: int = 50) -> Iterator[np.ndarray]:
    """The drawn face turning its head to and fro and smiling, once around.

    Args:
      size: side of the frames in pixels.
      count: how many frames.

    Yields:
      `[size, size, 3]` uint8 RGB.
    """
    for angle in np.linspace(0, 2 * np.pi, count, endpoint=False):
        yield draw_face(size, turn=np.sin(angle), smile=0.5 - 0.5 * np.cos(2 * angle))


def run(folder: str, output: pathlib.Path) -> Iterator[str]:
    """Animates a drawn picture by a drawn clip and shows the keypoints that the model finds.

    Args:
      folder: run folder of the model.
      output: folder to write to.

    Yields:
      Lines that say what was written.

    Raises:
      errors.UserError: if the folder is no run folder or the output cannot be written.
    """
    from fomm_tf.inference import animate, animator

    model = animator.Animator.load(folder)
    yield f"device: {animator.describe_device()}"
    height, width = model.config.model.frame_size
    picture = draw_face(max(height, width), turn=-0.3)
    source, driving, animated = output / "source.png", output / "driving.mp4", output / "animated.mp4"
    video.write_image(source, picture)
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
    yield f"{animated}: the drawn face, the clip that drives it and the result, {count} frames"

    keypoints = model.detect(video.resize(picture, (height, width))[np.newaxis])
    value, jacobian = (None if part is None else part[0].numpy() for part in keypoints)
    large = video.resize(picture, (4 * height, 4 * width))
    video.write_image(output / "keypoints.png", visualize.draw_keypoints(large, value, jacobian))
    numbers = {"value": value.tolist(), "jacobian": None if jacobian is None else jacobian.tolist()}
    (output / "keypoints.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    yield f"{output / 'keypoints.png'}: the face with its {len(value)} keypoints ({output / 'keypoints.json'})"
    yield f"{output / 'visualize'}: what the model saw (overview.png first)"

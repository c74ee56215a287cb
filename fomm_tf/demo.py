"""`fomm demo`: what a model does, on a face that is drawn here, so that nothing needs to be downloaded."""

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


def run(folder: str, output: pathlib.Path) -> Iterator[str]:
    """Finds the keypoints of the drawn face and writes them as a picture and as numbers.

    Args:
      folder: run folder of the model.
      output: folder to write to.

    Yields:
      Lines that say what was written.

    Raises:
      errors.UserError: if the folder is no run folder or the output cannot be written.
    """
    from fomm_tf.inference import animator

    model = animator.Animator.load(folder)
    height, width = model.config.model.frame_size
    face = video.resize(draw_face(max(height, width)), (height, width))
    keypoints = model.detect(face[np.newaxis])
    value = keypoints.value[0].numpy()
    jacobian = None if keypoints.jacobian is None else keypoints.jacobian[0].numpy()
    output.mkdir(parents=True, exist_ok=True)
    picture = visualize.draw_keypoints(video.resize(face, (4 * height, 4 * width)), value, jacobian)
    video.write_image(output / "keypoints.png", picture)
    numbers = {"value": value.tolist(), "jacobian": None if jacobian is None else jacobian.tolist()}
    (output / "keypoints.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    yield f"{output / 'keypoints.png'}: the drawn face with its {len(value)} keypoints ({output / 'keypoints.json'})"

"""A posed puppet before its background in a frame: which part is where, and which one shows at a place."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fomm_tf import errors
from fomm_tf.data.puppets import backgrounds, sprites
from fomm_tf.data.puppets import figure as figures
from fomm_tf.data.puppets.figure import Affine, Joint, Part
from fomm_tf.data.puppets.identity import Identity
from fomm_tf.data.puppets.motion import Pose
from fomm_tf.data.puppets.sprites import Sprite
from fomm_tf.opencv import cv2

LEAST_SIDE = 32

# Frames are put together this much larger, from sprites a little finer still, and reduced by area.
OVERSAMPLING = 2
_SPRITE_DENSITY = 1.25


class Scene(NamedTuple):
    """What a frame is drawn from.

    Attributes:
      parts: from the back to the front, the background first.
      joints: by name.
      sprites: by name.
      unit: pixels of the frame a figure unit.
      height, width: of the frame.
    """

    parts: list[Part]
    joints: dict[str, Joint]
    sprites: dict[str, Sprite]
    unit: float
    height: int
    width: int

    def pixel_centers(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y of the frame's pixels in figure units, `[H, W]` each, float64."""
        axes = ((np.arange(side) + 0.5 - side / 2) / self.unit for side in (self.width, self.height))
        return tuple(np.meshgrid(*axes))

    def to_pixels(self, x, y):
        """Places in figure units, numbers or arrays, as column and row; 0 is the center of the first pixel."""
        return self.unit * x + self.width / 2 - 0.5, self.unit * y + self.height / 2 - 0.5

    def normalize(self, x, y):
        """Places in figure units, numbers or arrays, as (x, y) of `fomm_tf.ops.grid`: -1 and 1 are pixel centers."""
        return 2 * self.unit * x / (self.width - 1), 2 * self.unit * y / (self.height - 1)

    def contains(self, x, y):
        """Whether places in figure units are within the frame's pixels, edges included."""
        return (np.abs(x) * self.unit <= self.width / 2) & (np.abs(y) * self.unit <= self.height / 2)


def set_scene(identity: Identity, pose: Pose, size: tuple[int, int] | int) -> Scene:
    """Puts a puppet in a pose into a frame.

    Raises:
      UserError: if the size is below 32.
    """
    height, width = check_size(size)
    unit = min(height, width) / 2
    aspect = (width / 2 / unit, height / 2 / unit)
    parts, joints = figures.pose_figure(identity, pose, aspect)
    drawn = sprites.draw_sprites(identity, unit * OVERSAMPLING * _SPRITE_DENSITY)
    background = backgrounds.draw_background(identity.background_kind, identity.background, aspect, unit)
    return Scene(parts, joints, {**drawn, "background": background}, unit, height, width)


def check_size(size: tuple[int, int] | int) -> tuple[int, int]:
    """`(H, W)` of a size.

    Raises:
      UserError: if a side is below 32.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < LEAST_SIDE:
        raise errors.UserError(f"size is {height}x{width}; a puppet needs at least {LEAST_SIDE} pixels a side.")
    return height, width


def find_shown(scene: Scene, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which part shows at each place, whether or not the place is within the frame.

    Args:
      scene: a posed puppet.
      x: `[h, w]` in figure units from the frame's center.
      y: `[h, w]`.

    Returns:
      `[h, w]` int, index into the scene's parts.
    """
    shown = np.zeros(x.shape, int)
    covers: dict[int, np.ndarray] = {}
    for index, part in enumerate(scene.parts[1:], start=1):
        if part.shown:
            covers[index] = _coverage(scene, part, x, y)
            if part.inside is not None:
                covers[index] *= covers[part.inside]
            shown[covers[index] > 0.5] = index
    return shown


def _coverage(scene: Scene, part: Part, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    sprite = scene.sprites[part.sprite]
    step = 1 / sprite.step
    to_pixels = Affine(step, 0.0, -sprite.left * step, 0.0, step, -sprite.top * step).of(part.place.inverse())
    columns, rows = (place.astype(np.float32) for place in to_pixels.at(x, y))
    return cv2.remap(sprite.pixels[..., 3], columns, rows, cv2.INTER_LINEAR)

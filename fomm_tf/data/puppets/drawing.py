"""Draws a posed puppet before its background: parts are placed in a scene, and composited from back to front."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
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

# Minimum side of a frame.
MIN_SIDE = 32

# Frames are composited at this scale, from sprites that are a little finer, and downsampled with area interpolation.
OVERSAMPLING = 2
_SPRITE_DENSITY = 1.25
# Columns of a contact sheet.
_COLUMNS = 8


class Scene(NamedTuple):
    """Everything that a frame is drawn from.

    Attributes:
      parts: from back to front, the background first.
      joints: by name.
      sprites: by name.
      unit: frame pixels per figure unit.
      height, width: of the frame.
    """

    parts: list[Part]
    joints: dict[str, Joint]
    sprites: dict[str, Sprite]
    unit: float
    height: int
    width: int

    def pixel_centers(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y of the frame's pixel centers in figure units, `[H, W]` each, float64."""
        axes = ((np.arange(side) + 0.5 - side / 2) / self.unit for side in (self.width, self.height))
        return tuple(np.meshgrid(*axes))

    def to_pixels(self, x, y):
        """Converts positions in figure units to column and row; 0 is the center of the first pixel."""
        return self.unit * x + self.width / 2 - 0.5, self.unit * y + self.height / 2 - 0.5

    def normalize(self, x, y):
        """Converts positions in figure units to those of `fomm_tf.ops.grid`: -1 and 1 are pixel centers."""
        return 2 * self.unit * x / (self.width - 1), 2 * self.unit * y / (self.height - 1)

    def contains(self, x, y):
        """Whether positions in figure units are inside the frame, edges included."""
        return (np.abs(x) * self.unit <= self.width / 2) & (np.abs(y) * self.unit <= self.height / 2)


def set_scene(identity: Identity, pose: Pose, size: tuple[int, int] | int) -> Scene:
    """Places the parts of a posed puppet in a frame.

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
    """Returns a size as `(H, W)`.

    Raises:
      UserError: if a side is below 32.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < MIN_SIDE:
        raise errors.UserError(f"`size` must be at least {MIN_SIDE}x{MIN_SIDE} for a puppet; got {height}x{width}.")
    return height, width


def find_visible_parts(scene: Scene, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Finds the visible part at each position, inside or outside of the frame.

    Args:
      scene: a posed puppet.
      x: `[h, w]` in figure units from the frame's center.
      y: `[h, w]`.

    Returns:
      `[h, w]` int, index of the part.
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


def draw(identity: Identity, pose: Pose, size: tuple[int, int] | int) -> np.ndarray:
    """Draws one frame.

    Args:
      identity: the character.
      pose: of the character; any pose fits any identity.
      size: `(H, W)`, or the side of a square; at least 32.

    Returns:
      `[H, W, 3]` uint8 RGB.

    Raises:
      UserError: if the size is below 32.
    """
    scene = set_scene(identity, pose, size)
    scale, height, width = OVERSAMPLING * scene.unit, OVERSAMPLING * scene.height, OVERSAMPLING * scene.width
    view = Affine(scale, 0.0, 0.5 * width - 0.5, 0.0, scale, 0.5 * height - 0.5)
    background, *parts = scene.parts
    canvas = _warp(scene, background, view, (0, 0, width, height))
    for part in parts:
        if part.shown:
            _composite(canvas, scene, part, view)
    frame = cv2.resize(canvas, (scene.width, scene.height), interpolation=cv2.INTER_AREA)[..., :3]
    return np.rint(np.clip(frame, 0, 1) * 255).astype(np.uint8)


def _composite(canvas: np.ndarray, scene: Scene, part: Part, view: Affine) -> None:
    """Composites a part over the canvas."""
    rows, columns = scene.sprites[part.sprite].pixels.shape[:2]
    matrix = _from_pixels(view, part, scene.sprites[part.sprite])
    corners = [matrix.at(x, y) for x in (-1, columns) for y in (-1, rows)]
    left, right = max(0, math.floor(min(x for x, _ in corners))), math.ceil(max(x for x, _ in corners)) + 1
    top, bottom = max(0, math.floor(min(y for _, y in corners))), math.ceil(max(y for _, y in corners)) + 1
    right, bottom = min(right, canvas.shape[1]), min(bottom, canvas.shape[0])
    if left >= right or top >= bottom:
        return
    box = (left, top, right - left, bottom - top)
    tile = _warp(scene, part, view, box)
    inside = part.inside
    while inside is not None:
        other = scene.parts[inside]
        tile = cv2.multiply(tile, _to_four_channels(_warp(scene, other, view, box, channels=slice(3, None))))
        inside = other.inside
    patch = canvas[top:bottom, left:right]
    cv2.multiply(patch, _to_four_channels(1 - tile[..., 3]), dst=patch)
    cv2.add(patch, tile, dst=patch)


def _to_four_channels(share: np.ndarray) -> np.ndarray:
    """Repeats `[h, w]` for four channels, which OpenCV multiplies several times faster than NumPy broadcasts."""
    return cv2.merge([share] * 4)


def _warp(
    scene: Scene, part: Part, view: Affine, box: tuple[int, int, int, int], channels: slice = slice(None)
) -> np.ndarray:
    left, top, width, height = box
    sprite = scene.sprites[part.sprite]
    matrix = _from_pixels(view, part, sprite)
    rows = np.array([[matrix.xx, matrix.xy, matrix.x0 - left], [matrix.yx, matrix.yy, matrix.y0 - top]])
    return cv2.warpAffine(sprite.pixels[..., channels], rows, (width, height), flags=cv2.INTER_LINEAR)


def _from_pixels(view: Affine, part: Part, sprite: Sprite) -> Affine:
    """The map from sprite pixels to canvas pixels."""
    return view.of(part.place).of(Affine(sprite.step, 0.0, sprite.left, 0.0, sprite.step, sprite.top))


def draw_sheet(clips: Iterable[tuple[Identity, Sequence[Pose]]], side: int = 68) -> np.ndarray:
    """Draws a contact sheet with one row per clip: eight frames, evenly spaced.

    Args:
      clips: identities and poses.
      side: of each square frame, at least 32 pixels.

    Returns:
      `[rows * side, 8 * side, 3]` uint8 RGB.

    Raises:
      UserError: if the side is below 32.
    """
    rows = []
    for identity, poses in clips:
        numbers = np.linspace(0, len(poses) - 1, _COLUMNS).round().astype(int)
        rows.append(np.concatenate([draw(identity, poses[number], side) for number in numbers], axis=1))
    return np.concatenate(rows)

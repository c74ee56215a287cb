"""Puppets: synthetic articulated characters, drawn from seeds, to train and test a model without real videos.

    python -m fomm_tf.data.puppets --out data/puppets --identities 100 --clips 4 --frames 64 --size 64 --seed 0

    identity = puppets.sample_identity(7)             # proportions, colors, textures, hair, background
    for pose in puppets.sample_motion(3, frames=64):  # a pose fits every identity
        frame = puppets.draw(identity, pose, 64)      # [64, 64, 3] uint8
        labels = puppets.label(identity, pose, 64)    # joints in [-1, 1] and whether they are visible

Convention:
  * the same seeds give the same bytes (with the same versions of this package, NumPy and OpenCV);
  * positions are (x, y), x to the right, y down; -1 and 1 are the centers of the first and the last pixel, as in
    `fomm_tf.ops`; left and right are the viewer's;
  * motion does not depend on the identity: `draw(other, pose)` is the true animation of another character, up to the
    proportions of the two.

Each part of an identity is drawn and shaded once, as a flat sprite; a frame is made of these sprites, each transformed
by one affine map, composited from back to front. In 30 % of the motions the frame shows head and shoulders, in the
others the whole figure; in half of them the background pans and zooms. The head turns in depth, limbs only in the
plane.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fomm_tf import errors
from fomm_tf.data.puppets import figure, sprites, textures
from fomm_tf.data.puppets.figure import JOINTS, Affine, Part
from fomm_tf.data.puppets.sampling import Identity, Pose, sample_identity, sample_motion
from fomm_tf.opencv import cv2

__all__ = ["JOINTS", "Identity", "Labels", "Pose", "draw", "label", "sample_identity", "sample_motion"]

# Minimum side of a frame.
MIN_SIDE = 32

# Frames are composited at this scale, from sprites that are a little finer, and downsampled with area interpolation.
OVERSAMPLING = 2
_SPRITE_DENSITY = 1.25


class _Scene(NamedTuple):
    """Everything that a frame is drawn from."""

    parts: list[Part]  # from back to front, the background first
    joints: dict[str, figure.Joint]
    sprites: dict[str, sprites.Sprite]
    unit: float  # frame pixels per figure unit
    height: int
    width: int

    def find_visible_parts(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The index of the visible part at each position, `[h, w]` in figure units, inside or outside of the frame."""
        visible = np.zeros(x.shape, int)
        covers: dict[int, np.ndarray] = {}
        for index, part in enumerate(self.parts[1:], start=1):
            if part.shown:
                pixels = self.sprites[part.sprite].pixels[..., 3]
                places = _to_canvas(self, part, Affine()).inverse().apply(x, y)
                covers[index] = cv2.remap(pixels, *(place.astype(np.float32) for place in places), cv2.INTER_LINEAR)
                if part.inside is not None:
                    covers[index] *= covers[part.inside]
                visible[covers[index] > 0.5] = index
        return visible


def _set_scene(identity: Identity, pose: Pose, size: tuple[int, int] | int) -> _Scene:
    height, width = check_size(size)
    unit = min(height, width) / 2
    aspect = (width / 2 / unit, height / 2 / unit)
    parts, joints = figure.pose_figure(identity, pose, aspect)
    drawn = sprites.draw_sprites(identity, unit * OVERSAMPLING * _SPRITE_DENSITY)
    pixels, left, top = textures.draw_background(identity.background_kind, identity.background, aspect, unit)
    background = sprites.Sprite(pixels, left, top, 1 / unit)
    return _Scene(parts, joints, {**drawn, "background": background}, unit, height, width)


def check_size(size: tuple[int, int] | int) -> tuple[int, int]:
    """Returns a size as `(H, W)`.

    Raises:
      UserError: if a side is below 32.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < MIN_SIDE:
        raise errors.UserError(f"`size` must be at least {MIN_SIDE}x{MIN_SIDE} for a puppet; got {height}x{width}.")
    return height, width


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
    scene = _set_scene(identity, pose, size)
    scale, height, width = OVERSAMPLING * scene.unit, OVERSAMPLING * scene.height, OVERSAMPLING * scene.width
    view = Affine(scale, 0.0, 0.5 * width - 0.5, 0.0, scale, 0.5 * height - 0.5)
    background, *parts = scene.parts
    canvas = _warp(scene, background, view, (0, 0, width, height))
    for part in parts:
        if part.shown:
            _composite(canvas, scene, part, view)
    frame = cv2.resize(canvas, (scene.width, scene.height), interpolation=cv2.INTER_AREA)[..., :3]
    return np.rint(np.clip(frame, 0, 1) * 255).astype(np.uint8)


def _composite(canvas: np.ndarray, scene: _Scene, part: Part, view: Affine) -> None:
    """Composites a part over the canvas."""
    rows, columns = scene.sprites[part.sprite].pixels.shape[:2]
    matrix = _to_canvas(scene, part, view)
    xs, ys = zip(*(matrix.apply(x, y) for x in (-1, columns) for y in (-1, rows)), strict=True)
    left, right = max(0, math.floor(min(xs))), min(canvas.shape[1], math.ceil(max(xs)) + 1)
    top, bottom = max(0, math.floor(min(ys))), min(canvas.shape[0], math.ceil(max(ys)) + 1)
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
    scene: _Scene, part: Part, view: Affine, box: tuple[int, int, int, int], channels: slice = slice(None)
) -> np.ndarray:
    left, top, width, height = box
    matrix = _to_canvas(scene, part, view)
    rows = np.array([[matrix.xx, matrix.xy, matrix.x0 - left], [matrix.yx, matrix.yy, matrix.y0 - top]])
    pixels = scene.sprites[part.sprite].pixels[..., channels]
    return cv2.warpAffine(pixels, rows, (width, height), flags=cv2.INTER_LINEAR)


def _to_canvas(scene: _Scene, part: Part, view: Affine) -> Affine:
    """The map from a part's sprite pixels to canvas pixels."""
    sprite = scene.sprites[part.sprite]
    return view.compose(part.place).compose(Affine(sprite.step, 0.0, sprite.left, 0.0, sprite.step, sprite.top))


class Labels(NamedTuple):
    """Positions of `JOINTS` in one frame.

    Attributes:
      value: `[J, 2]` float32 (x, y); -1 and 1 are the centers of the first and the last pixel, as in `fomm_tf.ops`.
      visible: `[J]` bool: in the frame, facing the viewer and not hidden by another part of the body.
    """

    value: np.ndarray
    visible: np.ndarray


def label(identity: Identity, pose: Pose, size: tuple[int, int] | int) -> Labels:
    """Positions of the joints in the frame that `draw` returns for the same arguments.

    Raises:
      UserError: if the size is below 32.
    """
    scene = _set_scene(identity, pose, size)
    joints = [scene.joints[name] for name in JOINTS]
    position, sides = np.array([joint[:2] for joint in joints]), np.array([scene.width, scene.height])
    shown = scene.find_visible_parts(*position.T[:, np.newaxis])[0]
    faces = [
        joint.faces and scene.parts[index].group == joint.group for joint, index in zip(joints, shown, strict=True)
    ]
    inside = (np.abs(position) * scene.unit <= sides / 2).all(axis=1)
    return Labels((2 * scene.unit * position / (sides - 1)).astype(np.float32), inside & faces)

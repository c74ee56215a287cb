"""Draws posed puppets and their ground truth: joints, dense flow, true animations.

Parts are placed in a scene and composited from back to front.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fomm_tf import errors
from fomm_tf.data.puppets import figure, sprites, textures
from fomm_tf.data.puppets.figure import Affine, Part
from fomm_tf.data.puppets.identity import Identity
from fomm_tf.data.puppets.motion import Pose
from fomm_tf.opencv import cv2

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

    def find_visible_parts(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The index of the visible part at each position, `[h, w]` in figure units, inside or outside of the frame."""
        visible = np.zeros(x.shape, int)
        covers: dict[int, np.ndarray] = {}
        for index, part in enumerate(self.parts[1:], start=1):
            if part.shown:
                covers[index] = self._coverage(part, x, y)
                if part.inside is not None:
                    covers[index] *= covers[part.inside]
                visible[covers[index] > 0.5] = index
        return visible

    def _coverage(self, part: Part, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        sprite = self.sprites[part.sprite]
        step = 1 / sprite.step
        to_pixels = Affine(step, 0.0, -sprite.left * step, 0.0, step, -sprite.top * step).of(part.place.inverse())
        columns, rows = (place.astype(np.float32) for place in to_pixels.at(x, y))
        return cv2.remap(sprite.pixels[..., 3], columns, rows, cv2.INTER_LINEAR)


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
    xs, ys = zip(*(matrix.at(x, y) for x in (-1, columns) for y in (-1, rows)), strict=True)
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
    return view.of(part.place).of(Affine(sprite.step, 0.0, sprite.left, 0.0, sprite.step, sprite.top))


class Labels(NamedTuple):
    """Positions of `JOINTS` in one frame.

    Attributes:
      value: `[J, 2]` float32 (x, y); -1 and 1 are the centers of the first and the last pixel, as in `fomm_tf.ops`.
      visible: `[J]` bool: in the frame, facing the viewer and not hidden by another part of the body.
    """

    value: np.ndarray
    visible: np.ndarray


class Flow(NamedTuple):
    """Dense flow: where the pixels of one frame come from in another.

    Attributes:
      grid: `[H, W, 2]` float32 (x, y), absolute positions in the units of `fomm_tf.ops.grid`, so that
        `backward_warp(frame_from, grid)` is `frame_to` where `visible` and not `edge`. Defined for every pixel,
        including surfaces that are hidden in the other frame.
      visible: `[H, W]` bool: whether the surface point at the pixel's center is visible in the other frame too. If it
        is hidden, turned away or outside of the frame there, the pixel is disoccluded.
      edge: `[H, W]` bool: whether the pixel mixes two surfaces with different motion, in this frame or at its position
        in the other frame, so that its color has no single origin: the flow of the pixel or of one of its four
        neighbors jumps by more than a pixel.
    """

    grid: np.ndarray
    visible: np.ndarray
    edge: np.ndarray


class Transfer(NamedTuple):
    """The true animation of an image by a clip of another character.

    Attributes:
      source: `[H, W, 3]` uint8, the identity to animate, in the pose of the first driving frame, as relative transfer
        assumes.
      driving: `[F, H, W, 3]` uint8, another identity.
      expected: `[F, H, W, 3]` uint8, the first identity in the poses of the driving frames; the first is `source`.
    """

    source: np.ndarray
    driving: np.ndarray
    expected: np.ndarray


def label(identity: Identity, pose: Pose, size: tuple[int, int] | int) -> Labels:
    """Positions of the joints in the frame that `draw` returns for the same arguments.

    Raises:
      UserError: if the size is below 32.
    """
    scene = _set_scene(identity, pose, size)
    joints = [scene.joints[name] for name in figure.JOINTS]
    x, y = (np.array([[getattr(joint, axis) for joint in joints]]) for axis in "xy")
    shown = scene.find_visible_parts(x, y)[0]
    faces = [
        joint.faces and scene.parts[index].group == joint.group for joint, index in zip(joints, shown, strict=True)
    ]
    value = np.stack(scene.normalize(x[0], y[0]), axis=-1).astype(np.float32)
    return Labels(value, scene.contains(x, y)[0] & faces)


def flow(identity: Identity, from_pose: Pose, to_pose: Pose, size: tuple[int, int] | int) -> Flow:
    """The dense flow between two frames of an identity.

    Args:
      identity: the character.
      from_pose: pose in the frame that is sampled.
      to_pose: pose in the frame that results.
      size: `(H, W)`, or the side of a square; at least 32.

    Raises:
      UserError: if the size is below 32.
    """
    start, end = (_set_scene(identity, pose, size) for pose in (from_pose, to_pose))
    x, y, expected = _trace(end, start)
    visible = start.contains(x, y) & (start.find_visible_parts(x, y) == expected)
    back_x, back_y, _ = _trace(start, end)
    mixed = _find_jumps(start, back_x, back_y).astype(np.float32)
    read_mixed = cv2.remap(mixed, *(place.astype(np.float32) for place in start.to_pixels(x, y)), cv2.INTER_LINEAR) > 0
    grid = np.stack(start.normalize(x, y), axis=-1).astype(np.float32)
    return Flow(grid, visible, read_mixed | _find_jumps(end, x, y))


def draw_transfer(
    identity: Identity, driving: Identity, poses: Sequence[Pose], size: tuple[int, int] | int
) -> Transfer:
    """The ideal animation of an identity's image by a clip of another identity.

    Motion is transferred as angles and positions in the frame: a limb of another length has the same angle and another
    end point. This is the truth of relative transfer up to the proportions of the two identities.

    Args:
      identity: the character to animate.
      driving: the character of the driving clip.
      poses: of the clip.
      size: `(H, W)`, or the side of a square; at least 32.

    Raises:
      UserError: if the size is below 32.
    """
    clips = [np.stack([draw(character, pose, size) for pose in poses]) for character in (driving, identity)]
    return Transfer(clips[1][0], *clips)


def _trace(scene: _Scene, other: _Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each pixel of a scene, the position of its surface in another scene, in figure units, and its part there."""
    x, y = scene.pixel_centers()
    visible = scene.find_visible_parts(x, y)
    numbers = {(part.sprite, part.which): number for number, part in enumerate(other.parts)}
    expected = np.empty_like(visible)
    for index in np.unique(visible):
        part, mine = scene.parts[index], visible == index
        number = numbers[part.sprite, part.which]
        x[mine], y[mine] = other.parts[number].place.of(part.place.inverse()).at(x[mine], y[mine])
        expected[mine] = number
    return x, y, expected


def _find_jumps(scene: _Scene, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Marks pixels next to a discontinuity of the flow of more than a pixel."""
    pixels = np.stack([place * scene.unit for place in (x, y)], axis=-1)
    along = np.linalg.norm(np.diff(pixels, axis=1) - (1, 0), axis=-1) > 1
    down = np.linalg.norm(np.diff(pixels, axis=0) - (0, 1), axis=-1) > 1
    jumps = np.zeros(x.shape, bool)
    for part, jump in ((jumps[:, 1:], along), (jumps[:, :-1], along), (jumps[1:], down), (jumps[:-1], down)):
        part |= jump
    return jumps

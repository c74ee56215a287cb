"""A posed puppet as a picture, and where its joints are in it."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from fomm_tf import errors
from fomm_tf.data.puppets import figure as figures
from fomm_tf.data.puppets import sprites, textures
from fomm_tf.data.puppets.figure import JOINTS, Affine, Figure
from fomm_tf.data.puppets.identity import Identity
from fomm_tf.data.puppets.motion import Pose
from fomm_tf.opencv import cv2

LEAST_SIDE = 32

# Frames are put together this much larger, from sprites a little finer still, and reduced by area.
_OVERSAMPLING = 2
_SPRITE_DENSITY = 1.25


class Labels(NamedTuple):
    """Where the joints of `JOINTS` are in one frame.

    Attributes:
      value: `[J, 2]` float32 (x, y); -1 and 1 are the centres of the first and the last pixel, as in `fomm_tf.ops`.
      visible: `[J]` bool: in the frame, turned to the viewer and behind no other part of the body.
    """

    value: np.ndarray
    visible: np.ndarray


def draw(identity: Identity, pose: Pose, size: tuple[int, int] | int) -> np.ndarray:
    """Draws one frame.

    Args:
      identity: who.
      pose: in what pose; any pose fits any identity.
      size: `(H, W)`, or the side of a square; at least 32.

    Returns:
      `[H, W, 3]` uint8 RGB.

    Raises:
      UserError: if the size is below 32.
    """
    height, width = check_size(size)
    posed, view, parts = _place(identity, pose, height, width)
    canvas = _background(identity, height, width).copy()
    for index, part in enumerate(posed.parts):
        _compose(canvas, parts, posed, view, index, part)
    frame = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)[..., :3]
    return np.rint(np.clip(frame, 0, 1) * 255).astype(np.uint8)


def label(identity: Identity, pose: Pose, size: tuple[int, int] | int) -> Labels:
    """Where the joints are in what `draw` gives for the same arguments.

    Raises:
      UserError: if the size is below 32.
    """
    height, width = check_size(size)
    posed, _, parts = _place(identity, pose, height, width)
    unit = min(height, width) / 2
    value, visible = np.empty((len(JOINTS), 2), np.float32), np.empty(len(JOINTS), bool)
    inverses = [(_inverse(part.place), part) for part in posed.parts if part.inside is None]
    order = {part.group: index for index, (_, part) in enumerate(inverses)}
    for row, name in enumerate(JOINTS):
        joint = posed.joints[name]
        column, line = width / 2 + unit * joint.x - 0.5, height / 2 + unit * joint.y - 0.5
        value[row] = 2 * column / (width - 1) - 1, 2 * line / (height - 1) - 1
        inside = -0.5 <= column <= width - 0.5 and -0.5 <= line <= height - 0.5
        visible[row] = inside and joint.faces and not _is_hidden(joint, inverses, parts, order)
    return Labels(value, visible)


def check_size(size: tuple[int, int] | int) -> tuple[int, int]:
    """`(H, W)` of a size.

    Raises:
      UserError: if a side is below 32.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < LEAST_SIDE:
        raise errors.UserError(f"size is {height}x{width}; a puppet needs at least {LEAST_SIDE} pixels a side.")
    return height, width


def _place(identity: Identity, pose: Pose, height: int, width: int) -> tuple[Figure, Affine, dict]:
    unit = min(height, width) / 2
    posed = figures.pose_figure(identity, pose, (width / 2 / unit, height / 2 / unit))
    scale = unit * _OVERSAMPLING
    view = Affine(scale, 0.0, 0.5 * width * _OVERSAMPLING - 0.5, 0.0, scale, 0.5 * height * _OVERSAMPLING - 0.5)
    return posed, view, sprites.draw_sprites(identity, scale * _SPRITE_DENSITY)


@functools.lru_cache(maxsize=4)
def _background(identity: Identity, height: int, width: int) -> np.ndarray:
    height, width = height * _OVERSAMPLING, width * _OVERSAMPLING
    picture = textures.paint_background(identity.background_kind, identity.background, height, width)
    return np.concatenate([picture, np.ones((height, width, 1), np.float32)], axis=-1)


def _pixels(view: Affine, place: Affine, sprite: sprites.Sprite) -> Affine:
    """From the sprite's pixels to the canvas'."""
    return view.of(place).of(Affine(sprite.step, 0.0, sprite.left, 0.0, sprite.step, sprite.top))


def _compose(canvas: np.ndarray, parts: dict, posed: Figure, view: Affine, index: int, part: figures.Part) -> None:
    sprite = parts[part.sprite]
    matrix = _pixels(view, part.place, sprite)
    rows, columns = sprite.pixels.shape[:2]
    corners = [matrix.at(x, y) for x in (-1, columns) for y in (-1, rows)]
    left, right = max(0, math.floor(min(x for x, _ in corners))), math.ceil(max(x for x, _ in corners)) + 1
    top, bottom = max(0, math.floor(min(y for _, y in corners))), math.ceil(max(y for _, y in corners)) + 1
    right, bottom = min(right, canvas.shape[1]), min(bottom, canvas.shape[0])
    if left >= right or top >= bottom:
        return
    box = (left, top, right - left, bottom - top)
    tile = _warp(sprite.pixels, matrix, box)
    inside = part.inside
    while inside is not None:
        other = posed.parts[inside]
        mask = parts[other.sprite]
        tile *= _warp(mask.pixels[..., 3], _pixels(view, other.place, mask), box)[..., None]
        inside = other.inside
    patch = canvas[top:bottom, left:right]
    patch *= 1 - tile[..., 3:]
    patch += tile


def _warp(picture: np.ndarray, matrix: Affine, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, width, height = box
    rows = np.array([[matrix.xx, matrix.xy, matrix.x0 - left], [matrix.yx, matrix.yy, matrix.y0 - top]])
    return cv2.warpAffine(picture, rows, (width, height), flags=cv2.INTER_LINEAR)


def _inverse(affine: Affine) -> Affine:
    xx, xy, x0, yx, yy, y0 = affine
    det = xx * yy - xy * yx
    xx, xy, yx, yy = yy / det, -xy / det, -yx / det, xx / det
    return Affine(xx, xy, -xx * x0 - xy * y0, yx, yy, -yx * x0 - yy * y0)


def _is_hidden(joint: figures.Joint, inverses: list, parts: dict, order: dict[str, int]) -> bool:
    """Whether a part of another group, drawn after the joint's own, covers it."""
    for inverse, part in inverses[order[joint.group] + 1 :]:
        if part.group == joint.group:
            continue
        sprite = parts[part.sprite]
        x, y = inverse.at(joint.x, joint.y)
        column, row = round((x - sprite.left) / sprite.step), round((y - sprite.top) / sprite.step)
        rows, columns = sprite.pixels.shape[:2]
        if 0 <= row < rows and 0 <= column < columns and sprite.pixels[row, column, 3] > 0.5:
            return True
    return False

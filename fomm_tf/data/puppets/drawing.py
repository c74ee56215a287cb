"""A posed puppet as an image."""

from __future__ import annotations

import math

import numpy as np

from fomm_tf.data.puppets import scene as scenes
from fomm_tf.data.puppets import sprites
from fomm_tf.data.puppets.figure import Affine, Part
from fomm_tf.data.puppets.identity import Identity
from fomm_tf.data.puppets.motion import Pose
from fomm_tf.data.puppets.scene import OVERSAMPLING, Scene
from fomm_tf.opencv import cv2


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
    scene = scenes.set_scene(identity, pose, size)
    scale, height, width = OVERSAMPLING * scene.unit, OVERSAMPLING * scene.height, OVERSAMPLING * scene.width
    view = Affine(scale, 0.0, 0.5 * width - 0.5, 0.0, scale, 0.5 * height - 0.5)
    background, *parts = scene.parts
    canvas = _warp(scene, background, view, (0, 0, width, height))
    for part in parts:
        if part.shown:
            _compose(canvas, scene, part, view)
    frame = cv2.resize(canvas, (scene.width, scene.height), interpolation=cv2.INTER_AREA)[..., :3]
    return np.rint(np.clip(frame, 0, 1) * 255).astype(np.uint8)


def _compose(canvas: np.ndarray, scene: Scene, part: Part, view: Affine) -> None:
    """Lays a part over what is already drawn."""
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
        tile = cv2.multiply(tile, _spread(_warp(scene, other, view, box, channels=slice(3, None))))
        inside = other.inside
    patch = canvas[top:bottom, left:right]
    cv2.multiply(patch, _spread(1 - tile[..., 3]), dst=patch)
    cv2.add(patch, tile, dst=patch)


def _spread(share: np.ndarray) -> np.ndarray:
    """`[h, w]` for each of four channels: OpenCV multiplies these several times faster than numpy broadcasts."""
    return cv2.merge([share] * 4)


def _warp(
    scene: Scene, part: Part, view: Affine, box: tuple[int, int, int, int], channels: slice = slice(None)
) -> np.ndarray:
    left, top, width, height = box
    sprite = scene.sprites[part.sprite]
    matrix = _from_pixels(view, part, sprite)
    rows = np.array([[matrix.xx, matrix.xy, matrix.x0 - left], [matrix.yx, matrix.yy, matrix.y0 - top]])
    return cv2.warpAffine(sprite.pixels[..., channels], rows, (width, height), flags=cv2.INTER_LINEAR)


def _from_pixels(view: Affine, part: Part, sprite: sprites.Sprite) -> Affine:
    """From the sprite's pixels to the canvas'."""
    return view.of(part.place).of(Affine(sprite.step, 0.0, sprite.left, 0.0, sprite.step, sprite.top))

"""Backgrounds: images larger than the frame, so that they can pan and zoom.

Every kind has structure everywhere, so that disoccluded areas can be evaluated, and no edge as sharp as a figure's
outline. Two have the spectrum of photographs, whose power falls with frequency as 1/f^2 to 1/f^3: `photograph` is noise
with octaves of equal strength; `leaves` are overlapping discs of all sizes, the "dead leaves" model of Lee, Mumford and
Huang (2001), with as many edges as photographs.
"""

from __future__ import annotations

import functools

import numpy as np

from fomm_tf.data.puppets import identity, textures
from fomm_tf.data.puppets.identity import Texture
from fomm_tf.data.puppets.sprites import Sprite
from fomm_tf.data.puppets.textures import soften
from fomm_tf.opencv import cv2

# Side of the image relative to the frame's: enough for a pan of 0.2.
_MARGIN = 1.22
_LEAVES, _MIN_LEAF, _MAX_LEAF = 500, 0.06, 0.6


@functools.lru_cache(maxsize=4)
def draw_background(kind: str, texture: Texture, aspect: tuple[float, float], density: float) -> Sprite:
    """Draws a background.

    Args:
      kind: one of `identity.BACKGROUNDS`.
      texture: its colors, period, angle and seed.
      aspect: the frame's half width and half height, in figure units.
      density: pixels per unit.
    """
    left, top = -_MARGIN * aspect[0], -_MARGIN * aspect[1]
    width, height = (int(np.ceil(-2 * start * density)) for start in (left, top))
    x = np.broadcast_to(np.float32(left) + np.arange(width, dtype=np.float32) / np.float32(density), (height, width))
    y = (np.float32(top) + np.arange(height, dtype=np.float32) / np.float32(density))[:, None]
    y = np.broadcast_to(y, (height, width))
    color = _paint(kind, texture, x, y, density)
    vignette = 1.05 - 0.1 * (x * x + y * y)[..., None]
    color = cv2.GaussianBlur(np.clip(color * vignette, 0, 1).astype(np.float32), (3, 3), 0)
    return Sprite(np.concatenate([color, np.ones((height, width, 1), np.float32)], axis=-1), left, top, 1 / density)


def _paint(kind: str, texture: Texture, x: np.ndarray, y: np.ndarray, density: float) -> np.ndarray:
    generator = np.random.default_rng(texture.seed)
    first, second = np.float32(texture.first), np.float32(texture.second)
    grain = textures.fractal(texture.seed, 2.5 * x, 2.5 * y, octaves=3, fall=0.5)[..., None]
    if kind == "leaves":
        return _lay_leaves(generator, first, second, x, y, density) + 0.1 * grain
    if kind == "photograph":
        # Photographs vary in brightness more than in color.
        light = textures.fractal(texture.seed + 20, x + 3, y + 3, octaves=5, fall=1.0)[..., None]
        hue = [textures.fractal(texture.seed + 10 * i, x, y, octaves=4, fall=1.0) for i in (4, 5, 6)]
        return first + 0.3 * (second - first) + 1.5 * light + 0.4 * np.stack(hue, axis=-1)
    weight = _second_color_weight(kind, texture, generator, x, y, density)[..., None]
    return first + (second - first) * weight + (0.5 if kind == "noise" else 0.15) * grain


def _second_color_weight(
    kind: str, texture: Texture, generator: np.random.Generator, x: np.ndarray, y: np.ndarray, density: float
) -> np.ndarray:
    """Weight of the second color at each pixel."""
    slope = 0.6 * np.clip(0.5 + 0.35 * (np.cos(texture.angle) * x + np.sin(texture.angle) * y), 0, 1)
    if kind in ("gradient", "noise"):
        return slope
    if kind == "checks":
        return 0.6 * slope + 0.4 * textures.pattern(texture._replace(kind="checks"), x, y, density)
    if kind == "room":
        floor = soften(y - generator.uniform(0.35, 0.7), density)
        boards = texture._replace(kind="stripes", angle=float(generator.normal(0, 0.05)))
        tiles = texture._replace(kind="checks", angle=0.0, period=0.4)
        wall = 0.1 + 0.3 * textures.pattern(boards, x, y, density)
        return wall * (1 - floor) + floor * (0.6 + 0.4 * textures.pattern(tiles, x / (0.4 + np.abs(y)), y * 2, density))
    weight = slope
    if kind == "blobs":
        for _ in range(12):
            center, radius = generator.uniform(-1.4, 1.4, 2), generator.uniform(0.1, 0.45)
            blob = soften(radius - np.hypot(x - center[0], y - center[1]), density)
            weight = weight * (1 - 0.5 * blob) + generator.random() * 0.5 * blob
    elif kind == "hills":
        for i in range(4):
            height, width, start = generator.uniform((0.08, 1.5, 0.0), (0.2, 4.0, 6.0))
            hill = soften(y + 0.3 - 0.35 * i - height * np.sin(width * x + start), density)
            weight = weight * (1 - hill) + (0.25 + 0.25 * i) * hill
    else:
        raise ValueError(f"background must be one of {', '.join(identity.BACKGROUNDS)}; got {kind!r}.")
    return weight


def _lay_leaves(
    generator: np.random.Generator,
    first: np.ndarray,
    second: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    density: float,
) -> np.ndarray:
    """Draws overlapping discs; the number of radius r falls as 1/r^3, so that all scales look alike."""
    wide, tall = x.shape[1] / density, x.shape[0] / density
    image = np.full((*x.shape, 3), 0.5 * (first + second) * 255).astype(np.uint8)
    spread = generator.random(_LEAVES)
    radii = (_MIN_LEAF**-2 + spread * (_MAX_LEAF**-2 - _MIN_LEAF**-2)) ** -0.5
    for radius in radii:
        center = generator.uniform((0, 0), (wide, tall))
        color = first + (second - first) * generator.random() + generator.normal(0, 0.07) + generator.normal(0, 0.03, 3)
        place = tuple(round(16 * density * c) for c in center)
        shade = np.clip(255 * color, 0, 255).tolist()
        cv2.circle(image, place, round(16 * density * radius), shade, cv2.FILLED, cv2.LINE_AA, 4)
    return image.astype(np.float32) / 255

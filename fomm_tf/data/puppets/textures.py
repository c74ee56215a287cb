"""Textures of clothes, and backgrounds that are larger than the frame, so that they can pan and zoom.

Every background has structure everywhere, and no edge as sharp as a figure's outline. Two have the spectrum of
photographs, whose power falls with frequency as 1/f^2 to 1/f^3: `photograph` is noise with octaves of equal strength;
`leaves` are overlapping discs of all sizes, the "dead leaves" model of Lee, Mumford and Huang (2001).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from fomm_tf.opencv import cv2

Color = tuple[float, float, float]  # RGB in [0, 1]

TEXTURES = ("plain", "stripes", "dots", "checks", "noise", "photograph")
BACKGROUNDS = ("gradient", "blobs", "room", "checks", "noise", "hills", "leaves", "photograph")

# Side of a background relative to the frame's: enough for a pan of 0.2.
_MARGIN = 1.22
_LEAVES, _MIN_LEAF, _MAX_LEAF = 500, 0.06, 0.6


class Texture(NamedTuple):
    """A pattern of two colors."""

    kind: str  # one of `TEXTURES`
    first: Color  # of the ground
    second: Color  # of the pattern
    period: float  # distance between stripes or dots
    angle: float
    seed: int  # of the noise


def paint(texture: Texture, x: np.ndarray, y: np.ndarray, density: float) -> np.ndarray:
    """The colors of a texture, `[H, W, 3]` float32 in [0, 1], at positions `[H, W]` in figure units.

    `density` is pixels per unit; edges are one pixel wide.
    """
    first, second = np.float32(texture.first), np.float32(texture.second)
    return first + (second - first) * _pattern(texture, x, y, density)[..., None]


def _pattern(texture: Texture, x: np.ndarray, y: np.ndarray, density: float) -> np.ndarray:
    """Weight of a texture's second color, `[H, W]` float32 in [0, 1]; arguments as for `paint`."""
    kind, period, seed = texture.kind, texture.period, texture.seed
    if kind == "plain":
        return np.zeros(x.shape, np.float32)
    if kind == "photograph":
        return np.clip(0.5 + 1.6 * _fractal(seed, x / period / 2, y / period / 2, octaves=5, fall=1.0), 0, 1)
    if kind == "noise":
        return _soften(_noise(seed, x / period, y / period) - 0.5, density * period / 3)
    cos, sin = np.cos(texture.angle), np.sin(texture.angle)
    u, v = (cos * x + sin * y) / period, (cos * y - sin * x) / period
    sharpness = density * period
    if kind == "stripes":
        return _soften(np.abs(u - np.round(u)) - 0.25, sharpness)
    if kind == "dots":
        return _soften(0.3 - np.hypot(u - np.round(u), v - np.round(v)), sharpness)
    along, across = np.abs(u - np.round(u)) - 0.25, np.abs(v - np.round(v)) - 0.25  # checks
    return 0.5 * _soften(along, sharpness) + 0.5 * _soften(across, sharpness)


def _soften(distance: np.ndarray, density: float) -> np.ndarray:
    """A step from 0 to 1 where a signed distance is zero, one pixel of `density` wide."""
    return np.clip(0.5 + distance * density, 0, 1).astype(np.float32)


def _noise(seed: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Smooth noise in [0, 1] with features of about one unit and a period of 64."""
    lattice = np.random.default_rng(seed).random((64, 64), np.float32)
    lattice = np.pad(lattice, ((0, 1), (0, 1)), mode="wrap")
    column, row = np.mod(x, 64).astype(np.float32), np.mod(y, 64).astype(np.float32)
    left, top = np.minimum(column.astype(int), 63), np.minimum(row.astype(int), 63)
    along, down = column - left, row - top
    along, down = along * along * (3 - 2 * along), down * down * (3 - 2 * down)
    upper = lattice[top, left] * (1 - along) + lattice[top, left + 1] * along
    lower = lattice[top + 1, left] * (1 - along) + lattice[top + 1, left + 1] * along
    return upper * (1 - down) + lower * down


def _fractal(seed: int, x: np.ndarray, y: np.ndarray, octaves: int, fall: float) -> np.ndarray:
    """Fractal noise, about -0.5 to 0.5, whose coarsest features are of about one unit.

    Each octave has half the feature size of the previous one and `fall` times its strength. With octaves of equal
    strength the power falls with frequency as 1/f^2, as in photographs (Field, 1987); with 0.5 as 1/f^4, as in clouds.
    """
    strengths = fall ** np.arange(octaves, dtype=np.float32)
    layers = (strength * _noise(seed + i, 2**i * x + 9, 2**i * y + 9) for i, strength in enumerate(strengths))
    return sum(layers) / strengths.sum() - 0.5


def pixel_grid(left: float, top: float, width: int, height: int, density: float) -> tuple[np.ndarray, np.ndarray]:
    """x and y of pixels from (left, top) on, `[height, width]` float32 each; `density` is pixels per figure unit."""
    x = np.float32(left) + np.arange(width, dtype=np.float32) / np.float32(density)
    y = np.float32(top) + np.arange(height, dtype=np.float32) / np.float32(density)
    return np.broadcast_to(x, (height, width)), np.broadcast_to(y[:, None], (height, width))


@functools.lru_cache(maxsize=4)
def draw_background(
    kind: str, texture: Texture, aspect: tuple[float, float], density: float
) -> tuple[np.ndarray, float, float]:
    """Draws a background.

    Args:
      kind: one of `BACKGROUNDS`.
      texture: its colors, period, angle and seed.
      aspect: the frame's half width and half height, in figure units.
      density: pixels per unit.

    Returns:
      `[H, W, 4]` float32 RGB and coverage, and x and y of its first pixel in figure units.
    """
    left, top = -_MARGIN * aspect[0], -_MARGIN * aspect[1]
    width, height = (int(np.ceil(-2 * start * density)) for start in (left, top))
    x, y = pixel_grid(left, top, width, height, density)
    color = _paint_background(kind, texture, x, y, density)
    vignette = 1.05 - 0.1 * (x * x + y * y)[..., None]
    color = cv2.GaussianBlur(np.clip(color * vignette, 0, 1).astype(np.float32), (3, 3), 0)
    return np.concatenate([color, np.ones((height, width, 1), np.float32)], axis=-1), left, top


def _paint_background(kind: str, texture: Texture, x: np.ndarray, y: np.ndarray, density: float) -> np.ndarray:
    generator = np.random.default_rng(texture.seed)
    first, second = np.float32(texture.first), np.float32(texture.second)
    grain = _fractal(texture.seed, 2.5 * x, 2.5 * y, octaves=3, fall=0.5)[..., None]
    if kind == "leaves":
        return _lay_leaves(generator, first, second, x.shape, density) + 0.1 * grain
    if kind == "photograph":
        # Photographs vary in brightness more than in color.
        light = _fractal(texture.seed + 20, x + 3, y + 3, octaves=5, fall=1.0)[..., None]
        hue = [_fractal(texture.seed + 10 * i, x, y, octaves=4, fall=1.0) for i in (4, 5, 6)]
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
        return 0.6 * slope + 0.4 * _pattern(texture._replace(kind="checks"), x, y, density)
    if kind == "room":
        floor = _soften(y - generator.uniform(0.35, 0.7), density)
        boards = texture._replace(kind="stripes", angle=float(generator.normal(0, 0.05)))
        tiles = texture._replace(kind="checks", angle=0.0, period=0.4)
        wall = 0.1 + 0.3 * _pattern(boards, x, y, density)
        return wall * (1 - floor) + floor * (0.6 + 0.4 * _pattern(tiles, x / (0.4 + np.abs(y)), y * 2, density))
    weight = slope
    if kind == "blobs":
        for _ in range(12):
            center, radius = generator.uniform(-1.4, 1.4, 2), generator.uniform(0.1, 0.45)
            blob = _soften(radius - np.hypot(x - center[0], y - center[1]), density)
            weight = weight * (1 - 0.5 * blob) + generator.random() * 0.5 * blob
        return weight
    for i in range(4):  # hills
        height, width, start = generator.uniform((0.08, 1.5, 0.0), (0.2, 4.0, 6.0))
        hill = _soften(y + 0.3 - 0.35 * i - height * np.sin(width * x + start), density)
        weight = weight * (1 - hill) + (0.25 + 0.25 * i) * hill
    return weight


def _lay_leaves(
    generator: np.random.Generator, first: np.ndarray, second: np.ndarray, size: tuple[int, int], density: float
) -> np.ndarray:
    """Draws overlapping discs; the number of radius r falls as 1/r^3, so that all scales are similar."""
    image = np.full((*size, 3), 0.5 * (first + second) * 255).astype(np.uint8)
    radii = (_MIN_LEAF**-2 + generator.random(_LEAVES) * (_MAX_LEAF**-2 - _MIN_LEAF**-2)) ** -0.5
    for radius in radii:
        center = generator.uniform((0, 0), (size[1] / density, size[0] / density))
        color = first + (second - first) * generator.random() + generator.normal(0, 0.07) + generator.normal(0, 0.03, 3)
        place = tuple(round(16 * density * c) for c in center)
        shade = np.clip(255 * color, 0, 255).tolist()
        cv2.circle(image, place, round(16 * density * radius), shade, cv2.FILLED, cv2.LINE_AA, 4)
    return image.astype(np.float32) / 255

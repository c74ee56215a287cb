"""Patterns of clothes and backgrounds, evaluated at given places."""

from __future__ import annotations

import numpy as np

from fomm_tf.data.puppets.identity import Texture
from fomm_tf.opencv import cv2


def paint(texture: Texture, x: np.ndarray, y: np.ndarray, density: float) -> np.ndarray:
    """The colours of a texture.

    Args:
      texture: see `Texture`.
      x: `[H, W]` places in figure units.
      y: `[H, W]`.
      density: pixels a unit; edges are one pixel soft.

    Returns:
      `[H, W, 3]` float32 in [0, 1].
    """
    first, second = np.float32(texture.first), np.float32(texture.second)
    share = _share(texture, x, y, density)[..., None]
    return first + (second - first) * share


def _share(texture: Texture, x: np.ndarray, y: np.ndarray, density: float) -> np.ndarray:
    if texture.kind == "plain":
        return np.zeros(x.shape, np.float32)
    if texture.kind == "noise":
        return _soft(noise(texture.seed, x / texture.period, y / texture.period) - 0.5, density * texture.period / 3)
    cos, sin = np.cos(texture.angle), np.sin(texture.angle)
    u, v = (cos * x + sin * y) / texture.period, (cos * y - sin * x) / texture.period
    sharpness = density * texture.period
    if texture.kind == "stripes":
        return _soft(np.abs(u - np.round(u)) - 0.25, sharpness)
    if texture.kind == "dots":
        return _soft(0.3 - np.hypot(u - np.round(u), v - np.round(v)), sharpness)
    if texture.kind == "checks":
        along, across = np.abs(u - np.round(u)) - 0.25, np.abs(v - np.round(v)) - 0.25
        return 0.5 * _soft(along, sharpness) + 0.5 * _soft(across, sharpness)
    raise ValueError(f"texture {texture.kind!r} is unknown.")


def _soft(distance: np.ndarray, density: float) -> np.ndarray:
    return np.clip(0.5 + distance * density, 0, 1).astype(np.float32)


def noise(seed: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Smooth noise in [0, 1] with features of about one unit; it repeats after 64.

    Args:
      seed: another one is another noise.
      x: `[H, W]`.
      y: `[H, W]`.
    """
    lattice = np.random.default_rng(seed).random((64, 64), np.float32)
    lattice = np.pad(lattice, ((0, 1), (0, 1)), mode="wrap")
    column, row = np.mod(x, 64).astype(np.float32), np.mod(y, 64).astype(np.float32)
    left, top = np.minimum(column.astype(int), 63), np.minimum(row.astype(int), 63)
    along, down = column - left, row - top
    along, down = along * along * (3 - 2 * along), down * down * (3 - 2 * down)
    upper = lattice[top, left] * (1 - along) + lattice[top, left + 1] * along
    lower = lattice[top + 1, left] * (1 - along) + lattice[top + 1, left + 1] * along
    return upper * (1 - down) + lower * down


def paint_background(kind: str, texture: Texture, height: int, width: int) -> np.ndarray:
    """A background, still and with structure everywhere, so that what appears from behind a figure can be judged.

    Args:
      kind: one of `identity.BACKGROUNDS`.
      texture: its colours, period, angle and seed.
      height: rows.
      width: columns.

    Returns:
      `[height, width, 3]` float32 in [0, 1].
    """
    unit = min(height, width) / 2
    x = np.broadcast_to((np.arange(width, dtype=np.float32) + 0.5 - width / 2) / unit, (height, width))
    y = np.broadcast_to(((np.arange(height, dtype=np.float32) + 0.5 - height / 2) / unit)[:, None], (height, width))
    generator = np.random.default_rng(texture.seed)
    first, second = np.float32(texture.first), np.float32(texture.second)
    slope = 0.5 + 0.35 * (np.cos(texture.angle) * x + np.sin(texture.angle) * y)
    share = np.clip(slope, 0, 1) * 0.6
    if kind == "blobs":
        for _ in range(9):
            centre, radius = generator.uniform(-1.2, 1.2, 2), generator.uniform(0.1, 0.45)
            blob = _soft(radius - np.hypot(x - centre[0], y - centre[1]), unit)
            share = share * (1 - 0.5 * blob) + generator.random() * 0.5 * blob
    elif kind == "room":
        floor = _soft(y - generator.uniform(0.35, 0.7), unit)
        boards = _share(texture._replace(kind="stripes", angle=float(generator.normal(0, 0.05))), x, y, unit)
        tiles = _share(texture._replace(kind="checks", angle=0.0, period=0.4), x / (0.4 + np.abs(y)), y * 2, unit)
        share = (0.1 + 0.3 * boards) * (1 - floor) + (0.6 + 0.4 * tiles) * floor
    elif kind == "checks":
        share = 0.6 * share + 0.4 * _share(texture._replace(kind="checks"), x, y, unit)
    elif kind == "hills":
        for i in range(4):
            ridge = (
                -0.3
                + 0.35 * i
                + generator.uniform(0.08, 0.2) * np.sin(x * generator.uniform(1.5, 4) + generator.uniform(0, 6))
            )
            hill = _soft(y - ridge, unit)
            share = share * (1 - hill) + (0.25 + 0.25 * i) * hill
    elif kind != "gradient" and kind != "noise":
        raise ValueError(f"background {kind!r} is unknown.")
    strength = 0.5 if kind == "noise" else 0.15
    grain = sum(noise(texture.seed + i, x * 2.5 * 2**i + 9, y * 2.5 * 2**i + 9) / 2**i for i in range(3)) / 1.75 - 0.5
    picture = first + (second - first) * share[..., None] + strength * grain[..., None]
    vignette = 1.05 - 0.12 * (x * x + y * y)
    return cv2.GaussianBlur(np.clip(picture * vignette[..., None], 0, 1).astype(np.float32), (3, 3), 0)

"""Patterns and noise for clothes and backgrounds, evaluated at given positions."""

from __future__ import annotations

import numpy as np

from fomm_tf.data.puppets.identity import TEXTURES, Texture


def paint(texture: Texture, x: np.ndarray, y: np.ndarray, density: float) -> np.ndarray:
    """The colors of a texture.

    Args:
      texture: the texture.
      x: `[H, W]` positions in figure units.
      y: `[H, W]`.
      density: pixels per unit; edges are one pixel wide.

    Returns:
      `[H, W, 3]` float32 in [0, 1].
    """
    first, second = np.float32(texture.first), np.float32(texture.second)
    weight = pattern(texture, x, y, density)[..., None]
    return first + (second - first) * weight


def pattern(texture: Texture, x: np.ndarray, y: np.ndarray, density: float) -> np.ndarray:
    """Weight of a texture's second color, `[H, W]` float32 in [0, 1]; arguments as for `paint`."""
    if texture.kind == "plain":
        return np.zeros(x.shape, np.float32)
    if texture.kind == "photograph":
        return np.clip(
            0.5 + 1.6 * fractal(texture.seed, x / texture.period / 2, y / texture.period / 2, octaves=5, fall=1.0), 0, 1
        )
    if texture.kind == "noise":
        return soften(noise(texture.seed, x / texture.period, y / texture.period) - 0.5, density * texture.period / 3)
    cos, sin = np.cos(texture.angle), np.sin(texture.angle)
    u, v = (cos * x + sin * y) / texture.period, (cos * y - sin * x) / texture.period
    sharpness = density * texture.period
    if texture.kind == "stripes":
        return soften(np.abs(u - np.round(u)) - 0.25, sharpness)
    if texture.kind == "dots":
        return soften(0.3 - np.hypot(u - np.round(u), v - np.round(v)), sharpness)
    if texture.kind == "checks":
        along, across = np.abs(u - np.round(u)) - 0.25, np.abs(v - np.round(v)) - 0.25
        return 0.5 * soften(along, sharpness) + 0.5 * soften(across, sharpness)
    raise ValueError(f"texture must be one of {', '.join(TEXTURES)}; got {texture.kind!r}.")


def soften(distance: np.ndarray, density: float) -> np.ndarray:
    """A step from 0 to 1 where a signed distance is zero, one pixel of `density` wide."""
    return np.clip(0.5 + distance * density, 0, 1).astype(np.float32)


def noise(seed: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Smooth noise in [0, 1] with features of about one unit and a period of 64.

    Args:
      seed: of the noise.
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


def fractal(seed: int, x: np.ndarray, y: np.ndarray, octaves: int, fall: float) -> np.ndarray:
    """Fractal noise, about -0.5 to 0.5.

    With octaves of equal strength the power falls with frequency as 1/f^2, as in photographs (Field, 1987); with a
    `fall` of 0.5 as 1/f^4, as in clouds.

    Args:
      seed: of the noise.
      x: `[H, W]`; the coarsest features are of about one unit.
      y: `[H, W]`.
      octaves: number of octaves; each has half the feature size of the previous one.
      fall: strength of an octave relative to the previous one.
    """
    strengths = fall ** np.arange(octaves, dtype=np.float32)
    layers = (strength * noise(seed + i, 2**i * x + 9, 2**i * y + 9) for i, strength in enumerate(strengths))
    return sum(layers) / strengths.sum() - 0.5

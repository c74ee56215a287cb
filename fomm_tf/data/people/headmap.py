"""The cylindrical texture of the head: which texel a point of the base mesh has, and the reverse.

Textures of a head are painted in coordinates of the BASE mesh, so that brows, beards, and hairlines sit right on every
shape. Columns are angles about a vertical axis through the head (0 is the face's middle, positive the person's left,
the seam is at the back); rows go from the crown down to the collarbones.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from fomm_tf.data.people import assets, rays

TOP, BOTTOM = 8.6, 5.0
AXIS_Z = 0.35
_ASPECT = 0.55


class HeadMap(NamedTuple):
    """Positions on the base mesh under each texel.

    Attributes:
      points: `[h, w, 3]` float32.
      angle: `[h, w]` float32 in radians.
    """

    points: np.ndarray
    angle: np.ndarray


@functools.lru_cache(maxsize=2)
def head_map(width: int) -> HeadMap:
    """The map of a texture of `width` columns; it has 0.55 times as many rows."""
    human, height = assets.load(), round(width * _ASPECT)
    angle = ((np.arange(width) + 0.5) / width * 2 - 1) * np.pi
    y = TOP + (BOTTOM - TOP) * (np.arange(height) + 0.5) / height
    angle, y = (grid.astype(np.float32) for grid in np.meshgrid(angle, y))
    outward = np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], axis=-1)
    axis = np.stack([np.zeros_like(y), y, np.full_like(y, AXIS_Z)], axis=-1)
    body = human.triangles[human.parts == assets.Part.BODY]
    caster = rays.Caster(human.vertices, body)
    start = axis + 3 * outward
    hits = caster.intersect(start.reshape(-1, 3), -outward.reshape(-1, 3))
    radius = np.clip(3 - np.minimum(hits.distance, 3).reshape(angle.shape), 0.02, 1.6)
    return HeadMap(axis + radius[..., None] * outward, angle)


def texel(points: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Column and row, `[N]` float32 each, of points on the base mesh, `[N, 3]`; 0 is the first texel's center."""
    angle = np.arctan2(points[:, 0], points[:, 2] - AXIS_Z)
    column = (angle / np.pi + 1) / 2 * shape[1] - 0.5
    row = (points[:, 1] - TOP) / (BOTTOM - TOP) * shape[0] - 0.5
    return column.astype(np.float32), row.astype(np.float32)

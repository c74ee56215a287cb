"""Surfaces that are attached to a body: hair, caps, headscarves, glasses; each a mesh at rest with a material.

A sheet covers the head from the crown down: columns are angles about the head's vertical axis, rows go from the crown
over the skull and then hang down. Hair, caps, and scarves differ in how far each column goes and how thick it is.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

import numpy as np

from fomm_tf.data.people import assets, rays
from fomm_tf.data.people.noise import smoothstep


class Material(enum.IntEnum):
    """How a triangle is shaded; the first six are the parts of the base mesh."""

    SKIN = 0
    LEFT_EYE = 1
    RIGHT_EYE = 2
    TEETH = 3
    TONGUE = 4
    LASHES = 5
    HAIR = 6
    CLOTH = 7
    FRAME = 8


class Surface(NamedTuple):
    """A mesh at rest.

    Attributes:
      vertices: `[V, 3]` float32, decimeters.
      coordinates: `[V, 3]` float32, what its texture is made from: for a sheet (angle, share of the way down, height).
      triangles: `[T, 3]` int.
      material: of all its triangles.
      color: `[3]` float32, sRGB in [0, 1].
    """

    vertices: np.ndarray
    coordinates: np.ndarray
    triangles: np.ndarray
    material: Material
    color: np.ndarray


class Skull(NamedTuple):
    """Where the surface of somebody's head and shoulders is, seen from an axis through the head.

    Attributes:
      center: `[3]` middle of the head; y is about that of the ears' tops.
      crown: y of the top.
      caster: rays at the body without its ears.
      size: of the head compared with the base mesh.
    """

    center: np.ndarray
    crown: float
    caster: rays.Caster
    size: float


def measure_skull(human: assets.Human, vertices: np.ndarray) -> Skull:
    """Prepares a shape for sheets."""
    body = human.triangles[human.parts == assets.Part.BODY]
    kept = body[(human.masks["ears"][body].max(axis=1) < 0.3) & (human.masks["inside-mouth"][body].max(axis=1) < 0.5)]
    ears = (vertices[human.landmarks["left_ear"]] + vertices[human.landmarks["right_ear"]]) / 2
    crown = float(vertices[human.part_vertices(assets.Part.BODY), 1].max())
    base = human.vertices[human.landmarks["left_ear"], 1]
    size = (crown - ears[1]) / (8.49 - base)
    center = np.array([0, ears[1] + 0.05 * size, ears[2] - 0.05 * size], np.float32)
    return Skull(center, crown, rays.Caster(vertices, kept), float(size))


def polar_radius(skull: Skull, angle: np.ndarray, polar: np.ndarray) -> np.ndarray:
    """Distance of the skin from the head's middle along directions; gaps (the ears) are filled from their neighbors.

    Args:
      skull: of somebody.
      angle: `[C, R]`, 0 to the front.
      polar: `[C, R]`, 0 straight up, pi / 2 level.
    """
    outward = np.stack([np.sin(polar) * np.sin(angle), np.cos(polar), np.sin(polar) * np.cos(angle)], axis=-1).astype(
        np.float32
    )
    hits = skull.caster.intersect((skull.center + 3 * outward).reshape(-1, 3), -outward.reshape(-1, 3))
    radius = (3 - hits.distance).reshape(angle.shape)
    return _fill(np.where((radius > 0.5) & (radius < 1.9), radius, np.nan))


def level_radius(skull: Skull, angle: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance of the neck's and shoulders' skin from the vertical axis at heights, `[C, R]`; at most 1.6."""
    outward = np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], axis=-1).astype(np.float32)
    axis = np.stack([np.zeros_like(y), y, np.full_like(y, skull.center[2] - 0.15)], axis=-1).astype(np.float32)
    hits = skull.caster.intersect((axis + 1.6 * outward).reshape(-1, 3), -outward.reshape(-1, 3))
    return np.clip(1.6 - np.minimum(hits.distance, 1.6), 0.0, 1.6).reshape(angle.shape)


def _fill(radius: np.ndarray) -> np.ndarray:
    columns = np.arange(len(radius))
    for row in range(radius.shape[1]):
        values = radius[:, row]
        good = np.isfinite(values)
        radius[:, row] = np.interp(columns, columns[good], values[good], period=len(radius)) if good.any() else 0.9
    return radius


def sheet(
    skull: Skull,
    end: np.ndarray,
    thickness: np.ndarray,
    material: Material,
    color: np.ndarray,
    *,
    rows: int = 22,
    opening: np.ndarray | None = None,
    hang_in: float = 0.0,
    wave: tuple[float, float] = (0.0, 0.0),
) -> Surface:
    """A sheet over the head.

    Args:
      skull: whose.
      end: `[C]` y at which each column ends, relative to the head's middle in units of the base mesh's head.
      thickness: `[C, rows]` distance above the skin.
      material: of the sheet.
      color: sRGB.
      rows: points of each column.
      opening: `[C, rows]` change of the angle of each point, radians; default none.
      hang_in: how much a hanging part goes inward, decimeters a decimeter.
      wave: amplitude and frequency of waves of what hangs.

    Returns:
      The surface; coordinates are (angle, share of the way down, y).
    """
    columns = len(end)
    angle = (np.arange(columns) / columns * 2 - 1) * np.pi
    share = np.linspace(0, 1, rows)
    angle, share = np.meshgrid(angle, share, indexing="ij")
    turned = angle + (0 if opening is None else opening)
    # How far along: over the skull to the level of the head's middle, then straight down.
    over = np.pi / 2
    end = end[:, None] * np.ones_like(share)
    polar_end = np.where(end > 0, np.arccos(np.clip(end / 1.12, -1, 1)), over)
    fall = np.clip(-end, 0, None)
    length = polar_end + fall
    way = share * length
    polar = np.clip(np.minimum(way, polar_end), 0.02, None)
    radius = polar_radius(skull, turned, polar) + thickness * skull.size
    across, y = radius * np.sin(polar), skull.center[1] + radius * np.cos(polar)
    down = np.clip(way - polar_end, 0, None) * skull.size
    y = y - down
    across = across * (1 - np.clip(hang_in * down, 0, 0.75))
    across = across + wave[0] * smoothstep(down, 0.1, 0.6) * np.sin(wave[1] * down + 3 * np.sin(5 * angle))
    skin = level_radius(skull, turned, y) + (0.05 + 0.3 * thickness) * skull.size
    across = np.where(down > 0, np.maximum(across, np.minimum(skin, 1.45)), across)
    vertices = np.stack([across * np.sin(turned), y, skull.center[2] + across * np.cos(turned)], axis=-1).astype(
        np.float32
    )
    coordinates = np.stack([angle, share, y - skull.center[1]], axis=-1).astype(np.float32)
    return Surface(
        vertices.reshape(-1, 3), coordinates.reshape(-1, 3), grid_triangles(columns, rows, True), material,
        np.asarray(color, np.float32),
    )  # fmt: skip


def tube(path: np.ndarray, radius: float, material: Material, color: np.ndarray, closed: bool) -> Surface:
    """A thin tube along a path, `[N, 3]`; closed paths end where they start."""
    count, sides = len(path), 5
    ahead = np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0)
    if not closed:
        ahead[0], ahead[-1] = path[1] - path[0], path[-1] - path[-2]
    ahead = ahead / (np.linalg.norm(ahead, axis=1, keepdims=True) + 1e-9)
    side = np.cross(ahead, [0.3, 0.2, 1.0])
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    up = np.cross(side, ahead)
    turn = np.arange(sides) / sides * 2 * np.pi
    ring = np.cos(turn)[:, None] * side[:, None] + np.sin(turn)[:, None] * up[:, None]
    vertices = (path[:, None] + radius * ring).reshape(-1, 3).astype(np.float32)
    triangles = grid_triangles(count, sides, closed, rows_closed=True)
    return Surface(vertices, vertices.copy(), triangles, material, np.asarray(color, np.float32))


def grid_triangles(columns: int, rows: int, closed: bool, rows_closed: bool = False) -> np.ndarray:
    """Triangles of a grid of `columns` times `rows` vertices; sides may be joined."""
    i, j = np.meshgrid(
        np.arange(columns if closed else columns - 1), np.arange(rows if rows_closed else rows - 1), indexing="ij"
    )
    right, below = (i + 1) % columns, (j + 1) % rows
    a, b, c, d = i * rows + j, right * rows + j, right * rows + below, i * rows + below
    quads = np.stack([a, d, c, b], axis=-1).reshape(-1, 4)
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])

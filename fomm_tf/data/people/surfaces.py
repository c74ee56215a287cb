"""What covers a body: meshes attached to it (hair, caps, headscarves, glasses), and clothes.

Clothes are the part of the body's own mesh below a collar line, with patterns, jackets, and ties.

A sheet covers the head from the crown down: columns are angles about the head's vertical axis, rows go from the crown
over the skull and then hang down. Hair, caps, and scarves differ in how far each column goes and how thick it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fomm_tf.data.people import body, geometry
from fomm_tf.data.people.body import Material
from fomm_tf.data.people.geometry import smoothstep

# Half the width of the neck where it meets the shoulders, decimeters.
_NECK_WIDTH = 0.72
_COLLARS = {  # height of the collar in front and behind, and the power of its curve in front: 1 is a V, 4 is square
    "crew": (5.3, 5.75, 2.2),
    "wide": (4.95, 5.65, 3.5),
    "v": (4.6, 5.75, 1.1),
    "high": (6.0, 6.02, 2.0),
    "shirt": (5.05, 5.95, 0.9),
    "suit": (5.5, 5.95, 1.5),
}


class Surface(NamedTuple):
    """A mesh at rest."""

    vertices: np.ndarray  # `[V, 3]` float32, decimeters
    coordinates: np.ndarray  # `[V, 3]` float32, of its texture: for a sheet (angle, fraction of the way down, height)
    triangles: np.ndarray  # `[T, 3]` int
    material: Material  # of all its triangles
    color: np.ndarray  # `[3]` float32, sRGB in [0, 1]


class Skull(NamedTuple):
    """The surface of a head and shoulders, seen from an axis through the head."""

    center: np.ndarray  # `[3]` middle of the head; y is about that of the ears' tops
    crown: float  # y of the top
    caster: geometry.Caster  # rays at the body without its ears
    size: float  # of the head compared with the base mesh


def measure_skull(human: body.Human, vertices: np.ndarray) -> Skull:
    """Prepares a shape for sheets."""
    skin = human.triangles[human.parts == Material.SKIN]
    kept = skin[(human.masks["ears"][skin].max(axis=1) < 0.3) & (human.masks["inside-mouth"][skin].max(axis=1) < 0.5)]
    ears = (vertices[human.landmarks["left_ear"]] + vertices[human.landmarks["right_ear"]]) / 2
    crown = float(vertices[human.part_vertices(Material.SKIN), 1].max())
    base = human.vertices[human.landmarks["left_ear"], 1]
    size = (crown - ears[1]) / (8.49 - base)
    center = np.array([0, ears[1] + 0.05 * size, ears[2] - 0.05 * size], np.float32)
    return Skull(center, crown, geometry.Caster(vertices, kept), float(size))


def _polar_radius(skull: Skull, angle: np.ndarray, polar: np.ndarray) -> np.ndarray:
    """Distance of the skin from the head's middle along directions, `[C, R]`; gaps (the ears) are filled.

    `angle` is 0 to the front, `polar` 0 straight up and pi / 2 level.
    """
    outward = np.stack([np.sin(polar) * np.sin(angle), np.cos(polar), np.sin(polar) * np.cos(angle)], axis=-1)
    outward = outward.astype(np.float32)
    hits = skull.caster.intersect((skull.center + 3 * outward).reshape(-1, 3), -outward.reshape(-1, 3))
    radius = (3 - hits.distance).reshape(angle.shape)
    return _fill(np.where((radius > 0.5) & (radius < 1.9), radius, np.nan))


def _level_radius(skull: Skull, angle: np.ndarray, y: np.ndarray) -> np.ndarray:
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
      skull: the head.
      end: `[C]` y at which each column ends, relative to the head's middle in units of the base mesh's head.
      thickness: `[C, rows]` distance above the skin.
      material: of the sheet.
      color: sRGB.
      rows: points of each column.
      opening: `[C, rows]` change of the angle of each point, radians; None for no change.
      hang_in: how far a hanging part goes inward, decimeters per decimeter.
      wave: amplitude and frequency of waves of the hanging part.

    Returns:
      The surface; coordinates are (angle, share of the way down, y).
    """
    columns = len(end)
    angle = (np.arange(columns) / columns * 2 - 1) * np.pi
    angle, share = np.meshgrid(angle, np.linspace(0, 1, rows), indexing="ij")
    turned = angle + (0 if opening is None else opening)
    # How far along: over the skull to the level of the head's middle, then straight down.
    end = end[:, None] * np.ones_like(share)
    polar_end = np.where(end > 0, np.arccos(np.clip(end / 1.12, -1, 1)), np.pi / 2)
    way = share * (polar_end + np.clip(-end, 0, None))
    polar = np.clip(np.minimum(way, polar_end), 0.02, None)
    radius = _polar_radius(skull, turned, polar) + thickness * skull.size
    across, y = radius * np.sin(polar), skull.center[1] + radius * np.cos(polar)
    down = np.clip(way - polar_end, 0, None) * skull.size
    y, across = y - down, across * (1 - np.clip(hang_in * down, 0, 0.75))
    across = across + wave[0] * smoothstep(down, 0.1, 0.6) * np.sin(wave[1] * down + 3 * np.sin(5 * angle))
    skin = _level_radius(skull, turned, y) + (0.05 + 0.3 * thickness) * skull.size
    across = np.where(down > 0, np.maximum(across, np.minimum(skin, 1.45)), across)
    vertices = np.stack([across * np.sin(turned), y, skull.center[2] + across * np.cos(turned)], axis=-1)
    coordinates = np.stack([angle, share, y - skull.center[1]], axis=-1)
    vertices, coordinates = (np.float32(array).reshape(-1, 3) for array in (vertices, coordinates))
    return Surface(vertices, coordinates, grid_triangles(columns, rows, True), material, np.float32(color))


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


class Clothes(NamedTuple):
    """Clothes of a person."""

    kind: str  # of the collar
    collar: tuple[float, float, float]  # front height, back height, power of the curve between them; on the base mesh
    colors: np.ndarray  # `[4, 3]` float32 sRGB: main, second, shirt, tie
    pattern: np.ndarray  # `[3]` radians per decimeter of stripes along x, y, z; zero for plain
    checked: bool  # whether stripes cross
    puff: float  # distance of the cloth from the skin, decimeters
    bare_legs: float  # height below which legs are bare, on the base mesh
    bare_arms: float  # |x| beyond which arms are bare, on the base mesh
    grain: np.ndarray  # `[5, 3]` directions of fine folds


def sample_clothes(random: np.random.Generator, color: np.ndarray | None = None) -> Clothes:
    """Samples clothes; `color` sets the main color (a headscarf's) and closes the collar."""
    kind = str(random.choice(list(_COLLARS), p=[0.32, 0.1, 0.14, 0.1, 0.16, 0.18]))
    colors = random.random((4, 3))
    gray = colors.mean(axis=1, keepdims=True)
    colors = gray + (colors - gray) * random.uniform(0.1, 1, (4, 1))
    colors = colors * random.choice([0.25, 0.6, 1.1], p=[0.4, 0.4, 0.2])
    colors[2] = random.uniform(0.55, 0.95) + random.normal(0, 0.04, 3)
    if color is not None:
        kind, colors[0] = "high", color
    collar = np.array(_COLLARS[kind]) + random.normal(0, [0.08, 0.05, 0.1])
    pattern = np.zeros(3)
    if random.random() < 0.35:
        pattern = random.normal(0, [6, 6, 0]) * random.choice([[1, 0, 0], [0, 1, 0], [1, 1, 0]])
    return Clothes(
        kind, tuple(collar.tolist()), np.clip(colors, 0.02, 0.95).astype(np.float32), pattern.astype(np.float32),
        bool(random.random() < 0.4), float(random.uniform(0.03, 0.13)), float(random.choice([-9, -9, -7.2, -3.5])),
        float(random.choice([9, 4.2, 2.6, 2.2])), random.normal(0, 3.5, (5, 3)).astype(np.float32),
    )  # fmt: skip


def cloth_depth(clothes: Clothes, points: np.ndarray) -> np.ndarray:
    """Distance of points of the body below the collar's line, `[N]` decimeters; negative where skin is bare.

    Args:
      clothes: the clothes.
      points: `[N, 3]` on the base mesh.
    """
    front, back, power = clothes.collar
    x, y, z = points.T
    rise = np.clip(np.abs(x) / _NECK_WIDTH, 0, 1) ** power
    line = front + (max(back, front) - front) * rise
    line = back + (line - back) * smoothstep(z, -0.1, 0.3)
    # The shoulders at the sides of the neck are covered.
    line = line + np.clip(5.95 - line, 0, None) * smoothstep(np.abs(x), _NECK_WIDTH, 1.3 * _NECK_WIDTH)
    bare = (np.abs(x) > clothes.bare_arms) | (y < clothes.bare_legs)
    return np.where(bare, -1, line - y)


def cloth_coverage(clothes: Clothes, points: np.ndarray) -> np.ndarray:
    """Coverage of points of the body by cloth, `[N]` in [0, 1]; `points` are on the base mesh, `[N, 3]`."""
    return smoothstep(cloth_depth(clothes, points), -0.012, 0.012)


def cloth_color(clothes: Clothes, points: np.ndarray) -> np.ndarray:
    """sRGB of the cloth at points on the base mesh, `[N, 3]` float32."""
    x, y, z = points.T
    result = np.broadcast_to(clothes.colors[0], points.shape).copy()
    if clothes.pattern.any():
        stripes = np.sin(points @ clothes.pattern) > 0.35
        if clothes.checked:
            stripes = stripes ^ (np.sin(points[:, [1, 0, 2]] @ clothes.pattern) > 0.35)
        result[stripes] = clothes.colors[1]
    if clothes.kind in ("shirt", "suit"):
        front = z > 0.2
        if clothes.kind == "suit":
            opening = 0.05 + 0.3 * np.clip(y - 3.2, 0, 2.4)
            shirt = front & (np.abs(x) < opening)
            result[shirt | ((y > 5.55) & (np.abs(x) < 0.7))] = clothes.colors[2]
            tie = front & (np.abs(x) < 0.09 + 0.07 * np.clip(5.2 - y, 0, 1.5)) & (y < 5.4)
            result[tie & shirt] = clothes.colors[3]
            lapel = front & (np.abs(np.abs(x) - opening - 0.1) < 0.1) & (y < 5.2)
            result[lapel] *= 0.75
        else:
            result[front & (np.abs(x) < 0.015)] *= 0.6
            result[(y > 5.45) & (np.abs(np.abs(x) - 0.3) < 0.02)] *= 0.7
    result[y < 0.9] = clothes.colors[1] * 0.6  # the belt
    folds = np.sin(points @ clothes.grain.T).sum(axis=1) / np.sqrt(2.5)
    return result * (1 + 0.06 * folds)[:, None].astype(np.float32)

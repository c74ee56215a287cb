"""Hair and head coverings: shaved, short, fringes, bobs, long, curly, caps, beanies, headscarves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fomm_tf.data.people import body, surfaces
from fomm_tf.data.people.body import Material
from fomm_tf.data.people.geometry import smoothstep
from fomm_tf.data.people.surfaces import Skull, Surface

_COLORS = np.array(
    [[24, 20, 20], [38, 28, 24], [62, 42, 30], [96, 66, 42], [140, 100, 62], [190, 150, 98], [222, 190, 140],
     [128, 58, 30], [160, 78, 40]], np.float32,
)  # fmt: skip
_COLUMNS, _ROWS = 160, 18
# A scarf's triangles with longer edges are left out, decimeters.
_TORN = 0.35
# Angles and heights (from the head's middle) of a hairline: front, temple, sideburn, above the ear, behind, nape.
_ANGLES = np.radians([0, 26, 46, 66, 82, 100, 118, 140, 180])
_LINE = np.array([0.64, 0.62, 0.46, 0.12, 0.2, 0.22, -0.28, -0.62, -0.68])
_KINDS = ("bald", "shaved", "short", "side", "fringe", "curly", "bob", "long", "tied")
_SHARES_MALE = (0.12, 0.16, 0.26, 0.2, 0.1, 0.09, 0.03, 0.03, 0.01)
_SHARES_FEMALE = (0.01, 0.02, 0.07, 0.1, 0.14, 0.11, 0.18, 0.26, 0.11)


class Hair(NamedTuple):
    """Hair or a head covering."""

    kind: str  # of hair; `cap`, `beanie`, or `scarf` where that covers it
    color: np.ndarray  # `[3]` float32 sRGB
    line: np.ndarray  # `[2, N]` angles and heights of the hairline, for the scalp's color
    stubble: float  # how much the scalp within the hairline is colored, 0 to 1
    surfaces: tuple[Surface, ...]  # meshes


def sample_color(random: np.random.Generator, shape: body.Shape) -> np.ndarray:
    """`[3]` float32 sRGB: dark for most, gray for the old."""
    fair = float(shape.ancestry[2])
    shares = [3, 3, 2 + fair, 2 * fair + 0.3, 1.6 * fair + 0.1, 1.2 * fair, 0.7 * fair, 0.5 * fair, 0.3 * fair]
    color = _COLORS[random.choice(len(_COLORS), p=np.array(shares) / np.sum(shares))] / 255
    gray = float(smoothstep(np.array(shape.age + random.normal(0, 0.2)), 0.45, 0.95))
    color = color + gray * (random.uniform(0.55, 0.85) - color)
    if random.random() < 0.04:  # dyed
        color = random.random(3) * 0.7
    return np.clip(color * random.uniform(0.85, 1.15), 0.03, 0.92).astype(np.float32)


def sample_hair(random: np.random.Generator, shape: body.Shape, skull: Skull, color: np.ndarray) -> Hair:
    """Samples hair or a head covering that fits a head."""
    male = shape.male > 0.5
    kind = str(random.choice(_KINDS, p=_SHARES_MALE if male else _SHARES_FEMALE))
    cover = str(
        random.choice(["", "cap", "beanie", "scarf"], p=[0.9, 0.06, 0.04, 0] if male else [0.84, 0.03, 0.03, 0.1])
    )
    line = _LINE.copy()
    line[0] += random.normal(0, 0.05)
    line[1:3] += random.normal(0, 0.05) + (random.random() < 0.4 * male) * shape.age * random.uniform(0, 0.4)
    line[4:6] += random.normal(0, 0.03)
    angles = np.abs((np.arange(_COLUMNS) / _COLUMNS * 2 - 1) * np.pi)
    hairline = np.interp(angles, _ANGLES, line)
    if cover == "scarf":
        return Hair(cover, color, np.stack([_ANGLES, line]), 0.0, (_scarf(random, skull, angles),))
    parts: list[Surface] = []
    if kind not in ("bald", "shaved"):
        parts.append(_hair_sheet(random, skull, kind, angles, hairline, color, flat=bool(cover)))
    if kind == "tied" and not cover:
        parts.append(_bun(random, skull, color))
    if cover:
        parts.extend(_headgear(random, skull, angles, cover))
    stubble = {"bald": random.uniform(0, 0.25), "shaved": random.uniform(0.5, 0.95)}.get(kind, 0.92)
    return Hair(cover or kind, color, np.stack([_ANGLES, line]), float(stubble), tuple(parts))


def _hair_sheet(random, skull, kind, angles, hairline, color, flat):
    """One sheet; each kind is a length per column and a thickness."""
    signed = (np.arange(_COLUMNS) / _COLUMNS * 2 - 1) * np.pi
    end = hairline.copy()
    top, side = random.uniform(0.05, 0.2), random.uniform(0.03, 0.1)
    hang_in, wave = 0.0, (0.0, 0.0)
    face = random.uniform(0.75, 1.05)  # angle at which hair at the side of the face starts
    if kind in ("fringe", "bob", "long") and random.random() < (1.0 if kind == "fringe" else 0.35):
        low = random.uniform(0.3, 0.52) + 0.12 * np.sin(signed * random.uniform(1, 3) + random.uniform(0, 6))
        end = np.where(angles < 0.72, np.minimum(end, low), end)
    if kind in ("bob", "long"):
        length = random.uniform(0.7, 1.35) if kind == "bob" else random.uniform(1.5, 2.9)
        end = end + smoothstep(angles, face - 0.3, face) * (-length - end)
        top, side = random.uniform(0.08, 0.22), random.uniform(0.1, 0.25)
        hang_in = random.uniform(-0.1, 0.18)
        wave = random.uniform(0, 0.06) * (random.random() < 0.5), random.uniform(5, 12)
    if kind == "side":
        top = random.uniform(0.12, 0.34)
        end = end - 0.15 * smoothstep(signed * random.choice([-1, 1]), -0.4, 0.6) * (angles < 0.7)
    if kind == "curly":
        top, side = random.uniform(0.15, 0.6), random.uniform(0.1, 0.5)
        end = end - random.uniform(0, 0.3) * smoothstep(angles, 0.9, 1.4)
    if flat:
        top, side = 0.02, min(side, 0.06)
    tips = random.normal(0, 0.012, _COLUMNS) + 0.02 * _around(random, signed, 40)
    columns = end + tips * (1 + 1.5 * (kind in ("long", "bob", "curly")))
    share = np.linspace(0, 1, _ROWS)[None]
    lift = np.interp(np.abs(np.degrees(signed)), [0, 60, 100, 180], [1, 0.75, 0.55, 0.8])[:, None]
    thickness = (
        side
        + (top - side) * np.cos(share * np.pi / 2) ** 1.2 * np.ones_like(lift)
        + 0.5 * top * lift * (1 - share) * share
    )
    clumps = _around(random, signed, 14 if kind != "curly" else 30)[:, None]
    rough = {"curly": 0.16, "short": 0.07, "side": 0.07}.get(kind, 0.04)
    bumps = random.normal(0, 1, (_COLUMNS, _ROWS)) * (rough * 0.35 if kind in ("curly", "short") else 0.006)
    thickness = thickness * (1 + 0.3 * clumps * share) + bumps * (0.4 + share)
    taper = smoothstep(share, 1.0, 0.86) if kind not in ("long", "bob") else 0.35 + 0.65 * smoothstep(share, 1.0, 0.9)
    return surfaces.sheet(
        skull, columns, 0.012 + np.clip(thickness, 0.005, 1) * taper, Material.HAIR, color, rows=_ROWS, hang_in=hang_in,
        wave=wave,
    )  # fmt: skip


def _around(random, angle, count):
    """Periodic noise over angles with up to `count` waves around; standard deviation about 1."""
    waves = np.arange(3, count)
    phases, sizes = random.uniform(0, 2 * np.pi, len(waves)), random.normal(0, 1, len(waves))
    return (sizes * np.sin(np.outer(angle, waves) + phases)).sum(axis=1) / np.sqrt(len(waves) / 2)


def _bun(random, skull, color):
    """A ball of hair on top or at the back."""
    high = random.random() < 0.5
    where = np.array([0, 1.12 if high else 0.2, -0.25 if high else -1.25]) * skull.size + skull.center
    size = random.uniform(0.22, 0.36) * skull.size
    i, j = np.meshgrid(
        np.linspace(0, 2 * np.pi, 20, endpoint=False), np.linspace(0.05, np.pi - 0.05, 12), indexing="ij"
    )
    ball = np.stack([np.sin(j) * np.sin(i), np.cos(j), np.sin(j) * np.cos(i)], axis=-1)
    ball = ball * (1 + 0.06 * random.normal(size=i.shape))[..., None]
    coordinates = np.stack([i - np.pi, j / np.pi, j], axis=-1)
    triangles = surfaces.grid_triangles(20, 12, True)
    vertices, coordinates = (np.float32(array).reshape(-1, 3) for array in (where + size * ball, coordinates))
    return Surface(vertices, coordinates, triangles, Material.HAIR, color)


def _headgear(random, skull, angles, kind):
    """A beanie, or a cap with its brim."""
    color = _cloth_color(random)
    signed = (np.arange(_COLUMNS) / _COLUMNS * 2 - 1) * np.pi
    front = random.uniform(0.42, 0.6)
    back = random.uniform(-0.1, 0.2) if kind == "beanie" else random.uniform(0.05, 0.25)
    end = front + (back - front) * (1 - np.cos(angles)) / 2
    share = np.linspace(0, 1, _ROWS)[None]
    high = random.uniform(0.05, 0.22)
    thickness = 0.1 + high * np.cos(share * np.pi / 2) * np.ones((_COLUMNS, 1))
    if kind == "beanie":
        thickness = thickness + 0.03 * smoothstep(share, 0.74, 0.78)
    crown = surfaces.sheet(skull, end, thickness, Material.CLOTH, color, rows=_ROWS)
    if kind == "beanie":
        return [crown]
    rim = crown.vertices.reshape(_COLUMNS, _ROWS, 3)[:, -1]
    chosen = np.flatnonzero(np.abs(signed) < 1.0)
    rows = 8
    out = np.linspace(0, 1, rows)[None, :, None]
    reach = random.uniform(0.5, 0.8) * skull.size
    across = np.cos(signed[chosen] / 1.0 * np.pi / 2)[:, None, None] ** 0.5
    ahead = np.stack([0.25 * np.sin(signed[chosen]), np.full(len(chosen), -0.22), np.ones(len(chosen))], axis=-1)
    brim = rim[chosen][:, None] + out * reach * across * ahead[:, None]
    brim[..., 1] += 0.12 * (1 - np.abs(signed[chosen])[:, None] ** 2) * out[..., 0]
    brim = np.concatenate([brim, brim[:, ::-1] + np.float32([0, -0.035, 0])], axis=1).reshape(-1, 3).astype(np.float32)
    triangles = surfaces.grid_triangles(len(chosen), 2 * rows, False)
    color = color if random.random() < 0.7 else _cloth_color(random)
    return [crown, Surface(brim, brim * 0.2, triangles, Material.CLOTH, color)]


def _scarf(random, skull, angles):
    """A headscarf: closed around the face, below the chin, and down over the shoulders."""
    signed = (np.arange(_COLUMNS) / _COLUMNS * 2 - 1) * np.pi
    front = random.uniform(0.5, 0.66)
    open_angle = random.uniform(0.72, 0.9)
    end = np.where(angles < open_angle, front - 0.5 * (angles / open_angle) ** 4 * 0.4, -random.uniform(2.2, 2.8))
    rows = 30
    share = np.linspace(0, 1, rows)[None]
    folds = _around(random, signed, 9)[:, None]
    thickness = random.uniform(0.1, 0.16) * np.ones((_COLUMNS, rows)) + 0.03 * folds * smoothstep(share, 0.2, 0.7)
    # Below the chin, which is 1.1 below the head's middle, the edges at the sides of the face close in front.
    down = np.clip(share * (np.pi / 2 - end[:, None]) - np.pi / 2, 0, None)
    close = smoothstep(down, 1.05, 1.5) * (angles >= open_angle)[:, None]
    away = (angles[:, None] - open_angle) / (np.pi - open_angle)
    opening = -np.sign(signed)[:, None] * close * open_angle * (1 - np.clip(away, 0, 1))
    ears = np.exp(-(((angles - 1.6) / 0.35) ** 2))[:, None] * np.exp(-(((share - 0.36) / 0.12) ** 2))
    thickness = np.clip(thickness, 0.06, 1) + 0.16 * ears
    color, hang_in = _cloth_color(random), random.uniform(0.25, 0.45)
    scarf = surfaces.sheet(skull, end, thickness, Material.CLOTH, color, rows=rows, opening=opening, hang_in=hang_in)
    # The face is between the columns of the forehead and those at its sides.
    corners = scarf.vertices[scarf.triangles]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).max(axis=1)
    return scarf._replace(triangles=scarf.triangles[longest < _TORN * skull.size])


def _cloth_color(random):
    color = random.random(3)
    color = color + (color.mean() - color) * random.uniform(0.1, 0.9)
    return np.clip(color * random.uniform(0.15, 1.1), 0.03, 0.93).astype(np.float32)


def sample_glasses(random: np.random.Generator, human, vertices: np.ndarray, skull: Skull) -> tuple[Surface, ...]:
    """Frames around the eyes, a bridge, and temples to the ears; often none."""
    if random.random() > 0.2:
        return ()
    color = _cloth_color(random) * random.choice([0.25, 0.25, 1.0])
    thick = random.uniform(0.014, 0.032) * skull.size
    power, wide, high = random.uniform(2, 4.5), random.uniform(0.24, 0.29), random.uniform(0.16, 0.25)
    parts, nearest = [], vertices[human.landmarks["nose_bridge"]][2] + 0.06
    for side in ("left", "right"):
        sign = 1 if side == "left" else -1
        eye = vertices[human.landmarks[f"{side}_upper_lid"]]
        turn = np.arange(28) / 28 * 2 * np.pi
        ring = np.stack([np.sign(f) * np.abs(f) ** (2 / power) for f in (np.cos(turn), np.sin(turn))], axis=-1)
        path = np.zeros((28, 3))
        path[:, :2] = eye[:2] + (0.01 * sign, -0.09) + ring * (wide * skull.size, high * skull.size)
        path[:, 2] = nearest - 0.25 * (np.abs(path[:, 0]) - 0.05) ** 2
        parts.append(surfaces.tube(path, thick, Material.FRAME, color, True))
        hinge = path[np.argmax(sign * path[:, 0])] + (0, 0.05, 0)
        ear = vertices[human.landmarks[f"{side}_ear"]] + (-0.1 * sign, 0.2, 0.12)
        bend = (hinge + ear) / 2 + (0.06 * sign, 0.02, 0)
        parts.append(surfaces.tube(np.stack([hinge, bend, ear]), thick, Material.FRAME, color, False))
    inner = [part.vertices[np.argmin(np.abs(part.vertices[:, 0]))] for part in parts[::2]]
    middle = (inner[0] + inner[1]) / 2 + (0, 0.05, 0.03)
    parts.append(surfaces.tube(np.stack([inner[0], middle, inner[1]]), thick, Material.FRAME, color, False))
    return tuple(parts)

"""Clothes: a collar line on the base mesh below which the body is cloth, with patterns, jackets, and ties."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fomm_tf.data.people.noise import smoothstep

# Half the width of the neck where it meets the shoulders, decimeters.
_NECK_WIDTH = 0.72
_KINDS = {  # height of the collar in front and behind, and the power of its curve in front: 1 is a V, 4 is square
    "crew": (5.3, 5.75, 2.2),
    "wide": (4.95, 5.65, 3.5),
    "v": (4.6, 5.75, 1.1),
    "high": (6.0, 6.02, 2.0),
    "shirt": (5.05, 5.95, 0.9),
    "suit": (5.5, 5.95, 1.5),
}


class Clothes(NamedTuple):
    """What somebody wears.

    Attributes:
      kind: of the collar.
      collar: front height, back height, power of the curve between them; on the base mesh.
      colors: `[4, 3]` float32 sRGB: main, second, shirt, tie.
      pattern: `[3]` radians a decimeter of stripes along x, y, z; zero for plain.
      checked: whether stripes cross.
      puff: distance of the cloth from the skin, decimeters.
      bare_legs: height below which legs are bare, and of sleeves the |x| beyond which arms are (base mesh).
      bare_arms: |x| beyond which arms are bare.
      grain: `[5, 3]` directions of fine folds.
    """

    kind: str
    collar: tuple[float, float, float]
    colors: np.ndarray
    pattern: np.ndarray
    checked: bool
    puff: float
    bare_legs: float
    bare_arms: float
    grain: np.ndarray


def sample_clothes(random: np.random.Generator, color: np.ndarray | None = None) -> Clothes:
    """Draws clothes; `color` sets the main color (a headscarf's) and closes the collar."""
    kind = str(random.choice(list(_KINDS), p=[0.32, 0.1, 0.14, 0.1, 0.16, 0.18]))
    colors = random.random((4, 3))
    gray = colors.mean(axis=1, keepdims=True)
    colors = gray + (colors - gray) * random.uniform(0.1, 1, (4, 1))
    colors = colors * random.choice([0.25, 0.6, 1.1], p=[0.4, 0.4, 0.2])
    colors[2] = random.uniform(0.55, 0.95) + random.normal(0, 0.04, 3)
    if color is not None:
        kind, colors[0] = "high", color
    collar = np.array(_KINDS[kind]) + random.normal(0, [0.08, 0.05, 0.1])
    pattern = np.zeros(3)
    if random.random() < 0.35:
        pattern = random.normal(0, [6, 6, 0]) * random.choice([[1, 0, 0], [0, 1, 0], [1, 1, 0]])
    return Clothes(
        kind, tuple(collar.tolist()), np.clip(colors, 0.02, 0.95).astype(np.float32), pattern.astype(np.float32),
        bool(random.random() < 0.4), float(random.uniform(0.03, 0.13)), float(random.choice([-9, -9, -7.2, -3.5])),
        float(random.choice([9, 4.2, 2.6, 2.2])), random.normal(0, 3.5, (5, 3)).astype(np.float32),
    )  # fmt: skip


def depth(clothes: Clothes, points: np.ndarray) -> np.ndarray:
    """How far below the collar's line points of the body are, `[N]` decimeters; negative where skin is bare.

    Args:
      clothes: of somebody.
      points: `[N, 3]` on the base mesh.
    """
    front, back, power = clothes.collar
    x, y, z = points.T
    rise = np.clip(np.abs(x) / _NECK_WIDTH, 0, 1) ** power
    line = front + (max(back, front) - front) * rise
    line = back + (line - back) * smoothstep(z, -0.1, 0.3)
    # The shoulders beside the neck are covered.
    line = line + np.clip(5.95 - line, 0, None) * smoothstep(np.abs(x), _NECK_WIDTH, 1.3 * _NECK_WIDTH)
    bare = (np.abs(x) > clothes.bare_arms) | (y < clothes.bare_legs)
    return np.where(bare, -1, line - y)


def coverage(clothes: Clothes, points: np.ndarray) -> np.ndarray:
    """How much a point of the body is cloth, `[N]` in [0, 1]; `points` are on the base mesh, `[N, 3]`."""
    return smoothstep(depth(clothes, points), -0.012, 0.012)


def color(clothes: Clothes, points: np.ndarray) -> np.ndarray:
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
    belt = y < 0.9
    result[belt] = clothes.colors[1] * 0.6
    folds = np.sin(points @ clothes.grain.T).sum(axis=1) / np.sqrt(2.5)
    return result * (1 + 0.06 * folds)[:, None].astype(np.float32)

"""Skin of the head: tone, mottling, freckles, wrinkles, brows, beard, stubble, and make-up, as one texture.

The texture is cylindrical, and painted in coordinates of the BASE mesh, so that brows, beards, and hairlines fit every
shape. Columns are angles about a vertical axis through the head (0 is the face's middle, positive the person's left,
the seam is at the back); rows go from the crown down to the collarbones.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from fomm_tf.data.people import body, geometry
from fomm_tf.data.people.geometry import fractal, smoothstep
from fomm_tf.opencv import cv2

# sRGB of light to dark skin; tones between them are mixed.
_TONES = np.array(
    [[242, 206, 186], [232, 189, 162], [214, 166, 134], [190, 138, 104], [150, 104, 76], [112, 74, 54], [74, 48, 38]],
    np.float32,
)  # fmt: skip
# Heights of the texture's first and last row, z of its axis, and rows per column.
_TOP, _BOTTOM, _AXIS_Z, _ASPECT = 8.6, 5.0, 0.35, 0.55
_EYE_Y, _EYE_X, _MOUTH_Y, _CHIN_Y = 7.29, 0.31, 6.6, 6.18


class Skin(NamedTuple):
    """Colors of a person's skin; sRGB in [0, 1]."""

    texture: np.ndarray  # `[h, w, 4]` uint8 of `head_map`: sRGB color, and fraction of hair
    tone: np.ndarray  # `[3]` float32, of the body
    lips: np.ndarray  # `[3]` float32
    lids: np.ndarray  # `[3]` float32, color of the eyelids
    lip_strength: float  # opacity of these colors, 0 to 1
    lid_strength: float  # opacity of these colors, 0 to 1
    gloss: float  # strength of the highlights, 0 matte to 1 oily
    beard: np.ndarray  # `[h, w]` float32: length of the beard, 0 to 1, by which the shape is moved outward


def sample_skin(random: np.random.Generator, shape: body.Shape, hair_color: np.ndarray, width: int = 768) -> Skin:
    """Samples a skin that fits a shape.

    Args:
      random: generator.
      shape: of the person, for age, sex, and ancestry.
      hair_color: `[3]` sRGB of brows and beard, in [0, 1].
      width: columns of the texture.
    """
    tone = _sample_tone(random, shape.ancestry)
    head = head_map(width)
    height = head.angle.shape[0]
    x, y, z = np.moveaxis(head.points, -1, 0)
    darkness = 1 - tone.mean()
    color = np.broadcast_to(tone, (height, width, 3)).copy()
    color *= 1 + _mottle(random, height, width)
    color = _redden(random, color, x, y, z, darkness)
    color = _age(random, color, x, y, z, shape.age)
    if random.random() < 0.2:
        color = _freckle(random, color, x, y, z)
    made_up = shape.male < 0.5 and random.random() < 0.6
    if made_up:
        color = _blush(random, color, x, y, z)
    hairy = np.zeros((height, width), np.float32)
    color, hairy = _paint_brows(random, color, hairy, x, y, z, shape, hair_color)
    beard = np.zeros((height, width), np.float32)
    if shape.male > 0.5:
        color, hairy, beard = _paint_beard(random, color, hairy, x, y, z, hair_color)
    texture = np.concatenate([np.clip(color, 0, 1), hairy[..., None]], axis=-1)
    return Skin(
        (255 * texture + 0.5).astype(np.uint8), tone, *_sample_make_up(random, tone, made_up),
        float(random.beta(2, 2.5)), beard,
    )  # fmt: skip


def _sample_tone(random: np.random.Generator, ancestry: np.ndarray) -> np.ndarray:
    # Position in the list of tones: African, Asian, European.
    place = float(np.clip(ancestry @ [5.0, 1.9, 0.8] + random.normal(0, 0.75), 0, len(_TONES) - 1))
    low = min(int(place), len(_TONES) - 2)
    tone = _TONES[low] + (place - low) * (_TONES[low + 1] - _TONES[low])
    return np.float32(np.clip(tone / 255 * (1 + random.normal(0, 0.05)) + random.normal(0, 0.014, 3), 0.05, 0.97))


def _mottle(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Relative change of color, `[h, w, 3]`: blotches, and pores in brightness."""
    strength = random.uniform(0.4, 1.2)
    blotches = fractal(random, height, width, 10, 4)[..., None] * np.float32([0.006, 0.016, 0.017])
    warmth = fractal(random, height, width, 6, 3)[..., None] * np.float32([0.008, -0.002, -0.008])
    pores = fractal(random, height, width, 190, 2)[..., None] * np.float32([0.022, 0.026, 0.028])
    return strength * (blotches + warmth + pores)


def _spot(x: np.ndarray, y: np.ndarray, center: tuple[float, float], radius: tuple[float, float]) -> np.ndarray:
    """A soft ellipse on both sides of the face."""
    return np.exp(-((np.abs(x) - center[0]) ** 2) / radius[0] ** 2 - (y - center[1]) ** 2 / radius[1] ** 2)


def _redden(random, color, x, y, z, darkness):
    face = smoothstep(z, 0.7, 1.1)
    flush = random.uniform(0.3, 1.2) * (1 - 0.6 * darkness)
    red = face * (0.8 * _spot(x, y, (0.42, 6.9), (0.22, 0.2)) + 0.9 * _spot(x, y, (0, 6.92), (0.16, 0.14)))
    red += 0.5 * face * _spot(x, y, (0, _CHIN_Y + 0.1), (0.2, 0.12)) + 0.6 * smoothstep(np.abs(x), 0.76, 0.9)
    color = color * (1 - flush * red[..., None] * np.float32([0.02, 0.16, 0.14]))
    tired = random.uniform(0, 0.9) * face * _spot(x, y, (_EYE_X, _EYE_Y - 0.13), (0.17, 0.07))
    color = color * (1 - tired[..., None] * np.float32([0.16, 0.2, 0.14]))
    crease = face * np.exp(-((y - _EYE_Y - 0.14) ** 2) / 0.05**2) * _spot(x, y, (_EYE_X, _EYE_Y + 0.14), (0.2, 9))
    color = color * (1 - random.uniform(0.05, 0.3) * crease[..., None] * np.float32([0.7, 1, 1]))
    fold = face * smoothstep(_MOUTH_Y - 0.25 - y, 0, 0.5)
    return color * (1 - 0.05 * fold[..., None] * random.uniform(-0.5, 1))


def _age(random, color, x, y, z, age):
    """Thin dark lines: across the forehead, beside the eyes, from the nose to the mouth."""
    face = smoothstep(z, 0.75, 1.1)
    depth = max(0.0, age - 0.2) * random.uniform(0.3, 1)
    wobble = 0.02 * np.sin(5 * x + random.uniform(0, 6)) + 0.012 * np.sin(17 * x + random.uniform(0, 6))
    lines = np.zeros_like(x)
    for number in range(random.integers(2, 5)):
        at = 7.72 + 0.11 * number + wobble - 0.06 * np.abs(x)
        lines += np.exp(-(((y - at) / 0.012) ** 2)) * smoothstep(np.abs(x), 0.6, 0.3)
    for number in range(3):
        slope = (number - 1) * 0.35
        beside = np.abs(x) - 0.53
        lines += np.exp(-(((y - _EYE_Y - slope * beside + 0.02) / 0.011) ** 2)) * _window(beside, 0.0, 0.16)
    fold = np.abs(x) - 0.17 - 0.42 * (6.9 - y)
    lines += 1.2 * np.exp(-((fold / 0.02) ** 2)) * _window(y, 6.58, 6.92)
    color = color * (1 - face[..., None] * depth * np.clip(lines, 0, 1.5)[..., None] * np.float32([0.13, 0.19, 0.19]))
    if age > 0.55:
        spots = smoothstep(fractal(random, *x.shape, 60, 1), 2.3, 3.0)[..., None] * 0.6 * random.random()
        color = color * (1 - spots * np.float32([0.15, 0.22, 0.28]))
    return color


def _window(value, low, high):
    return smoothstep(value, low, low + 0.05) * smoothstep(value, high, high - 0.05)


def _freckle(random, color, x, y, z):
    where = smoothstep(z, 0.6, 1.1) * (0.15 + _spot(x, y, (0.3, 6.98), (0.4, 0.3)))
    height, width = x.shape
    spots = smoothstep(fractal(random, height, width, random.uniform(90, 160), 1), 1.1, 1.7) * where
    color = color * (1 - random.uniform(0.15, 0.7) * spots[..., None] * np.float32([0.14, 0.24, 0.3]))
    moles = np.zeros((height, width), np.float32)
    for _ in range(random.integers(0, 4)):
        place = int(random.uniform(0.36, 0.64) * width), int(random.uniform(0.25, 0.7) * height)
        cv2.circle(moles, place, random.integers(2, 4), 1.0, -1, cv2.LINE_AA)
    return color * (1 - moles[..., None] * np.float32([0.5, 0.6, 0.6]))


def _blush(random, color, x, y, z):
    blush = smoothstep(z, 0.6, 1.0) * _spot(x, y, (0.52, 6.95), (0.2, 0.13)) * random.uniform(0, 0.6)
    return color * (1 - blush[..., None] * np.float32([0.02, 0.3, 0.22]))


def _paint_brows(random, color, hairy, x, y, z, shape, hair_color):
    """Two arcs of short strokes along the brow."""
    inner, outer = random.uniform(0.09, 0.16), random.uniform(0.54, 0.62)
    along = (np.abs(x) - inner) / (outer - inner)
    arch, tilt = random.uniform(0.02, 0.09), random.normal(-0.045, 0.025)
    middle = 7.49 + random.normal(0, 0.02) + arch * np.sin(np.pi * np.clip(along, 0, 1) ** 1.3) + tilt * along
    thick = random.uniform(0.035, 0.075) if shape.male > 0.5 else random.uniform(0.018, 0.05)
    thick = thick * (1 - 0.6 * np.clip(along, 0, 1) ** 1.5)
    height, width = x.shape
    strokes = _streaks(random, height, width, 0.9)
    density = random.uniform(0.55, 1.0)
    shape_ = smoothstep(along, -0.06, 0.1) * smoothstep(along, 1.08, 0.75) * smoothstep(z, 0.6, 0.8)
    shape_ = shape_ * smoothstep(thick - np.abs(y - middle), -0.022, 0.02) * (0.82 + 0.18 * strokes)
    if shape.male > 0.5:  # some hair between the brows
        shape_ = np.maximum(shape_, random.choice([0, 0, 0.5]) * _spot(x, y, (0, 7.48), (0.08, 0.05)) * (z > 0.6))
    alpha = np.clip(density * shape_, 0, 1)
    return _cover(color, hairy, alpha, hair_color * random.uniform(0.5, 0.9))


def _paint_beard(random, color, hairy, x, y, z, hair_color):
    """Stubble, a mustache, a goatee, or a full beard; returns its length too."""
    kind = random.choice(["shaved", "stubble", "mustache", "goatee", "full"], p=[0.54, 0.2, 0.06, 0.07, 0.13])
    height, width = x.shape
    ragged = 0.03 * fractal(random, height, width, 40, 3)
    front = smoothstep(z, -0.1, 0.3)
    cheek = 6.62 + 0.5 * np.clip(np.abs(x) - 0.2, 0, 1) + random.normal(0, 0.05) + ragged
    jaw = smoothstep(cheek - y, -0.03, 0.1) * smoothstep(y, 5.98 + ragged, 6.1) * front
    jaw = jaw * np.maximum(smoothstep(z, 0.7, 0.95), smoothstep(y, 6.2, 6.35))
    above_lip = _window(y, 6.67, 6.83) * smoothstep(np.abs(x), 0.33, 0.24)
    lips = np.exp(-((x / 0.3) ** 4) - ((y - _MOUTH_Y) / 0.1) ** 4)
    full = np.clip(jaw + above_lip, 0, 1) * (1 - np.clip(1.5 * lips, 0, 1))
    full = full * smoothstep(np.abs(x), 0.92, 0.8)
    chin = smoothstep(np.abs(x), 0.36, 0.26) * (y < 6.85)
    area = {"shaved": full, "stubble": full, "mustache": above_lip * (1 - lips), "goatee": full * chin, "full": full}
    strokes, length = _streaks(random, height, width, 1.4), np.zeros_like(x)
    dark = hair_color * random.uniform(0.55, 0.95)
    if kind == "shaved":
        shade = area[kind] * random.uniform(0, 0.28)
        return color * (1 - shade[..., None] * np.float32([0.75, 0.6, 0.5])), hairy, length
    if kind == "stubble":
        alpha = area[kind] * random.uniform(0.25, 0.6)
        alpha = alpha * np.clip(0.8 + 0.4 * fractal(random, height, width, 200, 1), 0, 1.4)
    else:
        alpha = area[kind] * random.uniform(0.8, 1) * (0.88 + 0.12 * strokes)
        length = area[kind] * random.uniform(0.15, 1) ** 1.5
    dark = dark * (1 + (0.15 * strokes)[..., None])
    return *_cover(color, hairy, np.clip(alpha, 0, 1), dark), length


def _cover(color, hairy, alpha, over):
    return color + alpha[..., None] * (np.asarray(over, np.float32) - color), np.maximum(hairy, alpha)


def _streaks(random, height, width, slant):
    """Noise drawn out along a direction, mirrored at the face's middle; standard deviation 1."""
    noise = random.normal(size=(height, width)).astype(np.float32)
    kernel = np.zeros((9, 9), np.float32)
    cv2.line(kernel, (4, 0), (4, 8), 1.0)
    turn = cv2.getRotationMatrix2D((4, 4), 40 * slant, 1)
    noise = cv2.filter2D(noise, -1, cv2.warpAffine(kernel, turn, (9, 9)))
    noise[:, : width // 2] = noise[:, ::-1][:, : width // 2]
    return noise / noise.std()


def _sample_make_up(random, tone, made_up):
    lips = tone * np.float32([0.92, 0.66, 0.66]) + np.float32([0.03, 0, 0.02])
    lids, strengths = tone * np.float32([0.86, 0.8, 0.8]), [random.uniform(0.5, 1), 0.3]
    if made_up:
        if random.random() < 0.7:
            stick = np.float32([random.uniform(0.4, 0.8), random.uniform(0.05, 0.3), random.uniform(0.12, 0.38)])
            lips = lips + random.uniform(0.3, 1) * (stick - lips)
            strengths[0] = 1.0
        if random.random() < 0.6:
            lids = tone * 0.5 * (1 + 0.5 * random.normal(0, 0.3, 3))
            strengths[1] = random.uniform(0.3, 0.8)
    return np.clip(lips, 0, 1).astype(np.float32), np.clip(lids, 0, 1).astype(np.float32), *strengths


class HeadMap(NamedTuple):
    """Positions on the base mesh under each texel."""

    points: np.ndarray  # `[h, w, 3]` float32
    angle: np.ndarray  # `[h, w]` float32 in radians


@functools.lru_cache(maxsize=2)
def head_map(width: int) -> HeadMap:
    """The map of a texture of `width` columns; it has 0.55 times as many rows."""
    human, height = body.load(), round(width * _ASPECT)
    angle = ((np.arange(width) + 0.5) / width * 2 - 1) * np.pi
    y = _TOP + (_BOTTOM - _TOP) * (np.arange(height) + 0.5) / height
    angle, y = (grid.astype(np.float32) for grid in np.meshgrid(angle, y))
    outward = np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], axis=-1)
    axis = np.stack([np.zeros_like(y), y, np.full_like(y, _AXIS_Z)], axis=-1)
    caster = geometry.Caster(human.vertices, human.triangles[human.parts == body.Material.SKIN])
    start = axis + 3 * outward
    hits = caster.intersect(start.reshape(-1, 3), -outward.reshape(-1, 3))
    radius = np.clip(3 - np.minimum(hits.distance, 3).reshape(angle.shape), 0.02, 1.6)
    return HeadMap(axis + radius[..., None] * outward, angle)


def texel(points: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Column and row, `[N]` float32 each, of points on the base mesh, `[N, 3]`; 0 is the first texel's center."""
    angle = np.arctan2(points[:, 0], points[:, 2] - _AXIS_Z)
    column = (angle / np.pi + 1) / 2 * shape[1] - 0.5
    row = (points[:, 1] - _TOP) / (_BOTTOM - _TOP) * shape[0] - 0.5
    return column.astype(np.float32), row.astype(np.float32)

"""Sprites: the parts of a puppet, each drawn once, flat, in its own coordinates.

A sprite has a shape, given by a signed distance (negative inside) for antialiased edges; a texture; shading as if lit
from the upper left; and a dark outline. Frames transform these images and never draw a shape again: a part looks the
same in all frames.

Limbs have their joint at the origin and extend along y; other parts have their center at the origin.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fomm_tf.data.puppets import textures
from fomm_tf.data.puppets.sampling import Head, Identity
from fomm_tf.data.puppets.textures import Color, Texture

_OUTLINE = 0.016
_LIGHT = (-0.45, -0.6, 0.66)
_WHITE, _DARK = (0.97, 0.97, 0.95), (0.12, 0.08, 0.1)

# A function of x and y, `[H, W]` each: a signed distance `[H, W]`, or colors `[H, W, 3]`.
_Field = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Sprite(NamedTuple):
    """An image of a part."""

    pixels: np.ndarray  # `[H, W, 4]` float32, premultiplied RGB and coverage in [0, 1]
    left: float  # x of the first pixel's center, in figure units
    top: float  # y of it
    step: float  # distance between pixels, in figure units


class _Shape(NamedTuple):
    """A signed distance and its bounding box: left, top, right, bottom."""

    distance: _Field
    box: tuple[float, float, float, float]


@functools.lru_cache(maxsize=4)
def draw_sprites(identity: Identity, density: float) -> dict[str, Sprite]:
    """Draws all parts of an identity, by name.

    Args:
      identity: the character.
      density: pixels per figure unit.
    """
    body, head, colors = identity.body, identity.head, identity.colors
    skin, hair, trousers, shirt = colors.skin, colors.hair, identity.trousers, identity.shirt

    draw = functools.partial(_draw, density=density)
    sleeve, leg = (shirt if body.long_sleeves else skin), (trousers if body.long_trousers else skin)
    a, b = head.width, head.height
    torso = _trapezoid(body.shoulders, body.waist, -0.03, body.torso + 0.07, 0.09)
    # Hair all over or down to the ears; the face is a separate part that turns with the head.
    hair_end = {"bald": -9.0, "short": 0.15, "tuft": -0.05}.get(head.hair, 9.0) * b
    skull, shrunk = _skull(a, b, head.jaw, 0.0), _skull(a, b, head.jaw, _OUTLINE)
    iris = head.iris * head.eye * min(1.0, head.eye_tall) * 1.05
    sprites = {
        "thigh": draw(_limb(body.thigh, body.leg, 0.9 * body.leg), trousers),
        "shin": draw(_limb(body.shin, 0.9 * body.leg, 0.75 * body.leg), leg),
        "foot": draw(_ellipse(body.foot, 0.55 * body.foot), colors.shoes),
        "torso": draw(torso, _split(shirt, trousers, 0.86 * body.torso, density), depth=0.14),
        "emblem": draw(_ellipse(body.emblem, body.emblem), colors.emblem, depth=0.03, outline=0.01),
        "neck": draw(_limb(body.neck + 0.1, 0.075, 0.075), _darker(skin, 0.85)),
        "upper_arm": draw(_limb(body.upper_arm, 1.15 * body.arm, 0.95 * body.arm), shirt),
        "forearm": draw(_limb(body.forearm, 0.95 * body.arm, 0.8 * body.arm), sleeve),
        "hand": draw(_ellipse(body.hand, 1.1 * body.hand), colors.hands),
        "skull": draw(skull, _darker(skin if head.hair == "bald" else hair, 0.4), outline=0.0),
        "head": draw(shrunk, _split(hair, skin, hair_end, density), 0.09, outline=0.0),
        "eye": draw(_ellipse(head.eye, head.eye * head.eye_tall), _WHITE, depth=0.02, outline=0.02),
        "iris": draw(_ellipse(iris, iris), _iris_fill(head, colors.iris, density), depth=0.01, outline=0.008),
        "lid": draw(_bar(0.9 * head.eye, 0.014), _DARK, outline=0.0),
        "brow": draw(_bar(head.brow, 0.017), _darker(hair, 0.7), outline=0.0),
        "nose": draw(_ellipse(head.nose, 0.9 * head.nose), colors.nose, depth=0.03, outline=0.008),
        "mouth": draw(_mouth(head.mouth), colors.lips, depth=0.02, outline=0.012),
        "throat": draw(_mouth(0.78 * head.mouth), (0.3, 0.06, 0.1), depth=0.01, outline=0.0),
        "teeth": draw(_bar(0.6 * head.mouth, 0.02), _WHITE, outline=0.0),
    }
    if head.hair != "bald":
        sprites["face"] = draw(_face(head), skin, depth=0.004, outline=0.0)
    if head.hair in ("bob", "long"):
        length, width = (0.75 if head.hair == "bob" else 1.25) * b, 1.12 * a
        mane = _trapezoid(0.95 * width, 1.02 * width, -1.02 * b, length, 0.75 * width)
        sprites["mane"] = draw(mane, hair, depth=0.15)
    if head.hair == "tuft":
        sprites["tuft"] = draw(_ellipse(0.3 * a, 0.36 * a), hair)
    if head.ears != "none":
        shape, width, height = _ear(head)
        fur = skin if head.ears == "human" or head.hair == "bald" else hair
        sprites["ear"] = draw(shape, _ear_fill(fur, skin, width, height, density))
    if head.cheeks:
        sprites["cheek"] = draw(_ellipse(0.16 * a, 0.13 * a), colors.cheeks, depth=0.2, outline=0.0)
    if head.muzzle:
        light = tuple(0.5 * part + 0.5 for part in skin)
        sprites["muzzle"] = draw(_ellipse(0.5 * a, 0.36 * b), light, depth=0.08, outline=0.0)
    return sprites


def _draw(
    shape: _Shape, fill: Color | Texture | _Field, depth: float = 0.07, outline: float = _OUTLINE, *, density: float
) -> Sprite:
    margin = 2 / density
    left, top, right, bottom = shape.box
    left, top = left - margin, top - margin
    width, height = int(np.ceil((right + margin - left) * density)), int(np.ceil((bottom + margin - top) * density))
    x, y = textures.pixel_grid(left, top, width, height, density)
    distance = shape.distance(x, y).astype(np.float32)
    color = _colors(fill, x, y, density) * _shade(distance, depth, density)[..., None]
    if outline:
        color = color * (0.4 + 0.6 * _inside(distance + outline, density))[..., None]
    coverage = _inside(distance, density)[..., None]
    pixels = np.concatenate([np.clip(color, 0, 1) * coverage, coverage], axis=-1)
    return Sprite(np.ascontiguousarray(pixels, np.float32), left, top, 1 / density)


def _colors(fill: Color | Texture | _Field, x: np.ndarray, y: np.ndarray, density: float) -> np.ndarray:
    if isinstance(fill, Texture):
        return textures.paint(fill, x, y, density)
    return fill(x, y) if callable(fill) else np.broadcast_to(np.float32(fill), (*x.shape, 3))


def _inside(distance: np.ndarray, density: float) -> np.ndarray:
    """Coverage of each pixel by a shape."""
    return np.clip(0.5 - distance * density, 0, 1)


def _shade(distance: np.ndarray, depth: float, density: float) -> np.ndarray:
    """Shading of a pillow of this shape, flat from `depth` inwards."""
    down, along = np.gradient(distance, 1 / density)
    tilt = np.clip(1 + distance / depth, 0, 0.95)
    light = tilt * (along * _LIGHT[0] + down * _LIGHT[1]) + np.sqrt(1 - tilt * tilt) * _LIGHT[2]
    return 0.72 + 0.4 * light


def _darker(color: Color, factor: float) -> Color:
    return tuple(factor * channel for channel in color)


def _ellipse(a: float, b: float) -> _Shape:
    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        k = np.hypot(x / a, y / b)
        return k * (k - 1) / np.maximum(np.hypot(x / a**2, y / b**2), 1e-6) - min(a, b) * (k < 1e-6)

    return _Shape(distance, (-a, -b, a, b))


def _limb(length: float, start: float, end: float) -> _Shape:
    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        t = np.clip(y / length, 0, 1)
        return np.hypot(x, y - t * length) - (start + (end - start) * t)

    radius = max(start, end)
    return _Shape(distance, (-radius, -start, radius, length + end))


def _bar(half: float, radius: float) -> _Shape:
    """A stroke, arched like an eyebrow."""

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.hypot(np.maximum(np.abs(x) - half, 0), y - 0.25 * half * (x / half) ** 2) - radius

    return _Shape(distance, (-half - radius, -radius, half + radius, radius + 0.3 * half))


def _trapezoid(upper: float, lower: float, top: float, bottom: float, radius: float) -> _Shape:
    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        half = upper + (lower - upper) * np.clip((y - top) / (bottom - top), 0, 1)
        along, down = np.abs(x) - half + radius, np.abs(y - (top + bottom) / 2) - (bottom - top) / 2 + radius
        outside = np.hypot(np.maximum(along, 0), np.maximum(down, 0))
        return outside + np.minimum(np.maximum(along, down), 0) - radius

    half = max(upper, lower)
    return _Shape(distance, (-half, top, half, bottom))


def _skull(a: float, b: float, jaw: float, shrink: float) -> _Shape:
    """An ellipse with a narrower chin, smaller by `shrink` on all sides."""
    round_head = _ellipse(a, b)

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return round_head.distance(x / (1 - 0.35 * jaw * np.clip(y / b, 0, 1) ** 1.5), y) + shrink

    return _Shape(distance, round_head.box)


def _face(head: Head) -> _Shape:
    """Skin from the hairline to below the chin; the head's outline clips it."""
    a, b = head.width, head.height
    sides = _trapezoid(0.84 * a, 0.95 * a, -0.8 * b, 1.7 * b, 0.6 * a)

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        waves = np.abs(np.sin(0.5 * np.pi * head.fringe_waves * (x / a - head.parting)))
        line = -head.hairline * b + head.fringe * b * (waves - 0.5)
        return np.maximum(sides.distance(x, y), (line - y) * 0.8)

    return _Shape(distance, sides.box)


def _mouth(half: float) -> _Shape:
    """A smile: flat at the top, round at the bottom."""
    bowl = _ellipse(half, 0.9 * half)

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        y = y + 0.35 * half
        return np.maximum(bowl.distance(x, y), -y - 0.1 * half + 0.3 * half * (x / half) ** 2)

    return _Shape(distance, (-half, -0.5 * half, half, 0.6 * half))


def _ear(head: Head) -> tuple[_Shape, float, float]:
    """The shape of an ear, and its half width and half height."""
    wide, tall = {"human": (0.6, 0.8), "round": (1.0, 1.0), "pointed": (0.95, 1.35), "long": (0.7, 2.6)}[head.ears]
    width, height = wide * head.ear * head.width, tall * head.ear * head.width
    if head.ears == "pointed":
        return _trapezoid(0.12 * width, 1.2 * width, -height, height, 0.1 * width), width, height
    return _ellipse(width, height), width, height


def _split(above: Color | Texture, below: Color | Texture, edge: float, density: float) -> _Field:
    """One fill above the level `edge`, another one below it."""

    def fill(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        share = np.clip(0.5 + (y - edge) * density, 0, 1)[..., None]
        return _colors(above, x, y, density) * (1 - share) + _colors(below, x, y, density) * share

    return fill


def _iris_fill(head: Head, iris: Color, density: float) -> _Field:
    radius = head.iris * head.eye

    def fill(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        pupil = _inside(np.hypot(x, y) - 0.55 * radius, density)[..., None]
        glint = _inside(np.hypot(x + 0.3 * radius, y + 0.35 * radius) - 0.28 * radius, density)[..., None]
        color = np.float32(iris) * (1 - pupil) + np.float32(_DARK) * pupil
        return color * (1 - glint) + np.float32(1.15) * glint

    return fill


def _ear_fill(fur: Color, skin: Color, width: float, height: float, density: float) -> _Field:
    inner = _ellipse(0.5 * width, 0.6 * height)
    flesh = np.float32([0.5 * skin[0] + 0.45, 0.5 * skin[1] + 0.2, 0.5 * skin[2] + 0.25])

    def fill(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        weight = 0.8 * _inside(inner.distance(x, y - 0.15 * height), density)[..., None]
        return np.float32(fur) * (1 - weight) + flesh * weight

    return fill

"""Identities: proportions, colors, textures, hair and background of a puppet, all from one seed.

Convention: lengths are in figure units: at scale 1, one unit is half of the frame's shorter side. Colors are RGB in
[0, 1]. Left and right are the viewer's.
"""

from __future__ import annotations

import colorsys
from typing import NamedTuple

import numpy as np

Color = tuple[float, float, float]

TEXTURES = ("plain", "stripes", "dots", "checks", "noise", "photograph")
EARS = ("none", "human", "round", "pointed", "long")
HAIR = ("bald", "short", "bob", "long", "tuft")
BACKGROUNDS = ("gradient", "blobs", "room", "checks", "noise", "hills", "leaves", "photograph")

# Natural and unnatural skin colors.
_SKINS = ("f7d7c0", "eebb95", "dba27c", "b97c56", "8b5a3c", "5e3b28", "c9d8a0", "a8c8ea", "e8b4d8", "d8d2cc", "f2c14e")


class Texture(NamedTuple):
    """A pattern of two colors.

    Attributes:
      kind: one of `TEXTURES`.
      first: color of the ground.
      second: color of the pattern.
      period: distance between stripes or dots.
      angle: of the pattern, radians.
      seed: of the noise.
    """

    kind: str
    first: Color
    second: Color
    period: float
    angle: float
    seed: int


class Body(NamedTuple):
    """Everything below the head: lengths of bones, half widths and radii.

    Attributes:
      neck: length from the neck's base, the root of the figure, to the chin.
      torso: length from the neck's base to the pelvis.
      shoulders, waist: half widths of the torso.
      upper_arm, forearm, arm: lengths, and the radius of the arm.
      hand: radius.
      thigh, shin, leg: lengths, and the radius of the leg.
      foot: half length.
      long_sleeves, long_trousers: whether forearm and shin are covered.
      emblem: radius of the disc on the chest.
    """

    neck: float
    torso: float
    shoulders: float
    waist: float
    upper_arm: float
    forearm: float
    arm: float
    hand: float
    thigh: float
    shin: float
    leg: float
    foot: float
    long_sleeves: bool
    long_trousers: bool
    emblem: float


class Head(NamedTuple):
    """The head, an ellipsoid: half axes, and positions of the features.

    Attributes:
      width, height: half axes; the depth is the width.
      jaw: how much narrower the chin is, 0 to 1.
      eye_spacing, eye_level, mouth_level: fraction of the half axes, from the center.
      eye, eye_tall: half width of an eye, and its height relative to its width.
      iris: fraction of the eye.
      nose: radius.
      mouth: half width.
      brow: half width.
      hairline: fraction of the half height, from the center up.
      fringe, fringe_waves, parting: depth, number and position of the hairline's waves.
      hair, ears: one of `HAIR`, `EARS`.
      ear: size of an ear, relative to the head's width.
      cheeks, muzzle: whether there are spots on the cheeks, and a light patch around the mouth.
    """

    width: float
    height: float
    jaw: float
    eye_spacing: float
    eye_level: float
    mouth_level: float
    eye: float
    eye_tall: float
    iris: float
    nose: float
    mouth: float
    brow: float
    hairline: float
    fringe: float
    fringe_waves: float
    parting: float
    hair: str
    ears: str
    ear: float
    cheeks: bool
    muzzle: bool


class Colors(NamedTuple):
    """Plain colors; clothes have textures."""

    skin: Color
    hair: Color
    iris: Color
    nose: Color
    lips: Color
    cheeks: Color
    hands: Color
    shoes: Color
    emblem: Color


class Identity(NamedTuple):
    """Everything that does not change while a puppet moves; hashable, so that its sprites can be cached."""

    body: Body
    head: Head
    colors: Colors
    shirt: Texture
    trousers: Texture
    background_kind: str
    background: Texture


def sample_identity(seed: int, portrait: bool = False) -> Identity:
    """Samples a puppet.

    Args:
      seed: 0 or more.
      portrait: use a plain wall as the background.
    """
    generator = np.random.default_rng(seed)

    def between(low: float, high: float) -> float:
        return float(generator.uniform(low, high))

    def chance(probability: float) -> bool:
        return bool(generator.random() < probability)

    def choose(options: tuple, weights: tuple | None = None):
        return options[int(generator.choice(len(options), p=weights))]

    def color(saturation: tuple[float, float], value: tuple[float, float], hue: float | None = None) -> Color:
        hue = between(0, 1) if hue is None else hue
        return colorsys.hsv_to_rgb(hue % 1, between(*saturation), between(*value))

    def texture(ground: Color, weights: tuple | None = None) -> Texture:
        second = max((color((0.2, 1.0), (0.25, 1.0)) for _ in range(4)), key=lambda other: _distance(other, ground))
        kind = choose(TEXTURES, weights)
        return Texture(kind, ground, second, between(0.09, 0.18), between(0, np.pi), int(generator.integers(1 << 31)))

    stoutness, tallness = between(0.8, 1.25), between(0.85, 1.15)
    limb = between(0.85, 1.2)
    body = Body(
        neck=between(0.02, 0.06),
        torso=0.44 * tallness * between(0.9, 1.1),
        shoulders=0.185 * stoutness * between(0.9, 1.1),
        waist=0.165 * stoutness * between(0.8, 1.25),
        upper_arm=0.235 * tallness * between(0.9, 1.1),
        forearm=0.225 * tallness * between(0.9, 1.1),
        arm=0.07 * limb,
        hand=0.085 * limb * between(0.9, 1.2),
        thigh=0.24 * tallness * between(0.85, 1.1),
        shin=0.23 * tallness * between(0.85, 1.1),
        leg=0.086 * limb,
        foot=0.105 * between(0.85, 1.2),
        long_sleeves=chance(0.5),
        long_trousers=chance(0.6),
        emblem=between(0.05, 0.085),
    )
    size = between(0.92, 1.1)
    head = Head(
        width=0.29 * size * between(0.88, 1.12),
        height=0.33 * size * between(0.9, 1.1),
        jaw=between(0.0, 0.5),
        eye_spacing=between(0.34, 0.44),
        eye_level=between(-0.08, 0.1),
        mouth_level=between(0.52, 0.64),
        eye=between(0.055, 0.08),
        eye_tall=between(0.9, 1.4),
        iris=between(0.55, 0.75),
        nose=between(0.028, 0.055),
        mouth=between(0.075, 0.125),
        brow=between(0.05, 0.085),
        hairline=between(0.32, 0.6),
        fringe=between(0.0, 0.14),
        fringe_waves=between(1.0, 5.0),
        parting=between(-0.5, 0.5),
        hair=choose(HAIR, (0.14, 0.26, 0.2, 0.22, 0.18)),
        ears=choose(EARS, (0.15, 0.3, 0.2, 0.2, 0.15)),
        ear=between(0.28, 0.42),
        cheeks=chance(0.6),
        muzzle=chance(0.35),
    )
    code = choose(_SKINS, (0.13, 0.13, 0.13, 0.13, 0.13, 0.13, 0.04, 0.05, 0.04, 0.05, 0.04))
    skin = tuple(min(1.0, max(0.0, int(code[i : i + 2], 16) / 255 + between(-0.04, 0.04))) for i in (0, 2, 4))
    hair = max((color((0.2, 0.9), (0.12, 0.95)) for _ in range(3)), key=lambda other: _distance(other, skin))
    shirt = texture(color((0.45, 0.95), (0.45, 1.0)), (0.08, 0.27, 0.22, 0.18, 0.1, 0.15))
    trousers = texture(
        max((color((0.3, 0.9), (0.2, 0.8)) for _ in range(4)), key=lambda other: _distance(other, shirt.first)),
        (0.35, 0.2, 0.1, 0.12, 0.08, 0.15),
    )
    colors = Colors(
        skin=skin,
        hair=hair,
        iris=color((0.5, 1.0), (0.25, 0.7)),
        nose=_mix(skin, color((0.5, 0.9), (0.4, 0.9), between(-0.06, 0.06)), between(0.35, 0.9)),
        lips=color((0.6, 0.9), (0.5, 0.85), between(-0.06, 0.03)),
        cheeks=_mix(skin, (0.95, 0.35, 0.35), 0.45),
        hands=skin if chance(0.6) else color((0.1, 0.9), (0.5, 1.0)),
        shoes=color((0.3, 0.9), (0.15, 0.8)),
        emblem=max((color((0.3, 1.0), (0.6, 1.0)) for _ in range(4)), key=lambda other: _distance(other, shirt.first)),
    )
    # A background in contrast to the figure.
    figure = (skin, hair, shirt.first, trousers.first)
    candidates = [color((0.05, 0.6), (0.3, 0.95)) for _ in range(12)]
    ground = max(candidates, key=lambda other: min(_distance(other, part) for part in figure))
    second = _mix(ground, color((0.1, 0.7), (0.3, 1.0)), between(0.3, 0.6))
    return Identity(
        body=body,
        head=head,
        colors=colors,
        shirt=shirt,
        trousers=trousers,
        background_kind="gradient" if portrait else choose(BACKGROUNDS),
        background=Texture(
            "plain", ground, second, between(0.25, 0.6), between(0, np.pi), int(generator.integers(1 << 31))
        ),
    )


def _mix(first: Color, second: Color, weight: float) -> Color:
    return tuple((1 - weight) * a + weight * b for a, b in zip(first, second, strict=True))


def _distance(first: Color, second: Color) -> float:
    return sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) ** 0.5

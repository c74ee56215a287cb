"""Identities (proportions, colors, hair, background) and motions (poses along smooth B-splines), each from a seed.

Convention: lengths are in figure units: at scale 1, one unit is half of the frame's shorter side. Colors are RGB in
[0, 1], angles in radians. Left and right are the viewer's.
"""

from __future__ import annotations

import colorsys
from typing import NamedTuple

import numpy as np

from fomm_tf.data.puppets.textures import BACKGROUNDS, TEXTURES, Color, Texture

# Natural and unnatural skin colors.
_SKINS = ("f7d7c0", "eebb95", "dba27c", "b97c56", "8b5a3c", "5e3b28", "c9d8a0", "a8c8ea", "e8b4d8", "d8d2cc", "f2c14e")


class Body(NamedTuple):
    """Everything below the head: lengths of bones, half widths and radii."""

    neck: float  # from its base, the root of the figure, to the chin
    torso: float  # from the neck's base to the pelvis
    shoulders: float  # half width
    waist: float  # half width
    upper_arm: float
    forearm: float
    arm: float  # radius
    hand: float  # radius
    thigh: float
    shin: float
    leg: float  # radius
    foot: float  # half length
    long_sleeves: bool
    long_trousers: bool
    emblem: float  # radius of the disc on the chest


class Head(NamedTuple):
    """The head, an ellipsoid as deep as wide; positions of features are fractions of its half axes from the center."""

    width: float  # half axis
    height: float  # half axis
    jaw: float  # how much narrower the chin is, 0 to 1
    eye_spacing: float
    eye_level: float
    mouth_level: float
    eye: float  # half width
    eye_tall: float  # height relative to the width
    iris: float  # fraction of the eye
    nose: float  # radius
    mouth: float  # half width
    brow: float  # half width
    hairline: float
    fringe: float  # depth of the hairline's waves
    fringe_waves: float  # their number
    parting: float  # their position
    hair: str
    ears: str
    ear: float  # size relative to the head's width
    cheeks: bool  # spots on the cheeks
    muzzle: bool  # light patch around the mouth


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
    background_kind: str  # one of `BACKGROUNDS`
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

    def contrast(count: int, saturation: tuple[float, float], value: tuple[float, float], *others: Color) -> Color:
        """The color, of `count`, that differs most from the nearest of `others`."""
        candidates = [color(saturation, value) for _ in range(count)]
        return max(candidates, key=lambda candidate: min(_distance(candidate, other) for other in others))

    def texture(ground: Color, weights: tuple) -> Texture:
        second = contrast(4, (0.2, 1.0), (0.25, 1.0), ground)
        kind = choose(TEXTURES, weights)
        return Texture(kind, ground, second, between(0.09, 0.18), between(0, np.pi), int(generator.integers(1 << 31)))

    stoutness, tallness, limb = between(0.8, 1.25), between(0.85, 1.15), between(0.85, 1.2)
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
        hair=choose(("bald", "short", "bob", "long", "tuft"), (0.14, 0.26, 0.2, 0.22, 0.18)),
        ears=choose(("none", "human", "round", "pointed", "long"), (0.15, 0.3, 0.2, 0.2, 0.15)),
        ear=between(0.28, 0.42),
        cheeks=chance(0.6),
        muzzle=chance(0.35),
    )
    code = choose(_SKINS, (0.13, 0.13, 0.13, 0.13, 0.13, 0.13, 0.04, 0.05, 0.04, 0.05, 0.04))
    skin = tuple(min(1.0, max(0.0, int(code[i : i + 2], 16) / 255 + between(-0.04, 0.04))) for i in (0, 2, 4))
    hair = contrast(3, (0.2, 0.9), (0.12, 0.95), skin)
    shirt = texture(color((0.45, 0.95), (0.45, 1.0)), (0.08, 0.27, 0.22, 0.18, 0.1, 0.15))
    trousers = texture(contrast(4, (0.3, 0.9), (0.2, 0.8), shirt.first), (0.35, 0.2, 0.1, 0.12, 0.08, 0.15))
    colors = Colors(
        skin=skin,
        hair=hair,
        iris=color((0.5, 1.0), (0.25, 0.7)),
        nose=_mix(skin, color((0.5, 0.9), (0.4, 0.9), between(-0.06, 0.06)), between(0.35, 0.9)),
        lips=color((0.6, 0.9), (0.5, 0.85), between(-0.06, 0.03)),
        cheeks=_mix(skin, (0.95, 0.35, 0.35), 0.45),
        hands=skin if chance(0.6) else color((0.1, 0.9), (0.5, 1.0)),
        shoes=color((0.3, 0.9), (0.15, 0.8)),
        emblem=contrast(4, (0.3, 1.0), (0.6, 1.0), shirt.first),
    )
    ground = contrast(12, (0.05, 0.6), (0.3, 0.95), skin, hair, shirt.first, trousers.first)
    second = _mix(ground, color((0.1, 0.7), (0.3, 1.0)), between(0.3, 0.6))
    kind = "gradient" if portrait else choose(BACKGROUNDS)
    period, angle, noise = between(0.25, 0.6), between(0, np.pi), int(generator.integers(1 << 31))
    background = Texture("plain", ground, second, period, angle, noise)
    return Identity(body, head, colors, shirt, trousers, kind, background)


def _mix(first: Color, second: Color, weight: float) -> Color:
    return tuple((1 - weight) * a + weight * b for a, b in zip(first, second, strict=True))


def _distance(first: Color, second: Color) -> float:
    return sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) ** 0.5


class Pose(NamedTuple):
    """Pose of any puppet; x to the right and y down, all rolls clockwise."""

    x: float = 0.0  # position of the neck's base, in [-1, 1]
    y: float = -0.12
    scale: float = 1.0
    roll: float = 0.0  # of the whole figure
    lean: float = 0.0  # of the torso relative to the figure
    body_yaw: float = 0.0  # positive towards the right of the image
    head_yaw: float = 0.0
    head_pitch: float = 0.0  # positive up
    head_roll: float = 0.0
    eyes: float = 1.0  # opening, 0 to 1
    gaze_x: float = 0.0  # position of the irises, -1 to 1
    gaze_y: float = 0.0
    mouth: float = 0.3  # opening, 0 to 1
    smile: float = 0.5  # width of the mouth, 0 to 1
    brows: float = 0.0  # height, -1 to 1
    left_shoulder: float = 0.35  # angle between upper arm and body; 0 hangs down
    right_shoulder: float = 0.35
    left_elbow: float = 0.1  # angle between forearm and upper arm; positive in the shoulder's direction
    right_elbow: float = 0.1
    left_hip: float = 0.08  # hips and knees as shoulders and elbows
    right_hip: float = 0.08
    left_knee: float = 0.0
    right_knee: float = 0.0
    left_before: float = 1.0  # 1 for an arm in front of the body, 0 for one behind it; constant in a clip
    right_before: float = 1.0
    pan_x: float = 0.0  # position of the background's center, as a fraction of the frame, up to 0.2
    pan_y: float = 0.0
    zoom: float = 1.0  # of the background, at least 1


# Framings, the visible parts of the puppet, as limits of its pose: a pose for zero motion, minimum, and maximum.
_FIGURE = (
    Pose(),
    Pose(
        x=-0.28, y=-0.27, scale=0.85, roll=-0.24, lean=-0.3, body_yaw=-0.9, head_yaw=-1.25, head_pitch=-0.4,
        head_roll=-0.4, eyes=0.0, gaze_x=-1.0, gaze_y=-0.7, mouth=0.0, smile=0.0, brows=-1.0, left_shoulder=-0.1,
        right_shoulder=-0.1, left_elbow=-1.9, right_elbow=-1.9, left_hip=-0.2, right_hip=-0.2, left_knee=-0.9,
        right_knee=-0.9, left_before=0.0, right_before=0.0, pan_x=-0.05, pan_y=-0.04, zoom=1.0,
    ),
    Pose(
        x=0.28, y=0.0, scale=1.17, roll=0.24, lean=0.3, body_yaw=0.9, head_yaw=1.25, head_pitch=0.35,
        head_roll=0.4, eyes=1.0, gaze_x=1.0, gaze_y=0.7, mouth=1.0, smile=1.0, brows=1.0, left_shoulder=2.5,
        right_shoulder=2.5, left_elbow=1.2, right_elbow=1.2, left_hip=0.7, right_hip=0.7, left_knee=0.2,
        right_knee=0.2, left_before=1.0, right_before=1.0, pan_x=0.05, pan_y=0.04, zoom=1.06,
    ),
)  # fmt: skip
# Head and shoulders: a talking face that fills the frame.
_BUST = (
    Pose(y=0.55, scale=1.75),
    _FIGURE[1]._replace(x=-0.2, y=0.46, scale=1.55, left_elbow=-1.2, right_elbow=-1.2),
    _FIGURE[2]._replace(x=0.2, y=0.68, scale=1.85, left_shoulder=1.3, right_shoulder=1.3),
)
# The same, mostly facing the viewer, arms down: a head that moves and tilts, with fewer disocclusions.
_PORTRAIT = (
    _BUST[0],
    _BUST[1]._replace(
        x=-0.3, y=0.4, scale=1.4, roll=-0.35, body_yaw=-0.4, head_yaw=-0.6, left_elbow=-0.3, right_elbow=-0.3
    ),
    _BUST[2]._replace(
        x=0.3, y=0.7, scale=1.85, roll=0.35, body_yaw=0.4, head_yaw=0.6, left_shoulder=0.3, right_shoulder=0.3,
        left_elbow=0.3, right_elbow=0.3,
    ),
)  # fmt: skip
_FRAMES_PER_SEGMENT, _MIN_SEGMENTS = 8, 5
_BUST_PROBABILITY, _STATIC_BACKGROUND_PROBABILITY, _BEFORE_PROBABILITY, _BLINK_PROBABILITY = 0.3, 0.5, 0.75, 0.2


def sample_motion(seed: int, frames: int, amount: float = 1.0, portrait: bool = False) -> list[Pose]:
    """Samples a motion.

    Short clips move faster, so that the expected difference of two frames does not depend on the length of the clip.

    Args:
      seed: 0 or more.
      frames: number of poses, at least 1.
      amount: 1 for full motion; smaller values interpolate towards the rest pose, except for blinking.
      portrait: head and shoulders, mostly facing the viewer, with a static background.
    """
    generator = np.random.default_rng(seed)
    framing = _BUST if generator.random() < _BUST_PROBABILITY else _FIGURE
    is_static = generator.random() < _STATIC_BACKGROUND_PROBABILITY
    if portrait:
        framing, is_static = _PORTRAIT, True
    segments = max(_MIN_SEGMENTS, round(frames / _FRAMES_PER_SEGMENT))
    # Beta is more often near the ends of the range than uniform, since splines average their control points.
    controls = generator.beta(0.5, 0.5, (segments + 3, len(Pose._fields)))
    blinks = generator.random(segments + 3) < _BLINK_PROBABILITY
    before = generator.random(2) < _BEFORE_PROBABILITY
    rest, low, high = np.array(framing)
    values = rest + amount * (spline(low + (high - low) * controls, frames) - rest)
    # Eyes are mostly open and closed for a moment: the spline exceeds the range and is clipped.
    eyes = np.clip(spline(np.where(blinks, -0.8, 1.4)[:, None], frames)[:, 0], 0, 1)
    fixed = {"eyes": eyes, "left_before": before[0], "right_before": before[1]}
    if is_static:
        fixed |= {name: getattr(framing[0], name) for name in ("pan_x", "pan_y", "zoom")}
    for name, value in fixed.items():
        values[:, Pose._fields.index(name)] = value
    return [Pose(*row) for row in values.tolist()]


def spline(controls: np.ndarray, count: int) -> np.ndarray:
    """Evaluates a uniform cubic B-spline from its start to its end.

    Args:
      controls: `[N, D]` control points, N at least 4.
      count: number of points.

    Returns:
      `[count, D]` float64, each a convex combination of four neighboring controls.
    """
    segments = len(controls) - 3
    position = np.linspace(0, segments, count)
    first = np.minimum(position.astype(int), segments - 1)
    t = (position - first)[:, None]
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    return sum(weight * controls[first + i] for i, weight in enumerate(weights)) / 6

"""Forward kinematics: positions of parts and joints in a pose, with the turn of the head in depth.

Convention: positions are (x, y) in figure units from the frame's center, y down. Parts are listed from back to front;
one affine map per part goes from its own coordinates to the frame, so that a surface point is known in all frames.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from fomm_tf.data.puppets.sampling import Head, Identity, Pose

JOINTS = (
    "head", "left_eye", "right_eye", "nose", "mouth", "chest", "pelvis",
    "left_shoulder", "left_elbow", "left_hand", "right_shoulder", "right_elbow", "right_hand",
    "left_knee", "left_foot", "right_knee", "right_foot",
)  # fmt: skip

# Parts that face the viewer less than this are not drawn.
_MIN_FACING = 0.04
# Depth of the torso relative to its width.
_FLATNESS = 0.65
_SIDES = {"left": -1, "right": 1}


class Affine(NamedTuple):
    """(x, y) -> (xx x + xy y + x0, yx x + yy y + y0)."""

    xx: float = 1.0
    xy: float = 0.0
    x0: float = 0.0
    yx: float = 0.0
    yy: float = 1.0
    y0: float = 0.0

    def compose(self, inner: Affine) -> Affine:
        """Composition: the map that applies `inner` first."""
        return Affine(
            self.xx * inner.xx + self.xy * inner.yx,
            self.xx * inner.xy + self.xy * inner.yy,
            self.xx * inner.x0 + self.xy * inner.y0 + self.x0,
            self.yx * inner.xx + self.yy * inner.yx,
            self.yx * inner.xy + self.yy * inner.yy,
            self.yx * inner.x0 + self.yy * inner.y0 + self.y0,
        )

    def apply(self, x, y):
        """Maps a point, or two arrays of coordinates."""
        return self.xx * x + self.xy * y + self.x0, self.yx * x + self.yy * y + self.y0

    def inverse(self) -> Affine:
        """The inverse; the map must not be singular."""
        det = self.xx * self.yy - self.xy * self.yx
        xx, xy, yx, yy = self.yy / det, -self.xy / det, -self.yx / det, self.xx / det
        return Affine(xx, xy, -xx * self.x0 - xy * self.y0, yx, yy, -yx * self.x0 - yy * self.y0)

    def translate(self, x: float, y: float) -> Affine:
        """The map that shifts by (x, y) first."""
        return self.compose(Affine(x0=x, y0=y))

    def rotate(self, angle: float, scale: float = 1.0) -> Affine:
        """The map that rotates clockwise, and scales, first."""
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        return self.compose(Affine(cos, -sin, 0.0, sin, cos, 0.0))


class Part(NamedTuple):
    """A sprite and its position."""

    sprite: str
    place: Affine  # from the sprite's coordinates to the frame
    group: str  # parts of a group do not hide each other's joints
    inside: int | None = None  # index of the part that clips this one
    shown: bool = True  # whether it faces the viewer; other parts are not drawn


class Joint(NamedTuple):
    """A labeled point."""

    x: float
    y: float
    group: str  # of the parts that it belongs to
    faces: bool = True  # whether its surface faces the viewer


def pose_figure(
    identity: Identity, pose: Pose, aspect: tuple[float, float] = (1.0, 1.0)
) -> tuple[list[Part], dict[str, Joint]]:
    """Computes the positions of a puppet's parts, from back to front with the background first, and its joints.

    Args:
      identity: the character.
      pose: of the character.
      aspect: the frame's half width and half height, in figure units.
    """
    body, frame = identity.body, Affine()
    background = frame.translate(pose.pan_x * aspect[0], pose.pan_y * aspect[1]).compose(
        Affine(xx=pose.zoom, yy=pose.zoom)
    )
    parts = [Part("background", background, "background")]
    joints: dict[str, Joint] = {}
    root = frame.translate(pose.x * aspect[0], pose.y * aspect[1]).rotate(pose.roll, pose.scale)
    trunk = root.rotate(pose.lean)
    sin, facing = math.sin(pose.body_yaw), math.cos(pose.body_yaw)
    breadth = math.hypot(facing, _FLATNESS * sin)
    skull = _skull_frame(identity.head, root, pose, body.neck)

    _add_behind(parts, identity.head, skull, pose)
    arms = {side: _arm(identity, pose, side, trunk, breadth, joints) for side in _SIDES}
    before = [arm for side, arm in arms.items() if getattr(pose, f"{side}_before")]
    for arm in arms.values():
        parts += () if arm in before else arm
    for side in _SIDES:
        parts += _leg(identity, pose, side, trunk, breadth, joints)
    parts.append(Part("neck", root.rotate(0.5 * pose.head_roll).translate(0, -body.neck - 0.1), "torso"))
    parts.append(Part("torso", trunk.compose(Affine(xx=breadth)), "torso"))
    chest = trunk.translate(0.75 * body.shoulders * sin, 0.42 * body.torso)
    shown = facing > _MIN_FACING
    parts.append(Part("emblem", chest.compose(Affine(xx=facing)), "torso", inside=len(parts) - 1, shown=shown))
    joints["chest"] = Joint(chest.x0, chest.y0, "torso", shown)
    joints["pelvis"] = Joint(*trunk.apply(0, body.torso), "torso")

    # Upper arms are in front of the torso and behind the head, forearms in front of everything.
    parts += [arm[0] for arm in before]
    _add_head(parts, joints, identity.head, skull, pose)
    for arm in before:
        parts += arm[1:]
    return parts, joints


def _arm(identity: Identity, pose: Pose, side: str, trunk: Affine, breadth: float, joints: dict) -> list[Part]:
    """Upper arm, forearm and hand; a clockwise turn lifts the left arm outwards."""
    body, sign, group = identity.body, _SIDES[side], f"{side}_arm"
    shoulder = sign * (body.shoulders - 0.7 * body.arm) * breadth
    upper = trunk.translate(shoulder, 0.045).rotate(-sign * getattr(pose, f"{side}_shoulder"))
    lower = upper.translate(0, body.upper_arm).rotate(-sign * getattr(pose, f"{side}_elbow"))
    hand = lower.translate(0, body.forearm + 0.5 * body.hand)
    for name, place in (("shoulder", upper), ("elbow", lower), ("hand", hand)):
        joints[f"{side}_{name}"] = Joint(place.x0, place.y0, group)
    return [Part("upper_arm", upper, group), Part("forearm", lower, group), Part("hand", hand, group)]


def _leg(identity: Identity, pose: Pose, side: str, trunk: Affine, breadth: float, joints: dict) -> list[Part]:
    body, sign, group = identity.body, _SIDES[side], f"{side}_leg"
    hip = sign * (body.waist - 1.1 * body.leg) * breadth
    thigh = trunk.translate(hip, body.torso).rotate(-sign * getattr(pose, f"{side}_hip") - 0.6 * pose.lean)
    shin = thigh.translate(0, body.thigh).rotate(-sign * getattr(pose, f"{side}_knee"))
    foot = shin.translate(sign * 0.35 * body.foot, body.shin + 0.02)
    for name, place in (("knee", shin), ("foot", foot)):
        joints[f"{side}_{name}"] = Joint(place.x0, place.y0, group)
    return [Part("shin", shin, group), Part("foot", foot, group), Part("thigh", thigh, group)]


class _Skull(NamedTuple):
    """Position of the head's center in the frame, and its rotation in depth."""

    frame: Affine
    rotation: tuple[tuple[float, float, float], ...]
    head: Head

    def card_at(self, x: float, y: float, z: float) -> Affine:
        """A flat card at a point of the head's own space, z towards the viewer, after the rotation."""
        (a, b, c), (d, e, f), _ = self.rotation
        return self.frame.compose(Affine(a, b, a * x + b * y + c * z, d, e, d * x + e * y + f * z))

    def unrotated(self, card: Affine) -> Affine:
        """The frame, not rotated in depth, at the origin of a card."""
        return self.frame._replace(x0=card.x0, y0=card.y0)

    def surface_card(self, u: float, v: float) -> tuple[Affine, float]:
        """A card tangent to the surface, and how much it faces the viewer, 1 to -1.

        Args:
          u: position as a fraction of the half width, seen from the front.
          v: position as a fraction of the half height.
        """
        a, b = self.head.width, self.head.height
        w = math.sqrt(max(1 - u * u - v * v, 1e-4))
        middle = (a * u, b * v, a * w)
        along, down = (1.0, 0.0, -u / w), (0.0, 1.0, -a / b * v / w)
        normal = (u / a, v / b, w / a)
        facing = _dot(self.rotation[2], normal) / math.sqrt(_dot(normal, normal))
        return self._card(middle, along, down), facing

    def ear_card(self, sign: int) -> tuple[Affine, float]:
        """A card on the side of the head (`sign` -1: left), and how much it faces the viewer."""
        middle = (sign * self.head.width, 0.05 * self.head.height, 0.0)
        return self._card(middle, (0.0, 0.0, -sign), (0.0, 1.0, 0.0)), sign * self.rotation[2][0]

    def _card(self, *vectors: tuple[float, float, float]) -> Affine:
        (x, y), (xx, yx), (xy, yy) = ([_dot(row, vector) for row in self.rotation[:2]] for vector in vectors)
        return self.frame.compose(Affine(xx, xy, x, yx, yy, y))


def _dot(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    return sum(a * b for a, b in zip(first, second, strict=True))


def _skull_frame(head: Head, root: Affine, pose: Pose, neck: float) -> _Skull:
    cos, sin, up, tip = (f(angle) for angle in (pose.head_yaw, pose.head_pitch) for f in (math.cos, math.sin))
    rotation = ((cos, 0.0, sin), (tip * sin, up, -tip * cos), (-up * sin, tip, up * cos))
    frame = root.rotate(pose.head_roll).translate(0.12 * head.width * sin, -neck - 0.92 * head.height)
    return _Skull(frame, rotation, head)


def _add_behind(parts: list[Part], head: Head, skull: _Skull, pose: Pose) -> None:
    """Adds the parts behind the head: back hair and ears."""
    a, b = head.width, head.height
    if head.hair in ("bob", "long"):
        parts.append(Part("mane", skull.frame.translate(-0.2 * a * math.sin(pose.head_yaw), 0.0), "head"))
    if head.hair == "tuft":
        for angle in (-0.5, 0.0, 0.5):
            tip = skull.card_at(0.0, -1.05 * b, 0.0)
            parts.append(Part("tuft", tip.rotate(angle).translate(0, -0.1 * a), "head"))
    if head.ears == "none":
        return
    for sign in _SIDES.values():
        if head.ears == "human":
            card = skull.unrotated(skull.card_at(sign * 1.02 * a, 0.05 * b, 0.0))
        else:
            across, tall, tilt = {"round": (0.62, 0.95, 0.4), "pointed": (0.62, 1.0, 0.45), "long": (0.42, 1.15, 0.18)}[
                head.ears
            ]
            squeeze = 0.55 + 0.45 * abs(math.cos(pose.head_yaw))
            card = skull.unrotated(skull.card_at(sign * across * a, -tall * b, 0.0)).rotate(tilt * sign)
            card = card.compose(Affine(xx=squeeze)).translate(0, -0.2 * head.ear * a)
        parts.append(Part("ear", card, "head"))


def _add_head(parts: list[Part], joints: dict[str, Joint], head: Head, skull: _Skull, pose: Pose) -> None:
    index = len(parts) + 1  # of the head without its outline, which clips the parts on it

    def add(sprite: str, card: Affine, inside: int | None = index, facing: float = 1.0) -> int:
        parts.append(Part(sprite, card, "head", inside, facing > _MIN_FACING))
        return len(parts) - 1

    def add_joint(name: str, card: Affine, facing: float) -> None:
        joints[name] = Joint(card.x0, card.y0, "head", facing > _MIN_FACING)

    add("skull", skull.frame, inside=None)
    add("head", skull.frame, inside=None)
    add_joint("head", skull.frame, 1.0)
    if head.hair != "bald":
        # At this depth the far edge of the card stays on the head's outline.
        add("face", skull.card_at(0.0, 0.0, 0.5 * head.width))
    for sign in _SIDES.values() if head.ears == "human" else ():
        card, facing = skull.ear_card(sign)
        add("ear", card, facing=facing)
    if head.muzzle:
        card, facing = skull.surface_card(0.0, 0.45)
        add("muzzle", card, facing=facing)
    for side, sign in _SIDES.items():
        if head.cheeks:
            card, facing = skull.surface_card(sign * 0.58, head.eye_level + 0.36)
            add("cheek", card, facing=facing)
        card, facing = skull.surface_card(sign * head.eye_spacing, head.eye_level)
        add_joint(f"{side}_eye", card, facing)
        eye = add("eye", card.compose(Affine(yy=0.08 + 0.92 * pose.eyes)), facing=facing)
        reach = 1 - 0.8 * head.iris
        iris = card.translate(pose.gaze_x * reach * head.eye, pose.gaze_y * reach * head.eye * head.eye_tall)
        add("iris", iris, inside=eye, facing=facing if pose.eyes > 0.05 else -1.0)
        add("lid", card.translate(0, (0.25 - pose.eyes) * head.eye * head.eye_tall), facing=facing)
        card, facing = skull.surface_card(sign * head.eye_spacing * 1.02, head.eye_level - 0.3 - 0.06 * pose.brows)
        add("brow", card.rotate(sign * 0.2 * pose.brows), facing=facing)
    card, facing = skull.surface_card(0.0, head.mouth_level)
    add_joint("mouth", card, facing)
    card = card.compose(Affine(xx=0.75 + 0.4 * pose.smile, yy=0.3 + 0.95 * pose.mouth))
    mouth = add("mouth", card, facing=facing)
    facing = facing if pose.mouth > 0.1 else -1.0
    throat = add("throat", card, inside=mouth, facing=facing)
    add("teeth", card.translate(0, -0.36 * head.mouth), inside=throat, facing=facing)
    card, facing = skull.surface_card(0.0, 0.5 * (head.eye_level + head.mouth_level) - 0.04)
    add_joint("nose", card, facing)
    # A ball: it does not narrow with the rotation and may extend beyond the head's outline.
    add("nose", skull.unrotated(card), inside=None, facing=facing)

"""Motions: poses along smooth B-splines, all from one seed, independent of the identity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Pose(NamedTuple):
    """Pose of any puppet; angles in radians, x to the right and y down.

    Attributes:
      x, y: position of the neck's base, in [-1, 1].
      scale: size of the figure.
      roll: of the whole figure; all rolls are clockwise.
      lean: of the torso relative to the figure.
      body_yaw: of the torso, positive towards the right of the image.
      head_yaw, head_pitch, head_roll: of the head; pitch is positive up.
      eyes: opening, 0 to 1.
      gaze_x, gaze_y: position of the irises, -1 to 1.
      mouth: opening, 0 to 1.
      smile: width of the mouth, 0 to 1.
      brows: height, -1 to 1.
      left_shoulder, right_shoulder: angle between upper arm and body; 0 hangs down.
      left_elbow, right_elbow: angle between forearm and upper arm; positive in the same direction as the shoulder's.
      left_hip, right_hip, left_knee, right_knee: the same for thigh and shin.
      left_before, right_before: 1 for an arm in front of the body, 0 for one behind it; constant in a clip.
      pan_x, pan_y: position of the background's center, as a fraction of the frame, up to 0.2.
      zoom: of the background, at least 1.
    """

    x: float = 0.0
    y: float = -0.12
    scale: float = 1.0
    roll: float = 0.0
    lean: float = 0.0
    body_yaw: float = 0.0
    head_yaw: float = 0.0
    head_pitch: float = 0.0
    head_roll: float = 0.0
    eyes: float = 1.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    mouth: float = 0.3
    smile: float = 0.5
    brows: float = 0.0
    left_shoulder: float = 0.35
    right_shoulder: float = 0.35
    left_elbow: float = 0.1
    right_elbow: float = 0.1
    left_hip: float = 0.08
    right_hip: float = 0.08
    left_knee: float = 0.0
    right_knee: float = 0.0
    left_before: float = 1.0
    right_before: float = 1.0
    pan_x: float = 0.0
    pan_y: float = 0.0
    zoom: float = 1.0


class _Framing(NamedTuple):
    """The visible part of the puppet, as limits of its pose.

    Attributes:
      rest: pose for zero motion.
      low, high: minimum and maximum of each value; a B-spline stays within its control points.
    """

    rest: Pose
    low: Pose
    high: Pose


_FIGURE = _Framing(
    rest=Pose(),
    low=Pose(
        x=-0.28, y=-0.27, scale=0.85, roll=-0.24, lean=-0.3, body_yaw=-0.9, head_yaw=-1.25, head_pitch=-0.4,
        head_roll=-0.4, eyes=0.0, gaze_x=-1.0, gaze_y=-0.7, mouth=0.0, smile=0.0, brows=-1.0, left_shoulder=-0.1,
        right_shoulder=-0.1, left_elbow=-1.9, right_elbow=-1.9, left_hip=-0.2, right_hip=-0.2, left_knee=-0.9,
        right_knee=-0.9, left_before=0.0, right_before=0.0, pan_x=-0.05, pan_y=-0.04, zoom=1.0,
    ),
    high=Pose(
        x=0.28, y=0.0, scale=1.17, roll=0.24, lean=0.3, body_yaw=0.9, head_yaw=1.25, head_pitch=0.35,
        head_roll=0.4, eyes=1.0, gaze_x=1.0, gaze_y=0.7, mouth=1.0, smile=1.0, brows=1.0, left_shoulder=2.5,
        right_shoulder=2.5, left_elbow=1.2, right_elbow=1.2, left_hip=0.7, right_hip=0.7, left_knee=0.2,
        right_knee=0.2, left_before=1.0, right_before=1.0, pan_x=0.05, pan_y=0.04, zoom=1.06,
    ),
)  # fmt: skip
# Head and shoulders: a talking face that fills the frame.
_BUST = _Framing(
    rest=Pose(y=0.55, scale=1.75),
    low=_FIGURE.low._replace(x=-0.2, y=0.46, scale=1.55, left_elbow=-1.2, right_elbow=-1.2),
    high=_FIGURE.high._replace(x=0.2, y=0.68, scale=1.85, left_shoulder=1.3, right_shoulder=1.3),
)
# The same, mostly facing the viewer, arms down: a head that moves and tilts, with fewer disocclusions.
_PORTRAIT = _Framing(
    rest=_BUST.rest,
    low=_BUST.low._replace(
        x=-0.3, y=0.4, scale=1.4, roll=-0.35, body_yaw=-0.4, head_yaw=-0.6, left_elbow=-0.3, right_elbow=-0.3
    ),
    high=_BUST.high._replace(
        x=0.3, y=0.7, scale=1.85, roll=0.35, body_yaw=0.4, head_yaw=0.6, left_shoulder=0.3, right_shoulder=0.3,
        left_elbow=0.3, right_elbow=0.3,
    ),
)  # fmt: skip
_BUST_PROBABILITY = 0.3
_STATIC_BACKGROUND_PROBABILITY = 0.5
# Frames per spline segment, and the minimum number of segments.
_FRAMES_PER_SEGMENT = 8
_MIN_SEGMENTS = 5
_ARMS = ("left_before", "right_before")
_CAMERA = ("pan_x", "pan_y", "zoom")
_BEFORE_PROBABILITY = 0.75
_BLINK_PROBABILITY = 0.2


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
    before = generator.random(len(_ARMS)) < _BEFORE_PROBABILITY
    rest, low, high = np.array(framing)
    values = rest + amount * (spline(low + (high - low) * controls, frames) - rest)
    # Eyes are mostly open and closed for a moment: the spline exceeds the range and is clipped.
    values[:, Pose._fields.index("eyes")] = np.clip(spline(np.where(blinks, -0.8, 1.4)[:, None], frames)[:, 0], 0, 1)
    for name, flag in zip(_ARMS, before, strict=True):
        values[:, Pose._fields.index(name)] = flag
    for name in _CAMERA if is_static else ():
        values[:, Pose._fields.index(name)] = getattr(framing.rest, name)
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

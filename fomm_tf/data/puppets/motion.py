"""How a puppet moves: poses along smooth B-splines, all from one seed, the same for every identity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Pose(NamedTuple):
    """One moment of any puppet; angles in radians, the image's x to the right and y down.

    Attributes:
      x, y: the neck's base in the frame, in [-1, 1].
      scale: size of the figure.
      roll: of the whole figure, clockwise as all rolls.
      lean: of the torso against the figure.
      body_yaw: turn of the torso, positive towards the right of the image.
      head_yaw, head_pitch, head_roll: turn, nod (positive up) and tilt of the head.
      eyes: opening, 0 to 1.
      gaze_x, gaze_y: where the irises are, -1 to 1.
      mouth: opening, 0 to 1.
      smile: width of the mouth, 0 to 1.
      brows: raised by, -1 to 1.
      left_shoulder, right_shoulder: of the upper arm away from the body; 0 hangs down.
      left_elbow, right_elbow: of the forearm against the upper arm; positive goes on in the shoulder's sense.
      left_hip, right_hip, left_knee, right_knee: likewise of thigh and shin.
      left_before, right_before: 1 for an arm before the body, 0 for one behind it; constant in a clip.
      pan_x, pan_y: where the background's middle is, as a share of the frame, up to 0.2 either way.
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
    """What of the puppet the frame shows.

    Attributes:
      rest: the pose that less motion is nearer to.
      low, high: the least and the greatest of each value; a B-spline stays within its controls.
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
# The same, mostly facing us, arms down: a head that goes about and tilts, with less that comes into sight or goes.
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
_SHARE_OF_BUSTS = 0.3
_SHARE_OF_STILL_BACKGROUNDS = 0.5
# A clip has a control value every so many frames, and at least so many stretches between them.
_FRAMES_A_CONTROL = 8
_LEAST_STRETCHES = 5
_ARMS = ("left_before", "right_before")
_CAMERA = ("pan_x", "pan_y", "zoom")
_BEFORE = 0.75
_BLINK = 0.2


def sample_motion(seed: int, frames: int, amount: float = 1.0, portrait: bool = False) -> list[Pose]:
    """The motion of a seed.

    A short clip moves faster, so that any two frames of a clip, however short, are expected to differ as much.

    Args:
      seed: any integer from 0; another one is another motion.
      frames: how many poses, at least 1.
      amount: 1 for all of it, less for poses that much nearer to `Pose()`; the eyes blink as ever.
      portrait: head and shoulders, mostly facing us, before a still background, whatever the seed says.
    """
    generator = np.random.default_rng(seed)
    framing = _BUST if generator.random() < _SHARE_OF_BUSTS else _FIGURE
    still = generator.random() < _SHARE_OF_STILL_BACKGROUNDS
    if portrait:
        framing, still = _PORTRAIT, True
    stretches = max(_LEAST_STRETCHES, round(frames / _FRAMES_A_CONTROL))
    # Beta: more often near the ends of the range than uniform, since splines average their controls.
    controls = generator.beta(0.5, 0.5, (stretches + 3, len(Pose._fields)))
    blinks = generator.random(stretches + 3) < _BLINK
    before = generator.random(len(_ARMS)) < _BEFORE
    rest, low, high = np.array(framing)
    values = rest + amount * (spline(low + (high - low) * controls, frames) - rest)
    # An eye is mostly open, and shut for a moment: the spline goes over the top.
    values[:, Pose._fields.index("eyes")] = np.clip(spline(np.where(blinks, -0.8, 1.4)[:, None], frames)[:, 0], 0, 1)
    for name, flag in zip(_ARMS, before, strict=True):
        values[:, Pose._fields.index(name)] = flag
    for name in _CAMERA if still else ():
        values[:, Pose._fields.index(name)] = getattr(framing.rest, name)
    return [Pose(*row) for row in values.tolist()]


def spline(controls: np.ndarray, count: int) -> np.ndarray:
    """Points of a uniform cubic B-spline, from its start to its end.

    Args:
      controls: `[N, D]`, N at least 4.
      count: how many points.

    Returns:
      `[count, D]` float64, each a convex combination of four neighboring controls.
    """
    stretches = len(controls) - 3
    place = np.linspace(0, stretches, count)
    first = np.minimum(place.astype(int), stretches - 1)
    t = (place - first)[:, None]
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    return sum(weight * controls[first + i] for i, weight in enumerate(weights)) / 6

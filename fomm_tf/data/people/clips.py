"""A clip: who, how they move, and the scene, from three seeds; its frames and the truth about them.

Convention: positions are (x, y), x to the right, y down; -1 and 1 are the centers of the first and last pixel, as in
`fomm_tf.ops.grid`. Left and right are the person's. Head angles are in degrees: yaw is positive when the head turns to
the person's left (to the right in the image), pitch when it looks down, roll when the crown moves to the left in the
image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fomm_tf import errors
from fomm_tf.data.people import assets, draw, motion, person, scene, sensor

LEAST_SIDE = 32
_FACE = 0.5


class Clip(NamedTuple):
    """What a clip is drawn from.

    Attributes:
      identity_seed: who.
      motion_seed: how they move.
      scene_seed: light, camera, background.
      framing: one of `scene.FRAMINGS`.
      frames: how many.
      step: 25ths of a second from one frame to the next.
      size: side of the frames in pixels.
      amount: of head and body motion, above 0 to 1.
      still: no movement of the camera.
    """

    identity_seed: int
    motion_seed: int
    scene_seed: int
    framing: str = "talking"
    frames: int = 16
    step: int = 1
    size: int = 64
    amount: float = 1.0
    still: bool = False


class Truth(NamedTuple):
    """What is known about one frame.

    Attributes:
      landmarks: `[L, 2]` float32, in the order of `landmark_names()`.
      angles: `[3]` float32: the head's (yaw, pitch, roll) in degrees.
      mouth: gap between the lips as a share of the distance between the eyes.
      eyes: `[2]` float32: closure of the left and right eye, 0 open at rest to 1 closed.
      gaze: `[2]` float32: to the person's left and up, -1 to 1.
    """

    landmarks: np.ndarray
    angles: np.ndarray
    mouth: float
    eyes: np.ndarray
    gaze: np.ndarray


class Frame(NamedTuple):
    """One frame.

    Attributes:
      image: `[S, S, 3]` uint8 RGB.
      face: `[S, S]` bool: the face's skin, eyes, and mouth.
      person: `[S, S]` bool: everything but the background.
      truth: what is known.
    """

    image: np.ndarray
    face: np.ndarray
    person: np.ndarray
    truth: Truth


def landmark_names() -> tuple[str, ...]:
    """The names of the landmarks, in the order of `Truth.landmarks`."""
    return tuple(assets.load().landmarks)


def render(clip: Clip) -> Iterator[Frame]:
    """Draws the frames of a clip, one after another.

    Raises:
      UserError: if the framing is unknown or the size is below 32.
    """
    if clip.framing not in scene.FRAMINGS:
        raise errors.UserError(f"framing is {clip.framing!r}; it must be one of {', '.join(scene.FRAMINGS)}.")
    if clip.size < LEAST_SIDE:
        raise errors.UserError(f"size is {clip.size}; a person needs at least {LEAST_SIDE} pixels a side.")
    whole = clip.framing == "figure"
    somebody = person.sample_person(clip.identity_seed, whole, texture_width=512 if clip.size <= 96 else 768)
    moves = motion.sample_motion(clip.motion_seed, clip.frames, clip.step, clip.amount, whole)
    place = scene.sample_scene(clip.scene_seed, clip.framing, clip.frames, clip.size, clip.step, clip.still)
    posed = [
        person.pose(somebody, moves.units[frame], moves.rotations[frame], moves.shift[frame])
        for frame in range(clip.frames)
    ]
    target = _find_middle([vertices for vertices, _ in posed], clip.framing)
    rest = _measure_lids(somebody.vertices, np.array([0.0, 1.0, 0.0]))
    neutral, _ = person.pose(somebody, 0 * moves.units[0], 0 * moves.rotations[0], 0 * moves.shift[0])
    face = assets.load().landmarks["nose_bridge"]
    close = scene.Camera(np.float32([*neutral[face][:2] - (0, 0.2), place.distance]), place.distance / 1.2)
    exposure = draw.measure_exposure(somebody, neutral, close, place)
    for frame, (vertices, head) in enumerate(posed):
        camera = scene.aim(place, target, frame)
        drawing = draw.draw(somebody, vertices, camera, place, scene.background_of(place, frame, clip.size), exposure)
        noise = np.random.default_rng([clip.scene_seed, 97, frame])
        truth = _measure(vertices, head, camera, clip.size, rest, moves.gaze[frame])
        yield Frame(sensor.expose(drawing.image, place, noise), drawing.face > _FACE, drawing.person > _FACE, truth)


def _find_middle(posed: list[np.ndarray], framing: str) -> np.ndarray:
    """What the camera aims at: the middle of all places of the face in the clip, as a crop around a face has it."""
    human = assets.load()
    if framing == "figure":
        body = np.stack([vertices[: len(human.vertices)].mean(axis=0) for vertices in posed]).mean(axis=0)
        return np.float32([body[0], body[1] - 1.8, 0])
    parts = [human.landmarks[name] for name in ("nose_bridge", "left_ear", "right_ear", "chin", "nose_tip")]
    face = np.stack([vertices[parts].mean(axis=0) for vertices in posed])
    middle = (face.max(axis=0) + face.min(axis=0)) / 2
    return (middle + np.float32([0, -0.6 if framing == "portrait" else 0.05, 0])).astype(np.float32)


def _measure_lids(vertices: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Height of the gap between the lids along the head's `up`, `[2]`; negative where they overlap."""
    marks = assets.load().landmarks
    gaps = [vertices[marks[f"{side}_upper_lid"]] - vertices[marks[f"{side}_lower_lid"]] for side in ("left", "right")]
    return np.array(gaps) @ up


def _measure(vertices, head, camera, size, rest, gaze) -> Truth:
    marks = assets.load().landmarks
    edges = draw.project(camera, vertices[list(marks.values())])
    # From the frame's edges at -1 and 1 to pixel centers.
    positions = edges * size / (size - 1)
    forward, up = head[:, 2], head[:, 1]
    yaw = np.degrees(np.arctan2(forward[0], forward[2]))
    pitch = np.degrees(np.arcsin(np.clip(-forward[1], -1, 1)))
    roll = np.degrees(np.arctan2(-up[0], up[1]))
    gap = np.linalg.norm(vertices[marks["upper_lip"]] - vertices[marks["lower_lip"]])
    eyes = [
        (vertices[marks[f"{side}_inner_eye"]] + vertices[marks[f"{side}_outer_eye"]]) / 2 for side in ("left", "right")
    ]
    closure = np.clip(1 - _measure_lids(vertices, up) / rest, -1, 1)
    return Truth(
        positions.astype(np.float32),
        np.float32([yaw, pitch, roll]),
        float(gap / np.linalg.norm(eyes[0] - eyes[1])),
        closure.astype(np.float32),
        gaze,
    )

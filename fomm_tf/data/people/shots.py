"""What a clip shows before it is drawn: the person's pose and the camera of each frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fomm_tf import errors
from fomm_tf.data.people import body, motion, person, scene
from fomm_tf.data.people.person import Person
from fomm_tf.data.people.scene import Camera, Scene

MIN_SIDE = 32


class Clip(NamedTuple):
    """Parameters of a clip.

    Attributes:
      identity_seed: of the person.
      motion_seed: of the motion.
      scene_seed: of light, camera, and background.
      framing: one of `scene.FRAMINGS`.
      frames: number of frames.
      step: 25ths of a second between frames.
      size: side of the frames in pixels.
      amount: of head and body motion, above 0 and at most 1.
      still: whether the camera does not move.
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


class Shot(NamedTuple):
    """A clip before it is drawn.

    Attributes:
      person: the identity.
      motion: its motion.
      scene: light, camera, and background.
      vertices: of each of the T frames, `[V, 3]` float32.
      heads: orientation of the head in each frame, `[3, 3]` float32.
      cameras: of each frame.
    """

    person: Person
    motion: motion.Motion
    scene: Scene
    vertices: list[np.ndarray]
    heads: list[np.ndarray]
    cameras: list[Camera]


def prepare(clip: Clip) -> Shot:
    """Poses the person and aims the camera in each frame of a clip.

    Raises:
      UserError: if the framing is unknown or the size is below 32.
    """
    if clip.framing not in scene.FRAMINGS:
        raise errors.UserError(f"`framing` must be one of {', '.join(scene.FRAMINGS)}; got {clip.framing!r}.")
    if clip.size < MIN_SIDE:
        raise errors.UserError(f"`size` must be at least {MIN_SIDE}; got {clip.size}.")
    whole = clip.framing == "figure"
    subject = person.sample_person(clip.identity_seed, whole, texture_width=512 if clip.size <= 96 else 768)
    moves = motion.sample_motion(clip.motion_seed, clip.frames, clip.step, clip.amount, whole)
    place = scene.sample_scene(clip.scene_seed, clip.framing, clip.frames, clip.size, clip.step, clip.still)
    posed = [person.pose(subject, *values) for values in zip(moves.units, moves.rotations, moves.shift, strict=True)]
    vertices, heads = ([pose[part] for pose in posed] for part in (0, 1))
    target = _find_middle(vertices, clip.framing)
    cameras = [scene.aim(place, target, frame) for frame in range(clip.frames)]
    return Shot(subject, moves, place, vertices, heads, cameras)


def _find_middle(posed: list[np.ndarray], framing: str) -> np.ndarray:
    """The point that the camera aims at: the middle of all positions of the face in the clip, as in a crop of it."""
    human = body.load()
    if framing == "figure":
        middle = np.stack([vertices[: len(human.vertices)].mean(axis=0) for vertices in posed]).mean(axis=0)
        return np.float32([middle[0], middle[1] - 1.8, 0])
    parts = [human.landmarks[name] for name in ("nose_bridge", "left_ear", "right_ear", "chin", "nose_tip")]
    face = np.stack([vertices[parts].mean(axis=0) for vertices in posed])
    middle = (face.max(axis=0) + face.min(axis=0)) / 2
    return (middle + np.float32([0, -0.6 if framing == "portrait" else 0.05, 0])).astype(np.float32)


def project(camera: Camera, points: np.ndarray) -> np.ndarray:
    """`[N, 2]` (x, y) in the frame, x right, y down, -1 and 1 at the frame's EDGES, of points `[N, 3]`."""
    depth = camera.position[2] - points[:, 2]
    across = camera.focal * (points[:, :2] - camera.position[:2]) / depth[:, None]
    return across * np.float32([1, -1])


def rays_through(camera: Camera, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Origins and directions, `[N, 3]` each, of the rays of N points of the frame, (x, y up), -1 and 1 at its edges."""
    directions = np.stack([x / camera.focal, y / camera.focal, -np.ones_like(x)], axis=-1)
    return np.broadcast_to(camera.position, directions.shape), directions

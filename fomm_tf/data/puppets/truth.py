"""Ground truth of drawn frames: joints, dense flow, true animations, and how difficult clips are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from fomm_tf.data.puppets import drawing
from fomm_tf.data.puppets.figure import JOINTS
from fomm_tf.data.puppets.identity import Identity, sample_identity
from fomm_tf.data.puppets.motion import Pose
from fomm_tf.opencv import cv2

# The statistics hardly depend on the frame size, so that small frames are measured.
_SIDE = 64
_IDENTITY_SIDE = 32


class Labels(NamedTuple):
    """Positions of `JOINTS` in one frame.

    Attributes:
      value: `[J, 2]` float32 (x, y); -1 and 1 are the centers of the first and the last pixel, as in `fomm_tf.ops`.
      visible: `[J]` bool: in the frame, facing the viewer and not hidden by another part of the body.
    """

    value: np.ndarray
    visible: np.ndarray


class Flow(NamedTuple):
    """Dense flow: where the pixels of one frame come from in another.

    Attributes:
      grid: `[H, W, 2]` float32 (x, y), absolute positions in the units of `fomm_tf.ops.grid`, so that
        `backward_warp(frame_from, grid)` is `frame_to` where `visible` and not `edge`. Defined for every pixel,
        including surfaces that are hidden in the other frame.
      visible: `[H, W]` bool: whether the surface point at the pixel's center is visible in the other frame too. If it
        is hidden, turned away or outside of the frame there, the pixel is disoccluded.
      edge: `[H, W]` bool: whether the pixel mixes two surfaces with different motion, in this frame or at its position
        in the other frame, so that its color has no single origin: the flow of the pixel or of one of its four
        neighbors jumps by more than a pixel.
    """

    grid: np.ndarray
    visible: np.ndarray
    edge: np.ndarray


class Transfer(NamedTuple):
    """The true animation of an image by a clip of another character.

    Attributes:
      source: `[H, W, 3]` uint8, the identity to animate, in the pose of the first driving frame, as relative transfer
        assumes.
      driving: `[F, H, W, 3]` uint8, another identity.
      expected: `[F, H, W, 3]` uint8, the first identity in the poses of the driving frames; the first is `source`.
    """

    source: np.ndarray
    driving: np.ndarray
    expected: np.ndarray


def label(identity: Identity, pose: Pose, size: tuple[int, int] | int) -> Labels:
    """Positions of the joints in the frame that `draw` returns for the same arguments.

    Raises:
      UserError: if the size is below 32.
    """
    scene = drawing.set_scene(identity, pose, size)
    joints = [scene.joints[name] for name in JOINTS]
    x, y = (np.array([[getattr(joint, axis) for joint in joints]]) for axis in "xy")
    shown = drawing.find_visible_parts(scene, x, y)[0]
    faces = [
        joint.faces and scene.parts[index].group == joint.group for joint, index in zip(joints, shown, strict=True)
    ]
    value = np.stack(scene.normalize(x[0], y[0]), axis=-1).astype(np.float32)
    return Labels(value, scene.contains(x, y)[0] & faces)


def flow(identity: Identity, from_pose: Pose, to_pose: Pose, size: tuple[int, int] | int) -> Flow:
    """The dense flow between two frames of an identity.

    Args:
      identity: the character.
      from_pose: pose in the frame that is sampled.
      to_pose: pose in the frame that results.
      size: `(H, W)`, or the side of a square; at least 32.

    Raises:
      UserError: if the size is below 32.
    """
    start, end = (drawing.set_scene(identity, pose, size) for pose in (from_pose, to_pose))
    x, y, expected = _trace(end, start)
    visible = start.contains(x, y) & (drawing.find_visible_parts(start, x, y) == expected)
    back_x, back_y, _ = _trace(start, end)
    mixed = _find_jumps(start, back_x, back_y).astype(np.float32)
    read_mixed = cv2.remap(mixed, *(place.astype(np.float32) for place in start.to_pixels(x, y)), cv2.INTER_LINEAR) > 0
    grid = np.stack(start.normalize(x, y), axis=-1).astype(np.float32)
    return Flow(grid, visible, read_mixed | _find_jumps(end, x, y))


def draw_transfer(
    identity: Identity, driving: Identity, poses: Sequence[Pose], size: tuple[int, int] | int
) -> Transfer:
    """The ideal animation of an identity's image by a clip of another identity.

    Motion is transferred as angles and positions in the frame: a limb of another length has the same angle and another
    end point. This is the truth of relative transfer up to the proportions of the two identities.

    Args:
      identity: the character to animate.
      driving: the character of the driving clip.
      poses: of the clip.
      size: `(H, W)`, or the side of a square; at least 32.

    Raises:
      UserError: if the size is below 32.
    """
    clips = [np.stack([drawing.draw(who, pose, size) for pose in poses]) for who in (driving, identity)]
    return Transfer(clips[1][0], *clips)


def _trace(scene: drawing.Scene, other: drawing.Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each pixel of a scene, the position of its surface in another scene, in figure units, and its part there."""
    x, y = scene.pixel_centers()
    shown = drawing.find_visible_parts(scene, x, y)
    numbers = {(part.sprite, part.which): number for number, part in enumerate(other.parts)}
    expected = np.empty_like(shown)
    for index in np.unique(shown):
        part, mine = scene.parts[index], shown == index
        number = numbers[part.sprite, part.which]
        x[mine], y[mine] = other.parts[number].place.of(part.place.inverse()).at(x[mine], y[mine])
        expected[mine] = number
    return x, y, expected


def _find_jumps(scene: drawing.Scene, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Marks pixels next to a discontinuity of the flow of more than a pixel."""
    pixels = np.stack([place * scene.unit for place in (x, y)], axis=-1)
    along = np.linalg.norm(np.diff(pixels, axis=1) - (1, 0), axis=-1) > 1
    down = np.linalg.norm(np.diff(pixels, axis=0) - (0, 1), axis=-1) > 1
    jumps = np.zeros(x.shape, bool)
    for part, jump in (
        (jumps[:, 1:], along),
        (jumps[:, :-1], along),
        (jumps[1:], down),
        (jumps[:-1], down),
    ):
        part |= jump
    return jumps


class Difficulty(NamedTuple):
    """Mean statistics of pairs of different frames of a clip.

    Attributes:
      motion: distance that a joint visible in both frames moves, as a fraction of the frame's shorter side.
      disoccluded: fraction of a frame's pixels whose surface is not visible in the other frame.
    """

    motion: float
    disoccluded: float


def measure_clip(
    identity: Identity, poses: Sequence[Pose], size: tuple[int, int], seed: int, pairs: int = 2
) -> Difficulty:
    """Measures the difficulty of a few random pairs of frames.

    Args:
      identity: the character.
      poses: of the clip, at least two.
      size: `(H, W)`; frames are measured at this aspect ratio, with at most 64 pixels on the shorter side.
      seed: of the random pairs.
      pairs: number of pairs.
    """
    generator = np.random.default_rng(seed)
    size = tuple(round(side * min(1, _SIDE / min(size))) for side in size)
    measured = []
    for _ in range(pairs):
        first, second = (poses[number] for number in generator.choice(len(poses), 2, replace=False))
        before, after = (label(identity, pose, size) for pose in (first, second))
        moves = (after.value - before.value) * (np.array(size[::-1]) - 1) / 2 / min(size)
        seen = before.visible & after.visible
        distance = np.linalg.norm(moves[seen if seen.any() else ...], axis=-1).mean()
        measured.append((distance, 1 - flow(identity, first, second, size).visible.mean()))
    return Difficulty(*np.mean(measured, axis=0).tolist())


def measure_nearest(identities: Iterable[Identity]) -> float:
    """The difference of the two most similar identities.

    Args:
      identities: at least two; each is drawn at 32 pixels in the rest pose before the same background.

    Returns:
      The mean difference of their images in gray levels, over the whole frame, of which a figure covers a quarter.
    """
    reference = sample_identity(0)
    background = {"background_kind": reference.background_kind, "background": reference.background}
    images = np.array(
        [drawing.draw(identity._replace(**background), Pose(), _IDENTITY_SIDE).ravel() for identity in identities],
        np.int16,
    )
    rows = enumerate(images[:-1], start=1)
    return float(min(np.abs(images[number:] - image).mean(axis=1).min() for number, image in rows))

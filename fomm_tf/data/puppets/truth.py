"""What is known about drawn frames: joints, where each pixel comes from in another frame, true animations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fomm_tf.data.puppets import drawing
from fomm_tf.data.puppets import scene as scenes
from fomm_tf.data.puppets.figure import JOINTS
from fomm_tf.data.puppets.identity import Identity
from fomm_tf.data.puppets.motion import Pose
from fomm_tf.data.puppets.scene import Scene
from fomm_tf.opencv import cv2


class Labels(NamedTuple):
    """Where the joints of `JOINTS` are in one frame.

    Attributes:
      value: `[J, 2]` float32 (x, y); -1 and 1 are the centers of the first and the last pixel, as in `fomm_tf.ops`.
      visible: `[J]` bool: in the frame, turned to the viewer and behind no other part of the body.
    """

    value: np.ndarray
    visible: np.ndarray


class Flow(NamedTuple):
    """Where the pixels of one frame come from in another.

    Attributes:
      grid: `[H, W, 2]` float32 (x, y), absolute places in the units of `fomm_tf.ops.grid`, so that
        `backward_warp(frame_from, grid)` is `frame_to` where `visible` and not `edge`. Known for every pixel: also for
        a surface that is hidden in the other frame.
      visible: `[H, W]` bool: the point of a surface at the pixel's center shows in the other frame too. False where it
        is hidden there, turned away or out of the frame: disoccluded.
      edge: `[H, W]` bool: the pixel mixes two surfaces that move differently, in this frame or where it is read in the
        other one, so that no single place gives its color: it or one of its four neighbors comes from more than a
        pixel beside where its neighbor comes from.
    """

    grid: np.ndarray
    visible: np.ndarray
    edge: np.ndarray


class Transfer(NamedTuple):
    """The true animation of an image by a clip of somebody else.

    Attributes:
      source: `[H, W, 3]` uint8, the identity to animate, in the pose of the first driving frame, as relative transfer
        presumes.
      driving: `[F, H, W, 3]` uint8, another identity.
      expected: `[F, H, W, 3]` uint8, the first identity in the poses of the driving frames; the first is `source`.
    """

    source: np.ndarray
    driving: np.ndarray
    expected: np.ndarray


def label(identity: Identity, pose: Pose, size: tuple[int, int] | int) -> Labels:
    """Where the joints are in what `draw` gives for the same arguments.

    Raises:
      UserError: if the size is below 32.
    """
    scene = scenes.set_scene(identity, pose, size)
    joints = [scene.joints[name] for name in JOINTS]
    x, y = (np.array([[getattr(joint, axis) for joint in joints]]) for axis in "xy")
    shown = scenes.find_shown(scene, x, y)[0]
    faces = [
        joint.faces and scene.parts[index].group == joint.group for joint, index in zip(joints, shown, strict=True)
    ]
    value = np.stack(scene.normalize(x[0], y[0]), axis=-1).astype(np.float32)
    return Labels(value, scene.contains(x, y)[0] & faces)


def flow(identity: Identity, from_pose: Pose, to_pose: Pose, size: tuple[int, int] | int) -> Flow:
    """The dense flow between two frames of an identity, as `draw` gives them.

    Args:
      identity: who.
      from_pose: of the frame that is read.
      to_pose: of the frame that is to come out.
      size: `(H, W)`, or the side of a square; at least 32.

    Raises:
      UserError: if the size is below 32.
    """
    start, end = (scenes.set_scene(identity, pose, size) for pose in (from_pose, to_pose))
    x, y, expected = _trace(end, start)
    visible = start.contains(x, y) & (scenes.find_shown(start, x, y) == expected)
    back_x, back_y, _ = _trace(start, end)
    mixed = _find_jumps(start, back_x, back_y).astype(np.float32)
    read_mixed = cv2.remap(mixed, *(place.astype(np.float32) for place in start.to_pixels(x, y)), cv2.INTER_LINEAR) > 0
    grid = np.stack(start.normalize(x, y), axis=-1).astype(np.float32)
    return Flow(grid, visible, read_mixed | _find_jumps(end, x, y))


def draw_transfer(
    identity: Identity, driving: Identity, poses: Sequence[Pose], size: tuple[int, int] | int
) -> Transfer:
    """What a perfect model makes of an identity's image and somebody else's clip.

    The motion carries over as angles and places in the frame, so a limb of another length turns alike and ends
    elsewhere: the truth of relative transfer up to the two identities' proportions.

    Args:
      identity: who is animated.
      driving: whose clip drives.
      poses: of the clip.
      size: `(H, W)`, or the side of a square; at least 32.

    Raises:
      UserError: if the size is below 32.
    """
    clips = [np.stack([drawing.draw(who, pose, size) for pose in poses]) for who in (driving, identity)]
    return Transfer(clips[1][0], *clips)


def _trace(scene: Scene, other: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each pixel of a scene the place of its surface in another one, in figure units, and the part there."""
    x, y = scene.pixel_centers()
    shown = scenes.find_shown(scene, x, y)
    numbers = {(part.sprite, part.which): number for number, part in enumerate(other.parts)}
    expected = np.empty_like(shown)
    for index in np.unique(shown):
        part, mine = scene.parts[index], shown == index
        number = numbers[part.sprite, part.which]
        x[mine], y[mine] = other.parts[number].place.of(part.place.inverse()).at(x[mine], y[mine])
        expected[mine] = number
    return x, y, expected


def _find_jumps(scene: Scene, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The pixels on either side of a jump of more than a pixel between neighbors of a flow."""
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

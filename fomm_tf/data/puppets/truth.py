"""What is known about a drawn frame: where its joints are, and where each pixel comes from in another frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fomm_tf.data.puppets import scene as scenes
from fomm_tf.data.puppets.figure import JOINTS
from fomm_tf.data.puppets.identity import Identity
from fomm_tf.data.puppets.motion import Pose


class Labels(NamedTuple):
    """Where the joints of `JOINTS` are in one frame.

    Attributes:
      value: `[J, 2]` float32 (x, y); -1 and 1 are the centres of the first and the last pixel, as in `fomm_tf.ops`.
      visible: `[J]` bool: in the frame, turned to the viewer and behind no other part of the body.
    """

    value: np.ndarray
    visible: np.ndarray


class Flow(NamedTuple):
    """Where the pixels of one frame come from in another.

    Attributes:
      grid: `[H, W, 2]` float32 (x, y), absolute places in the units of `fomm_tf.ops.grid`, so that
        `backward_warp(frame_from, grid)` is `frame_to` wherever `visible`.
      visible: `[H, W]` bool: the point of a surface at the pixel's centre shows in the other frame too. False where it
        is hidden there, turned away or out of the frame: disoccluded.
    """

    grid: np.ndarray
    visible: np.ndarray


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
    value = np.stack(scene.normalise(x[0], y[0]), axis=-1).astype(np.float32)
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
    x, y = ((np.arange(size) + 0.5 - size / 2) / end.unit for size in (end.width, end.height))
    x, y = np.meshgrid(x, y)
    shown = scenes.find_shown(end, x, y)
    numbers = {(part.sprite, part.which): number for number, part in enumerate(start.parts)}
    from_x, from_y, expected = np.empty_like(x), np.empty_like(y), np.empty_like(shown)
    for index in np.unique(shown):
        part = end.parts[index]
        number = numbers[part.sprite, part.which]
        mine = shown == index
        from_x[mine], from_y[mine] = start.parts[number].place.of(part.place.inverse()).at(x[mine], y[mine])
        expected[mine] = number
    visible = start.contains(from_x, from_y) & (scenes.find_shown(start, from_x, from_y) == expected)
    return Flow(np.stack(start.normalise(from_x, from_y), axis=-1).astype(np.float32), visible)

"""Puppets: synthetic articulated characters, drawn from seeds, to train and evaluate a model without real videos.

    python -m fomm_tf.data.puppets --out data/puppets --identities 100 --clips 4 --frames 64 --size 64 --seed 0

    identity = puppets.sample_identity(7)             # proportions, colors, textures, hair, background
    for pose in puppets.sample_motion(3, frames=64):  # a pose fits every identity
        frame = puppets.draw(identity, pose, 64)      # [64, 64, 3] uint8
        labels = puppets.label(identity, pose, 64)    # joints in [-1, 1] and whether they are visible
    flow = puppets.flow(identity, before, after, 64)  # warp.backward_warp(frame before, flow.grid) is the frame after
    puppets.draw_transfer(other, identity, poses, 64) # an image, a driving clip, and the true animation

Convention:
  * the same seeds give the same bytes (with the same versions of this package, NumPy and OpenCV);
  * positions are (x, y), x to the right, y down; -1 and 1 are the centers of the first and the last pixel, as in
    `fomm_tf.ops.grid`; left and right are the viewer's;
  * motion does not depend on the identity: `draw(other, pose)` is the true animation of another character.

Each part of an identity is drawn and shaded once, as a flat sprite; a frame is made of these sprites, each transformed
by one affine map, composited from back to front. So a turned head hides its far eye, an arm hides the body behind it,
shading and texture move with their surface, and the dense flow between any two frames is known. In 30 % of the motions
the frame shows head and shoulders, in the others the whole figure; in half of them the background pans and zooms.

Limitations: the head turns in depth, but limbs only in the plane; whether an arm is in front of the body is fixed
within a clip.
"""

from fomm_tf.data.puppets.drawing import MIN_SIDE, draw
from fomm_tf.data.puppets.figure import JOINTS
from fomm_tf.data.puppets.identity import Identity, sample_identity
from fomm_tf.data.puppets.motion import Pose, sample_motion
from fomm_tf.data.puppets.truth import Flow, Labels, Transfer, draw_transfer, flow, label

__all__ = [
    "JOINTS",
    "MIN_SIDE",
    "Flow",
    "Identity",
    "Labels",
    "Pose",
    "Transfer",
    "draw",
    "draw_transfer",
    "flow",
    "label",
    "sample_identity",
    "sample_motion",
]

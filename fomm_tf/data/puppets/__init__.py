"""Puppets: drawn, articulated characters that move, from seeds, to train and to judge a model without any footage.

    python -m fomm_tf.data.puppets --out data/puppets --identities 100 --clips 4 --frames 64 --size 64 --seed 0

    identity = puppets.sample_identity(7)             # who: proportions, colors, textures, hair, background
    for pose in puppets.sample_motion(3, frames=64):  # how: a pose fits every identity
        frame = puppets.draw(identity, pose, 64)      # [64, 64, 3] uint8
        labels = puppets.label(identity, pose, 64)    # joints [-1, 1] and whether they are visible
    flow = puppets.flow(identity, before, after, 64)  # warp.backward_warp(frame before, flow.grid) is the frame after
    puppets.draw_transfer(other, identity, poses, 64) # an image, a driving clip, and the true animation

Convention:
  * the same seeds give the same bytes (with one version of this package, numpy and OpenCV);
  * places are (x, y), x to the right, y down; -1 and 1 are the centers of the first and the last pixel, as in
    `fomm_tf.ops.grid`; left and right are the viewer's;
  * the motion's seed knows nothing of the identity: `draw(other, pose)` is the true animation of another character.

Each identity's parts are drawn once, flat, and shaded; a frame is those images, each under one affine map, laid over
each other from the back to the front, the background first. So a turned head hides its far eye, an arm the body behind
it, light and texture move with their surface, and the dense flow between any two frames is known. In three motions of
ten the frame shows head and shoulders, in the others the whole figure; in half of all the background pans and zooms.

Limits: the head turns in depth, limbs turn in the plane only, and which arm is before the body is fixed within a clip.
"""

from fomm_tf.data.puppets.drawing import draw
from fomm_tf.data.puppets.figure import JOINTS
from fomm_tf.data.puppets.identity import Identity, sample_identity
from fomm_tf.data.puppets.motion import Pose, sample_motion
from fomm_tf.data.puppets.scene import LEAST_SIDE
from fomm_tf.data.puppets.truth import Flow, Labels, Transfer, draw_transfer, flow, label

__all__ = [
    "JOINTS",
    "LEAST_SIDE",
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

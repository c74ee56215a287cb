"""Puppets: drawn, articulated characters that move, from seeds, to train and to judge a model without any footage.

    python -m fomm_tf.data.puppets --out data/puppets --identities 100 --clips 4 --frames 64 --size 64 --seed 0

    identity = puppets.sample_identity(7)             # who: proportions, colours, textures, hair, background
    for pose in puppets.sample_motion(3, frames=64):  # how: a pose fits every identity
        frame = puppets.draw(identity, pose, 64)      # [64, 64, 3] uint8
        labels = puppets.label(identity, pose, 64)    # joints [-1, 1] and whether they are visible

Convention:
  * the same seeds give the same bytes (with one version of this package, numpy and OpenCV);
  * joints are (x, y), x to the right, y down; -1 and 1 are the centres of the first and the last pixel, as in
    `fomm_tf.ops.grid`; left and right are the viewer's;
  * the motion's seed knows nothing of the identity: `draw(other, pose)` is the true animation of another character.

Each identity's parts are drawn once, flat, and shaded; a frame is those pictures, each under one affine map, laid over
each other from the back to the front. So a turned head hides its far eye, an arm the body behind it, and the dense
motion between any two frames is known in principle.

A first version. Still to come: the dense flow and the occlusion as ground truth, moving backgrounds, light that stays
where it is while a part turns, faces filling the frame, statistics of photographs in the textures. The head turns in
depth, limbs turn in the plane only, and which arm is before the body is fixed within a clip.
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

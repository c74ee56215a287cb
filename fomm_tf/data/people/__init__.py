"""Rendered people who turn, speak, blink, and look around, from seeds: MakeHuman's CC0 mesh, shapes, and face units.

    python -m fomm_tf.data.people --out data/people --identities 600 --frames 16 --frame-step 5 --size 64 --seed 0

    clip = people.Clip(identity_seed=7, motion_seed=3, scene_seed=1, framing="talking", frames=16, step=5, size=64)
    for frame in people.render(clip):   # image, face mask, person mask, ground truth
        ...
    deformation, visible = people.TrueMotion(clip).between(source=0, driving=5)

Convention:
  * the same seeds give the same bytes (with one version of this package, numpy, scipy, OpenCV, and Embree);
  * positions are (x, y), x to the right, y down; -1 and 1 are the centers of the first and the last pixel, as in
    `fomm_tf.ops`; left and right are the person's;
  * motion does not depend on the identity: the same motion seed with another identity is the true animation of another
    person.

The assets (`assets/human.npz`, 1.5 MB) are in the package. Rays are cast with Embree (`pip install 'fomm-tf[people]'`);
colors and lights are computed with numpy.

Modules: `body` (mesh, targets, skeleton, shapes), `skin`, `hair`, `surfaces` (what covers a body) -> `person` (an
identity as one mesh); `motion`; `scene` (light, camera, background) -> `shots` (poses and cameras of a clip);
`geometry`, `shading` -> `rendering` (frames and ground truth); `true_motion` (where in another frame each pixel comes
from); `dataset` (sets on disk).

Limitations: hair and clothes do not swing; nothing is transparent (glasses have no lenses); hands and
objects do not cover the face.
"""

from fomm_tf.data.people.rendering import Frame, Truth, landmark_names, render
from fomm_tf.data.people.shots import Clip
from fomm_tf.data.people.true_motion import TrueMotion

__all__ = ["Clip", "Frame", "TrueMotion", "Truth", "landmark_names", "render"]

"""How hard a set of puppets is: how far they move, how much appears from behind something, how different they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from fomm_tf.data.puppets import drawing, truth
from fomm_tf.data.puppets.identity import Identity, sample_identity
from fomm_tf.data.puppets.motion import Pose

# Shares of a frame hardly depend on its size, so that a large set is measured on small frames.
_SIDE = 64
_IDENTITY_SIDE = 32


class Difficulty(NamedTuple):
    """Of pairs of two different frames of a clip, on average.

    Attributes:
      motion: distance that a joint moves which is visible in both frames, as a share of the frame's shorter side.
      disoccluded: share of a frame's pixels whose surface does not show in the other frame.
    """

    motion: float
    disoccluded: float


def measure_clip(
    identity: Identity, poses: Sequence[Pose], size: tuple[int, int], seed: int, pairs: int = 2
) -> Difficulty:
    """The difficulty of a few random pairs of a clip.

    Args:
      identity: whose.
      poses: of the clip, at least two.
      size: `(H, W)`; frames of this shape, but no larger than 64 pixels on the shorter side, are measured.
      seed: of the choice of pairs.
      pairs: how many.
    """
    generator = np.random.default_rng(seed)
    size = tuple(round(side * min(1, _SIDE / min(size))) for side in size)
    measured = []
    for _ in range(pairs):
        first, second = (poses[number] for number in generator.choice(len(poses), 2, replace=False))
        before, after = (truth.label(identity, pose, size) for pose in (first, second))
        moves = (after.value - before.value) * (np.array(size[::-1]) - 1) / 2 / min(size)
        seen = before.visible & after.visible
        distance = np.linalg.norm(moves[seen if seen.any() else ...], axis=-1).mean()
        measured.append((distance, 1 - truth.flow(identity, first, second, size).visible.mean()))
    return Difficulty(*np.mean(measured, axis=0).tolist())


def measure_nearest(identities: Iterable[Identity]) -> float:
    """How far the two most alike of some identities are apart.

    Args:
      identities: at least two, each drawn at 32 pixels in the rest pose before the same background.

    Returns:
      The mean difference of the two images in gray levels, over the whole frame, of which a figure covers a quarter.
    """
    scenery = sample_identity(0)
    behind = {"background_kind": scenery.background_kind, "background": scenery.background}
    images = np.array(
        [drawing.draw(identity._replace(**behind), Pose(), _IDENTITY_SIDE).ravel() for identity in identities], np.int16
    )
    rows = enumerate(images[:-1], start=1)
    return float(min(np.abs(images[number:] - image).mean(axis=1).min() for number, image in rows))

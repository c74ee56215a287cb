"""Writes pairs of puppets with their true animations, to evaluate a model (`--transfers` of the command).

Convention: all seeds are odd, as in every test split, so that no training split has these characters and motions.
"""

from __future__ import annotations

import csv
import pathlib
from typing import NamedTuple

import numpy as np
import tqdm

from fomm_tf import errors, files, video
from fomm_tf.data.puppets import dataset, drawing, motion, truth
from fomm_tf.data.puppets.identity import Identity, sample_identity

PAIRS = "pairs.csv"
_FPS = 25
# Pairs of one seed.
_MAX_PAIRS = 1_000_000


class Cast(NamedTuple):
    """Characters and motion of a pair.

    Attributes:
      source: the character to animate.
      driving: the character of the driving clip.
      poses: of the driving clip.
    """

    source: Identity
    driving: Identity
    poses: list[motion.Pose]


def cast(number: int, frames: int, portraits: bool) -> Cast:
    """The characters and the motion of pair `number`, which is 0 or more."""
    source, driving, motion_seed = (2 * int(seed) + 1 for seed in np.random.SeedSequence(number).generate_state(3))
    source, driving = (sample_identity(identity, portraits) for identity in (source, driving))
    return Cast(source, driving, motion.sample_motion(motion_seed, frames, portrait=portraits))


def write(
    out: pathlib.Path, pairs: int, frames: int, size: tuple[int, int], seed: int = 0, portraits: bool = False
) -> str:
    """Writes pairs and their true animations.

    Args:
      out: directory to write; it must be new or empty.
      pairs: number of pairs.
      frames: number of frames per clip, at least 2.
      size: `(H, W)`.
      seed: of the pairs.
      portraits: head and shoulders only, before a plain wall.

    Returns:
      A one-line summary.

    Raises:
      UserError: if `out` is not empty, an argument is invalid or the disk is full.
    """
    dataset.check_empty(out)
    size = drawing.check_size(size)
    for name, value, minimum in (("pairs", pairs, 1), ("frames", frames, 2), ("seed", seed, 0)):
        if value < minimum:
            raise errors.UserError(f"`{name}` must be at least {minimum}; got {value}.")
    if pairs > _MAX_PAIRS:
        raise errors.UserError(f"`pairs` must be at most {_MAX_PAIRS}; got {pairs}.")
    rows = []
    with files.replace_atomically(out) as folder:
        for index in tqdm.trange(pairs, unit="pair", disable=None):
            drawn = truth.draw_transfer(*cast(_MAX_PAIRS * seed + index, frames, portraits), size)
            row = {
                "source": f"sources/{index:05d}.png",
                "driving": f"driving/{index:05d}",
                "truth": f"test/{index:05d}",
            }
            rows.append(row)
            video.write_image(folder / row["source"], drawn.source)
            for kind, clip in (("driving", drawn.driving), ("truth", drawn.expected)):
                with video.write_video(folder / row[kind], _FPS) as writer:
                    for frame in clip:
                        writer.write(frame)
        with (folder / PAIRS).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return f"{out}: {pairs} pairs with their true animations, {frames} frames of {size[0]}x{size[1]} each"

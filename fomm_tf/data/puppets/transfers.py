"""Pairs of drawn characters with the true animation, to judge a model by: `--transfers` of the command.

Convention: all seeds are odd, as those of every test set, so that no training set shows these characters and motions.
"""

from __future__ import annotations

import csv
import pathlib
from typing import NamedTuple

import numpy as np
import tqdm

from fomm_tf import errors, files, video
from fomm_tf.data.puppets import motion, truth
from fomm_tf.data.puppets.identity import Identity, sample_identity

PAIRS = "pairs.csv"
_FPS = 25
# Numbers that one seed's pairs are taken from.
_MOST = 1_000_000


class Cast(NamedTuple):
    """Who plays in a pair.

    Attributes:
      shown: who is animated.
      driving: whose clip drives.
      poses: of the clip.
    """

    shown: Identity
    driving: Identity
    poses: list[motion.Pose]


def cast(number: int, frames: int, portraits: bool) -> Cast:
    """The characters and the motion of pair `number`, an integer from 0 on."""
    shown, driving, moved = (2 * int(seed) + 1 for seed in np.random.SeedSequence(number).generate_state(3))
    shown, driving = (sample_identity(who, portraits) for who in (shown, driving))
    return Cast(shown, driving, motion.sample_motion(moved, frames, portrait=portraits))


def write(
    out: pathlib.Path, count: int, frames: int, size: tuple[int, int], seed: int = 0, portraits: bool = False
) -> str:
    """Writes pairs and their truth.

    Args:
      out: folder to make; it may exist if it is empty.
      count: of pairs.
      frames: of each clip, at least 2.
      size: `(H, W)`.
      seed: another one is another set.
      portraits: head and shoulders only, before plain walls.

    Returns:
      A line that says what was written.

    Raises:
      UserError: if there is something at `out`, an argument will not do or the disk is full.
    """
    for name, value, least in (("transfers", count, 1), ("frames", frames, 2), ("seed", seed, 0)):
        if value < least:
            raise errors.UserError(f"--{name} is {value}; give at least {least}.")
    if count > _MOST:
        raise errors.UserError(f"--transfers is {count}; give at most {_MOST}.")
    rows = []
    with files.replace_atomically(out) as folder:
        for index in tqdm.trange(count, unit="pair", disable=None):
            drawn = truth.draw_transfer(*cast(_MOST * seed + index, frames, portraits), size)
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
    return f"{out}: {count} pairs with their true animations, {frames} frames of {size[0]}x{size[1]} each"

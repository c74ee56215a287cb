"""The same motion on another person: pairs with their true animations, `--transfers` of the command.

The truth of a pair is the source's person in the motion of the driving person, in the source's own scene. The camera
keeps still. All seeds are odd, as those of test sets, so that no training set shows these people and motions.
"""

from __future__ import annotations

import pathlib

import numpy as np

from fomm_tf import files
from fomm_tf.data.people import clips, writing

PAIRS = "pairs.csv"


def plan(out: pathlib.Path, count: int, seed: int, template: clips.Clip, framings: list[str]) -> list[writing.Job]:
    """The clips of a set: a truth and a driving clip for each pair.

    Args:
      out: folder of the set.
      count: pairs.
      seed: of the set.
      template: frames, step, size, and amount of all clips.
      framings: taken in turn.
    """
    jobs = []
    for index in range(count):
        seeds = np.random.SeedSequence([seed, 2, index]).generate_state(5)
        shown, driving, moved, shown_scene, driving_scene = (2 * int(value) + 1 for value in seeds)
        clip = template._replace(motion_seed=moved, framing=framings[index % len(framings)], still=True)
        truth = clip._replace(identity_seed=shown, scene_seed=shown_scene)
        jobs.append(writing.Job(out, f"test/{index:05d}", truth, masks=True, still=f"sources/{index:05d}.png"))
        jobs.append(
            writing.Job(out, f"driving/{index:05d}", clip._replace(identity_seed=driving, scene_seed=driving_scene))
        )
    return jobs


def write_pairs(out: pathlib.Path, count: int) -> None:
    """Writes `pairs.csv`: source, driving, truth."""
    rows = ([f"sources/{index:05d}.png", f"driving/{index:05d}", f"test/{index:05d}"] for index in range(count))
    files.write_csv(out / PAIRS, ["source", "driving", "truth"], rows)

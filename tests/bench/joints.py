"""`python tests/bench/joints.py`: measures how well joints can be regressed from a model's keypoints.

The error of a linear regression from the keypoints (without and with their Jacobians) to the drawn eyes, nose, mouth,
... on characters other than those it was fitted on; all characters have test seeds. `fomm evaluate` measures the rest.
"""

import argparse
import collections
import json
import pathlib

import numpy as np
import tqdm

from fomm_tf import checkpoint
from fomm_tf.data import puppets
from fomm_tf.data.puppets import dataset
from fomm_tf.inference import animator

# Frames of each character.
FRAMES = 6


def regress(found, labels):
    """Mean error of regressed joints, as a fraction of the image side: trained on half of the clips.

    Args:
      found: `[F, N]` inputs of each clip.
      labels: F `puppets.Labels` of each clip.
    """
    half, distances = len(found) // 2, collections.defaultdict(list)
    inputs = [np.concatenate([numbers, np.ones([len(numbers), 1])], axis=1) for numbers in found]
    for joint, name in enumerate(puppets.JOINTS):
        seen = [np.array([label.visible[joint] for label in clip]) for clip in labels]
        places = [np.array([label.value[joint] for label in clip]) for clip in labels]
        fitted, tested = ([np.concatenate([part[clip][seen[clip]] for clip in side]) for part in (inputs, places)]
                        for side in (range(half), range(half, len(found))))  # fmt: skip
        if sum(map(np.any, seen)) < len(found) / 2:
            continue  # limbs that portraits rarely show
        weights = np.linalg.lstsq(*fitted, rcond=None)[0]
        distances[name] = np.linalg.norm(tested[0] @ weights - tested[1], axis=1) / 2
    distances["mean"] = np.concatenate(list(distances.values()))
    return {name: float(each.mean()) for name, each in distances.items()}


def measure_joints(model, characters, side):
    """Regresses joints from keypoints: fitted on the first half of the characters, tested on the other."""
    found, labels = [], []
    for number in tqdm.trange(characters, unit="character", disable=None):
        shown, _, poses = dataset.sample_transfer(number, FRAMES, portraits=True)
        keypoints = model.detect(np.stack([puppets.draw(shown, pose, side) for pose in poses]))
        found.append([part.numpy().reshape(FRAMES, -1) for part in keypoints if part is not None])
        labels.append([puppets.label(shown, pose, side) for pose in poses])
    regressed = {
        "without Jacobians": regress([clip[0] for clip in found], labels),
        "with Jacobians": regress([np.concatenate(clip, axis=1) for clip in found], labels),
    }
    for name, joints in regressed.items():
        print(f"joints {name}, as fractions of the side:", ", ".join(f"{key} {off:.2%}" for key, off in joints.items()))
    return regressed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default=checkpoint.BUNDLED, help="the model (default: the bundled one)")
    parser.add_argument("--characters", type=int, default=300, help="number of characters (default: %(default)s)")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")
    arguments = parser.parse_args()
    model = animator.Animator.load(arguments.run)
    joints = measure_joints(model, arguments.characters, model.config.model.frame_size[0])
    if arguments.out:
        arguments.out.write_text(json.dumps(joints, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""`python tests/bench/joints.py`: regresses the joints of drawn heads from a model's keypoints.

Reports the mean distance of joints that are regressed linearly from keypoints (positions only, or with Jacobians),
fitted on one half of the characters and evaluated on the other half; all characters are of test seeds.
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

# Frames per character.
FRAMES = 6


def regress(features, labels):
    """Mean distance of regressed joints, as a fraction of the side: fitted on the first half of the characters.

    Args:
      features: `[F, N]` for each clip.
      labels: F `puppets.Labels` for each clip.
    """
    half, distances = len(features) // 2, collections.defaultdict(list)
    inputs = [np.concatenate([numbers, np.ones([len(numbers), 1])], axis=1) for numbers in features]
    for joint, name in enumerate(puppets.JOINTS):
        visible = [np.array([label.visible[joint] for label in clip]) for clip in labels]
        positions = [np.array([label.value[joint] for label in clip]) for clip in labels]
        fitted, evaluated = (
            [np.concatenate([part[clip][visible[clip]] for clip in side]) for part in (inputs, positions)]
            for side in (range(half), range(half, len(features)))
        )
        if sum(map(np.any, visible)) < len(features) / 2:
            continue  # limbs that portraits rarely show
        weights = np.linalg.lstsq(*fitted, rcond=None)[0]
        distances[name] = np.linalg.norm(evaluated[0] @ weights - evaluated[1], axis=1) / 2
    distances["mean"] = np.concatenate(list(distances.values()))
    return {name: float(each.mean()) for name, each in distances.items()}


def evaluate_joints(model, characters, side):
    """Regresses joints from keypoints, with and without Jacobians."""
    features, labels = [], []
    for number in tqdm.trange(characters, unit="character", disable=None):
        shown, _, poses = dataset.sample_transfer(number, FRAMES, portraits=True)
        keypoints = model.detect(np.stack([puppets.draw(shown, pose, side) for pose in poses]))
        features.append([part.numpy().reshape(FRAMES, -1) for part in keypoints if part is not None])
        labels.append([puppets.label(shown, pose, side) for pose in poses])
    regressed = {
        "positions only": regress([clip[0] for clip in features], labels),
        "with Jacobians": regress([np.concatenate(clip, axis=1) for clip in features], labels),
    }
    for name, joints in regressed.items():
        print(
            f"joints {name}, as a fraction of the side:", ", ".join(f"{key} {off:.2%}" for key, off in joints.items())
        )
    return regressed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default=checkpoint.BUNDLED, help="the model (default: the bundled one)")
    parser.add_argument("--characters", type=int, default=300, help="number of characters (default: %(default)s)")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")
    arguments = parser.parse_args()
    model = animator.Animator.load(arguments.run)
    joints = evaluate_joints(model, arguments.characters, model.config.model.frame_size[0])
    if arguments.out:
        arguments.out.write_text(json.dumps(joints, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

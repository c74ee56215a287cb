"""`python tests/bench/quality.py`: how good a model of drawn heads is, on characters and motions of test seeds alone.

  * reconstruction: a clip from its first frame and each frame's keypoints, against the clip;
  * animation: a head moved by another one's clip (relative mode), against the same head drawn in the same poses;
  * joints: how far from the drawn eyes, nose, mouth, ... a linear regression from the keypoints (from their places
    alone, and with their Jacobians) lands, on characters other than those that it was fitted on.

With `--data DIR`, reconstruction of the test clips of a data set, of people who are in its training set and others.
Means over clips with 95 % bootstrap intervals; copying is the source itself, taken as the answer.
"""

import argparse
import collections
import json
import pathlib

import numpy as np
import tqdm

from fomm_tf import checkpoint, video
from fomm_tf.data import frames as clips_of
from fomm_tf.data import puppets
from fomm_tf.inference import animator, metrics, reconstruct

MOMENTS = 6
# Frames of each character that joints are told in.
FEW = 6


def draw(number, count, side):
    """A true transfer and where the joints of the animated character are: odd seeds belong to test sets alone."""
    shown, driving, moved = (2 * int(seed) + 1 for seed in np.random.SeedSequence(number).generate_state(3))
    shown, driving = (puppets.sample_identity(who, portrait=True) for who in (shown, driving))
    poses = puppets.sample_motion(moved, count, portrait=True)
    return puppets.draw_transfer(shown, driving, poses, side), [puppets.label(shown, pose, side) for pose in poses]


def table(title, scores):
    """A line a metric: the model, copying, and the share for L1."""
    made, copied = (np.array(part) for part in zip(*scores, strict=True))
    lines = [f"{title}, {len(made)} clips", f"  L1 / copying {metrics.bootstrap(made[:, 0], copied[:, 0]):.3f}"]
    for column, name in enumerate(reconstruct.Scores._fields):
        mine, other = (metrics.bootstrap(part[:, column]) for part in (made, copied))
        lines.append(f"  {name:12} {mine:.4f}; copying {other:.4f}")
    print("\n".join(lines))
    return {"clips": len(made), "of copying": metrics.bootstrap(made[:, 0], copied[:, 0])._asdict()} | {
        name: {"model": metrics.bootstrap(made[:, column])._asdict(), "copying": float(copied[:, column].mean())}
        for column, name in enumerate(reconstruct.Scores._fields)
    }


def regress(found, labels):
    """Mean distance of regressed joints, in shares of the side: fitted on one half of the characters, other half told.

    Args:
      found: `[F, N]` numbers a clip to tell them from.
      labels: a list of F `puppets.Labels` a clip.
    """
    half, distances = len(found) // 2, collections.defaultdict(list)
    inputs = [np.concatenate([numbers, np.ones([len(numbers), 1])], axis=1) for numbers in found]
    for joint, name in enumerate(puppets.JOINTS):
        seen = [np.array([label.visible[joint] for label in clip]) for clip in labels]
        places = [np.array([label.value[joint] for label in clip]) for clip in labels]
        fitted, told = ([np.concatenate([part[clip][seen[clip]] for clip in side]) for part in (inputs, places)]
                        for side in (range(half), range(half, len(found))))  # fmt: skip
        if sum(map(np.any, seen)) < len(found) / 2:
            continue  # limbs that portraits rarely show
        weights = np.linalg.lstsq(*fitted, rcond=None)[0]
        distances[name] = np.linalg.norm(told[0] @ weights - told[1], axis=1) / 2
    distances["mean"] = np.concatenate(list(distances.values()))
    return {name: float(each.mean()) for name, each in distances.items()}


def judge_puppets(model, arguments):
    """All three measures on drawn heads."""
    side, rebuilt, animated, rows = model.config.model.frame_size[0], [], [], []
    for number in tqdm.trange(arguments.clips, unit="clip", disable=None):
        transfer, _ = draw(number, arguments.frames, side)
        driving, truth = (np.float32(clip) / 255 for clip in (transfer.driving, transfer.expected))
        again = reconstruct.reconstruct(model, truth)
        made = np.stack(list(model.animate(truth[0], iter(driving))))
        rebuilt.append((reconstruct.score(again, truth), reconstruct.score(truth[:1], truth)))
        animated.append((reconstruct.score(made, truth), reconstruct.score(truth[:1], truth)))
        if len(rows) < 4 * 3:
            moments = np.linspace(0, len(truth) - 1, MOMENTS).round().astype(int)
            rows += [np.concatenate(clip[moments], axis=1) for clip in (driving, made, truth)]
    if arguments.sheet:
        video.write_image(arguments.sheet, video.to_uint8(np.concatenate(rows)))
    return {
        "reconstruction": table("reconstruction", rebuilt),
        "animation": table("animation, against the true one", animated),
        "joints": judge_joints(model, arguments.characters, side),
    }


def judge_joints(model, characters, side):
    """Joints from keypoints: fitted on the first half of the characters, told on the other."""
    found, labels = [], []
    for number in tqdm.trange(characters, unit="character", disable=None):
        transfer, joints = draw(number, FEW, side)
        keypoints = model.detect(transfer.expected)
        found.append([part.numpy().reshape(FEW, -1) for part in keypoints if part is not None])
        labels.append(joints)
    regressed = {
        "from places alone": regress([clip[0] for clip in found], labels),
        "with Jacobians": regress([np.concatenate(clip, axis=1) for clip in found], labels),
    }
    for name, joints in regressed.items():
        print(f"joints {name}, in shares of the side:", ", ".join(f"{key} {off:.2%}" for key, off in joints.items()))
    return regressed


def judge_clips(model, arguments):
    """Reconstruction of a data set's test clips, of known people and of others."""
    trained, index = (clips_of.load(arguments.data, part, model.config.model.frame_size) for part in ("train", "test"))
    known, scores = {clip.identity for clip in trained.clips}, collections.defaultdict(list)
    for clip in tqdm.tqdm(index.clips, unit="clip", disable=None):
        truth = np.float32([clip.frame(number) for number in range(len(clip))]) / 255
        again = reconstruct.reconstruct(model, truth)
        scores["known" if clip.identity in known else "others"].append(
            (reconstruct.score(again, truth), reconstruct.score(truth[:1], truth))
        )
    return {people: table(people, each) for people, each in scores.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default=checkpoint.BUNDLED, help="the model (default: the bundled one)")
    parser.add_argument("--data", help="judge the reconstruction of this set's test clips instead")
    parser.add_argument("--clips", type=int, default=60, help="drawn ones (default: %(default)s)")
    parser.add_argument("--characters", type=int, default=300, help="to tell joints of (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=24, help="of a clip (default: 24)")
    parser.add_argument("--sheet", help="picture to write: driving, made and true frames of four animations")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")
    arguments = parser.parse_args()
    model = animator.Animator.load(arguments.run)
    figures = (judge_clips if arguments.data else judge_puppets)(model, arguments)
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

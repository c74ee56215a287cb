"""`python tests/bench/jacobians.py RUN...`: whether Jacobians follow the picture, and what they are worth.

On test clips: how far the Jacobians are from equivariant under the deformations of training
(the unweighted loss of Eq. 13), beside Jacobians that never change; and the L1 of the clips rebuilt from their first
frames with the Jacobians as they are found, and with the first frame's instead, so that every part only shifts.
"""

import argparse
import json
import pathlib

import numpy as np
import tensorflow as tf
import tqdm

from fomm_tf import video
from fomm_tf.inference import animator
from fomm_tf.losses import equivariance
from fomm_tf.ops import keypoints, tps

NAMES = ("off from equivariant", "constant ones", "L1", "L1 with the first frame's Jacobians")


def judge(model, clips):
    """name -> number; `clips` are lists of `[T, H, W, 3]`."""
    settings, sums = model.config.train.transform, dict.fromkeys(NAMES, 0.0)
    for number, frames in enumerate(tqdm.tqdm(clips, unit="clip", disable=None)):
        count, float_frames = len(frames), tf.constant(frames, tf.float32) / 255
        transform = tps.sample((0, number), count, settings.sigma_affine, settings.sigma_tps, settings.points)
        found, moved = model.detect(float_frames), model.detect(tps.warp_image(transform, float_frames))
        sums[NAMES[0]] += np.mean(equivariance.jacobian(found, moved, transform))
        fixed = [each._replace(jacobian=tf.eye(2, batch_shape=each.value.shape[:2])) for each in (found, moved)]
        sums[NAMES[1]] += np.mean(equivariance.jacobian(*fixed, transform))
        source = model.encode_source(frames[0])
        jacobians = (found.jacobian, tf.repeat(source.keypoints.jacobian, count, axis=0))
        for name, jacobian in zip(NAMES[2:], jacobians, strict=True):
            made = model.render(source, keypoints.Keypoints(found.value, jacobian)).prediction
            sums[name] += np.mean(np.abs(made - float_frames))
    return {name: float(total) / len(clips) for name, total in sums.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="models with Jacobians")
    parser.add_argument("--data", help="whose test clips to take (default: the run's own)")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")
    arguments = parser.parse_args()
    told = {}
    for run in arguments.runs:
        model = animator.Animator.load(run)
        size = model.config.model.frame_size
        clips = [
            np.stack([video.resize(frame, size) for frame in video.open_video(path)])
            for path in sorted(pathlib.Path(arguments.data or model.config.data.root, "test").glob("[!.]*"))
        ]
        told[run] = judge(model, clips)
        print(f"{run}: {', '.join(f'{name} {number:.4f}' for name, number in told[run].items())}")
    if arguments.out:
        arguments.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

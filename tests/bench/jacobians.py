"""`python tests/bench/jacobians.py RUN...`: whether Jacobians follow the image, and what they are worth.

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
from fomm_tf.ops import tps


def judge(model, frames, number):
    """name -> number, of a clip `[T, H, W, 3]` uint8, deformed at random by its number."""
    settings, count, true = model.config.train.transform, len(frames), tf.constant(frames, tf.float32) / 255
    transform = tps.sample((0, number), count, settings.sigma_affine, settings.sigma_tps, settings.points)
    found, moved = model.detect(true), model.detect(tps.warp_image(transform, true))
    constant = [each._replace(jacobian=tf.eye(2, batch_shape=each.value.shape[:2])) for each in (found, moved)]
    source = model.encode_source(frames[0])
    shifted = found._replace(jacobian=tf.repeat(source.keypoints.jacobian, count, axis=0))
    return {
        "off from equivariant": np.mean(equivariance.jacobian_loss(found, moved, transform)),
        "constant ones": np.mean(equivariance.jacobian_loss(*constant, transform)),
        "L1": np.mean(np.abs(model.render(source, found).prediction - true)),
        "L1 with the first frame's Jacobians": np.mean(np.abs(model.render(source, shifted).prediction - true)),
    }


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
        paths = sorted(pathlib.Path(arguments.data or model.config.data.root, "test").glob("[!.]*"))
        judged = [
            judge(model, np.stack([video.resize(frame, size) for frame in video.open_video(path)]), number)
            for number, path in enumerate(tqdm.tqdm(paths, unit="clip", disable=None))
        ]
        told[run] = {name: float(np.mean([each[name] for each in judged])) for name in judged[0]}
        print(f"{run}: {', '.join(f'{name} {number:.4f}' for name, number in told[run].items())}")
    if arguments.out:
        arguments.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

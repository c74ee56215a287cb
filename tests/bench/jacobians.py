"""`python tests/bench/jacobians.py RUN...`: measures how much a model uses its Jacobians.

On test clips it measures the unweighted loss of Eq. 13 under the deformations of training, for the detected Jacobians
and for constant ones; and the L1 of the clips reconstructed from their first frames, with the detected Jacobians and
with those of the first frame, so that every part only translates.
"""

import argparse
import json
import pathlib

import numpy as np
import tensorflow as tf
import tqdm

from fomm_tf import video
from fomm_tf.inference import animator
from fomm_tf.losses import terms
from fomm_tf.ops import tps


def measure(model, frames, number):
    """name -> value, for a clip `[T, H, W, 3]` uint8; `number` is the seed of the deformation."""
    settings, count, true = model.config.train.transform, len(frames), tf.constant(frames, tf.float32) / 255
    transform = tps.sample((0, number), count, settings.sigma_affine, settings.sigma_tps, settings.points)
    detected, transformed = model.detect(true), model.detect(tps.warp_image(transform, true))
    constant = [each._replace(jacobian=tf.eye(2, batch_shape=each.value.shape[:2])) for each in (detected, transformed)]
    source = model.encode_source(frames[0])
    shifted = detected._replace(jacobian=tf.repeat(source.keypoints.jacobian, count, axis=0))
    return {
        "Eq. 13": np.mean(terms.equivariance_jacobian_loss(detected, transformed, transform)),
        "Eq. 13 with constant Jacobians": np.mean(terms.equivariance_jacobian_loss(*constant, transform)),
        "L1": np.mean(np.abs(model.render(source, detected).prediction - true)),
        "L1 with the first frame's Jacobians": np.mean(np.abs(model.render(source, shifted).prediction - true)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="models with Jacobians")
    parser.add_argument("--data", help="data set with the test clips (default: the run's own)")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")
    arguments = parser.parse_args()
    summary = {}
    for run in arguments.runs:
        model = animator.Animator.load(run)
        size = model.config.model.frame_size
        paths = sorted(pathlib.Path(arguments.data or model.config.data.root, "test").glob("[!.]*"))
        measured = [
            measure(model, np.stack([video.resize(frame, size) for frame in video.open_video(path)]), number)
            for number, path in enumerate(tqdm.tqdm(paths, unit="clip", disable=None))
        ]
        summary[run] = {name: float(np.mean([each[name] for each in measured])) for name in measured[0]}
        print(f"{run}: {', '.join(f'{name} {number:.4f}' for name, number in summary[run].items())}")
    if arguments.out:
        arguments.out.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

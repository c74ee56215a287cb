"""`python tests/bench/jacobians.py RUN...`: whether Jacobians follow the image, and whether they improve animations.

On test clips: the deviation of the Jacobians from equivariance under the deformations of training (the unweighted loss
of Eq. 13), compared with constant Jacobians; and the L1 of clips reconstructed from their first frames with the
detected Jacobians, and with those of the first frame, so that every part only shifts.
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


def measure(model, frames, seed):
    """Measures a clip, `[T, H, W, 3]` uint8; `seed` is of the random deformations."""
    settings, count, true = model.config.train.transform, len(frames), tf.constant(frames, tf.float32) / 255
    transform = tps.sample((0, seed), count, settings.sigma_affine, settings.sigma_tps, settings.points)
    keypoints, deformed = model.detect(true), model.detect(tps.warp_image(transform, true))
    constant = [each._replace(jacobian=tf.eye(2, batch_shape=each.value.shape[:2])) for each in (keypoints, deformed)]
    source = model.encode_source(frames[0])
    shifted = keypoints._replace(jacobian=tf.repeat(source.keypoints.jacobian, count, axis=0))
    return {
        "equivariance loss": np.mean(equivariance.jacobian_loss(keypoints, deformed, transform)),
        "equivariance loss of constant Jacobians": np.mean(equivariance.jacobian_loss(*constant, transform)),
        "L1": np.mean(np.abs(model.render(source, keypoints).prediction - true)),
        "L1 with the first frame's Jacobians": np.mean(np.abs(model.render(source, shifted).prediction - true)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="models with Jacobians")
    parser.add_argument("--data", help="data set whose test clips to use (default: that of the run)")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")
    arguments = parser.parse_args()
    results = {}
    for run in arguments.runs:
        model = animator.Animator.load(run)
        size = model.config.model.frame_size
        paths = sorted(pathlib.Path(arguments.data or model.config.data.root, "test").glob("[!.]*"))
        measured = [
            measure(model, np.stack([video.resize(frame, size) for frame in video.open_video(path)]), number)
            for number, path in enumerate(tqdm.tqdm(paths, unit="clip", disable=None))
        ]
        results[run] = {name: float(np.mean([each[name] for each in measured])) for name in measured[0]}
        print(f"{run}: {', '.join(f'{name} {number:.4f}' for name, number in results[run].items())}")
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

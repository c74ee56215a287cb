"""`python tests/bench/step.py`: the training step by part, and the data pipeline alone, at the sizes of vox-256.

VGG-19 has random weights (the work is the same). Prints medians with quartiles over interleaved rounds and by how much
the pipeline outruns the step; start-up and tracing are left out. Each part holds those before it: what a part adds is
the difference of two lines.
"""

import argparse
import itertools
import pathlib
import sys
import tempfile
import time

import numpy as np
import tensorflow as tf

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "bench"), str(ROOT / "tests")]

import backbone_states  # noqa: E402
import pairs as pairs_bench  # noqa: E402

from fomm_tf import checkpoint, config  # noqa: E402
from fomm_tf.data import frames, pairs  # noqa: E402
from fomm_tf.losses import backbones  # noqa: E402
from fomm_tf.ops import tps  # noqa: E402
from fomm_tf.training import objective, step  # noqa: E402


def build_parts(settings, batch):
    """name -> a call that does it once."""
    run = checkpoint.build(settings, settings.train.loss_weights.generator_gan != 0, optimizers=True)
    losses = objective.Objective(
        settings, run.networks, run.discriminator, backbones.Vgg19(backbone_states.vgg19(), "random")
    )
    frame = np.random.default_rng(0).random([2, batch, *settings.model.frame_size, 3], np.float32)
    source, driving = tf.constant(frame[0]), tf.constant(frame[1])
    transform = tps.sample(tf.constant([0, 0]), batch)
    stepper = step.TrainStep(run, losses, batch)
    detector, dense_motion, _ = run.networks

    def keypoints():
        return detector(source, training=True), detector(driving, training=True)

    def motion():
        found = keypoints()
        return dense_motion(dense_motion.reduce(source), *found, training=True).deformation

    def forward():
        return losses.forward(source, driving, transform).prediction

    def all_losses():
        return losses.generator_losses(driving, losses.forward(source, driving, transform), transform)

    parts = {
        "keypoints of both frames": keypoints,
        "and dense motion": motion,
        "forward (and transformed frame)": forward,
        "and losses": all_losses,
        "whole step": lambda: stepper(source, driving, transform),
    }
    return {name: tf.function(part, autograph=False) for name, part in parts.items()}


def open_streams(folder, settings, batch, clips=4, length=40):
    streams = {}
    for kind, suffix in (("png", ""), ("mp4", ".mp4")):
        root = pathlib.Path(folder) / kind
        pairs_bench.write_clips(root / "train", suffix, clips, length)
        index = frames.load(root, "train", settings.model.frame_size)
        streams[f"data pipeline alone, {kind}"] = iter(pairs.pairs(index, settings.data, batch, seed=0))
    return streams


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="vox-256", help="a recipe (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=2, help="pairs a step (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    settings = config.load(config.recipes()[arguments.config])
    with tempfile.TemporaryDirectory() as folder:
        calls = dict(build_parts(settings, arguments.batch))
        batches = 20
        streams = open_streams(folder, settings, arguments.batch)
        for name, stream in streams.items():
            calls[name] = lambda stream=stream: list(itertools.islice(stream, batches))
        seconds = {name: [] for name in calls}
        for warm in (True, *[False] * arguments.rounds):
            for name, call in calls.items():
                if name in streams:  # what it prepared while others were timed does not count
                    list(itertools.islice(streams[name], batches))
                begin = time.perf_counter()
                tf.nest.map_structure(lambda tensor: tensor.numpy(), call())
                taken = (time.perf_counter() - begin) / (batches if name in streams else 1)
                if not warm:
                    seconds[name].append(taken)
    for name, taken in seconds.items():
        low, median, high = 1000 * np.percentile(taken, [25, 50, 75])
        print(f"{name:32} {median:8.1f} ms a batch of {arguments.batch} (quartiles {low:.1f} to {high:.1f})")
    for name in streams:
        ratio = np.median(seconds["whole step"]) / np.median(seconds[name])
        print(f"{name}: {ratio:.1f} times as fast as the step")


if __name__ == "__main__":
    main()

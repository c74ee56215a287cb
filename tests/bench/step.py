"""`python tests/bench/step.py`: the training step by part, and the data pipeline alone; VGG-19 with random weights.

Each part holds those before it: what a part adds is the difference of two lines.
"""

import concurrent.futures
import multiprocessing
import pathlib
import sys
import tempfile

import numpy as np
import tensorflow as tf

sys.path.append(str(pathlib.Path(__file__).parents[1]))

import backbone_states
import harness
import pairs as pairs_bench

from fomm_tf import checkpoint, config
from fomm_tf.data import frames, pairs
from fomm_tf.losses import backbones
from fomm_tf.ops import tps
from fomm_tf.training import step
from fomm_tf.training.objective import Objective

BATCHES = 20


def build_parts(settings, batch):
    """name -> `Part`."""
    calls = build_calls(settings, batch)
    return {name: harness.graph_part(call, unit="step") for name, call in calls.items()}


def measure_memory(settings, batch):
    """Peak memory in GiB of a process that only trains: of tensors, and in total."""
    part = harness.graph_part(build_calls(settings, batch)["whole step"])
    part.run()
    tensors = harness.peak_tensors_gib(part.run)
    return {"tensors_peak_gib": round(tensors, 2), "process_peak_gib": round(harness.peak_gib(), 2)}


def build_calls(settings, batch):
    """name -> a function without arguments."""
    run = checkpoint.build(settings, settings.train.loss_weights.generator_gan != 0, optimizers=True)
    losses = Objective(settings, run.model, run.discriminator, backbones.Vgg19(backbone_states.vgg19(), "random"))
    frame = np.random.default_rng(0).random([2, batch, *settings.model.frame_size, 3], np.float32)
    source, driving = tf.constant(frame[0]), tf.constant(frame[1])
    transform = tps.sample(tf.constant([0, 0]), batch)
    stepper = step.TrainStep(run, losses, batch)
    detector, dense_motion, _ = run.model.layers

    def keypoints():
        return detector(source, training=True), detector(driving, training=True)

    def motion():
        found = keypoints()
        return dense_motion(dense_motion.downsample(source), *found, training=True).deformation

    def forward():
        return losses.forward(source, driving, transform).prediction

    def all_losses():
        return losses.generator_losses(driving, losses.forward(source, driving, transform), transform)

    def whole():
        return stepper(source, driving, transform)

    return {
        "keypoints of both frames": keypoints,
        "and dense motion": motion,
        "forward (and transformed frame)": forward,
        "and losses": all_losses,
        "whole step": whole,
    }


def build_streams(folder, settings, batch, clips=4, length=40):
    """name -> `Part` of the data pipeline alone, from png folders and from mp4."""
    parts = {}
    for kind, suffix in (("png", ""), ("mp4", ".mp4")):
        root = pathlib.Path(folder) / kind
        pairs_bench.write_clips(root / "train", suffix, clips, length)
        index = frames.load(root, "train", settings.model.frame_size)
        stream = iter(pairs.make_dataset(index, settings.data, batch, seed=0))
        parts[f"data pipeline alone, {kind}"] = pairs_bench.stream_part(stream, BATCHES, BATCHES, "step")
    return parts


def main():
    parser = harness.parser(__doc__)
    parser.add_argument("--config", default="vox-256", help="a recipe (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=2, help="pairs a step (default: %(default)s)")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    arguments = parser.parse_args()
    settings = config.override(config.load(config.recipes()[arguments.config]), arguments.overrides)
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
        memory = alone.submit(measure_memory, settings, arguments.batch).result()
    with tempfile.TemporaryDirectory() as folder:
        parts = build_parts(settings, arguments.batch) | build_streams(folder, settings, arguments.batch)
        records = harness.measure(parts, arguments.rounds)
        parts.clear()  # the pipelines stop reading before their files are deleted
    records["whole step"] |= memory
    whole = records["whole step"]["ms"]
    outrun = [f"{whole / record['ms']:.0f}" for name, record in records.items() if name.startswith("data")]
    print(
        f"whole step: {1000 * arguments.batch / whole:.2f} images/s; at most {memory['tensors_peak_gib']} GiB of "
        f"tensors, {memory['process_peak_gib']} GiB in all; the data pipeline is {' and '.join(outrun)} times as fast "
        "(png, mp4)"
    )
    name = " ".join([f"train {arguments.config}, batch {arguments.batch}", *arguments.overrides])
    harness.write(arguments.out, name, records)


if __name__ == "__main__":
    main()

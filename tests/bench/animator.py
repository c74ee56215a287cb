"""`make bench`: how long the stages of an animation take at the sizes of vox-256, random weights.

Prints medians with quartiles over interleaved rounds; start-up and tracing are left out.
"""

import argparse
import time

import numpy as np

from fomm_tf import checkpoint, config
from fomm_tf.inference import animator


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="vox-256", help="a recipe (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="driving frames a call (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    settings = config.load(config.recipes()[arguments.config])
    model = animator.Animator(settings, checkpoint.build(settings).networks)
    height, width = settings.model.frame_size
    frames = np.random.default_rng(0).random([arguments.batch, height, width, 3], np.float32)
    source = model.encode_source(frames[0])
    keypoints = model.detect(frames)
    stages = {
        "encode_source": (lambda: model.encode_source(frames[0]).features.numpy(), 1),
        "detect": (lambda: model.detect(frames).value.numpy(), arguments.batch),
        "render": (lambda: model.render(source, keypoints).prediction.numpy(), arguments.batch),
    }
    seconds = {name: [] for name in stages}
    for warm in (True, *[False] * arguments.rounds):
        for name, (run, _) in stages.items():
            begin = time.perf_counter()
            run()
            if not warm:
                seconds[name].append(time.perf_counter() - begin)
    for name, (_, count) in stages.items():
        low, median, high = np.percentile(np.array(seconds[name]) / count * 1000, [25, 50, 75])
        print(f"{name:14} {median:7.1f} ms a frame (quartiles {low:.1f} to {high:.1f}, batch {count})")


if __name__ == "__main__":
    main()

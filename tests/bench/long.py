"""`python tests/bench/long.py VIDEO`: whether the end of a long video is animated as fast as its start.

The whole command's work, with the small model of configs/tiny.yaml, random weights.
"""

import argparse
import dataclasses
import pathlib
import tempfile
import time

import harness
import numpy as np

from fomm_tf import checkpoint, config, video
from fomm_tf.inference import animate, animator

WARM_UP = 100


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=pathlib.Path, help="such as franck.mp4 of `fomm fetch faces`, 4,800 frames")
    parser.add_argument("--out", type=pathlib.Path, default=harness.OUTPUT, help="JSON file to put the figures into")
    arguments = parser.parse_args()
    settings, stamps = config.load(config.recipes()["tiny"]), []
    opened = video.open_video(arguments.video)

    def read():
        for frame in opened:
            stamps.append(time.perf_counter())
            yield frame

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        checkpoint.save(folder / "run", checkpoint.build(settings), "random weights, for a bench")
        model = animator.Animator.load(folder / "run")
        video.write_image(folder / "source.png", next(iter(opened)))
        timed = dataclasses.replace(opened, _read=read)
        output = animate.Output(str(folder / "result.mp4"), audio=False)
        count = animate.animate_file(model, str(folder / "source.png"), timed, output, settings.animate)
    # Frames are read at most a few batches before they are written, so that reading is as fast as the whole command.
    intervals = np.array_split(np.diff(stamps[WARM_UP:]), 10)
    rates = [1 / np.mean(interval) for interval in intervals]
    change = np.mean(rates[-2:]) / np.mean(rates[:2]) - 1
    print(f"{arguments.video.name}: {count} frames; frames/s by tenth: {', '.join(f'{rate:.0f}' for rate in rates)}")
    print(f"the last fifth against the first: {change:+.1%}")
    record = {"ms": round(1000 * np.mean(np.diff(stamps[WARM_UP:])), 3), "unit": "frame", "change": round(change, 4)}
    harness.write(arguments.out, f"long video {arguments.video.name}", {"animate": record})


if __name__ == "__main__":
    main()

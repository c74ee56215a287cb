"""`python tests/bench/pairs.py`: the training pairs alone, from png folders and from mp4, 256x256.

Reading the clips for the first time is timed by itself.
"""

import itertools
import os
import pathlib
import tempfile
import time

import harness

from fomm_tf import config
from fomm_tf.data import frames, pairs

SIDE = 256
JITTER = {"brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.1}
AUGMENTS = {
    "flips": config.AugmentConfig(),
    "jitter": config.AugmentConfig(**JITTER),
    "jitter+resize": config.AugmentConfig(**JITTER, resize=(0.9, 1.1), crop=True),
}


def write_clips(folder, suffix, clips, length):
    for number in range(clips):
        harness.write_drifting_noise(folder / f"clip{number}{suffix}", length, (SIDE, SIDE), seed=number)


def build_parts(folder, batch, steps, clips, length):
    """name -> `Part`, by kind of clip and augmentation; prints the time to read the clips."""
    parts = {}
    for kind, suffix in (("png", ""), ("mp4", ".mp4")):
        root = pathlib.Path(folder) / kind
        write_clips(root / "train", suffix, clips, length)
        for state in ("first", "again"):
            begin = time.perf_counter()
            index = frames.load(root, "train", (SIDE, SIDE))
            rate = 1000 * (time.perf_counter() - begin) / sum(map(len, index.clips))
            print(f"{kind:4} load, {state:13} {rate:7.3f} ms a frame")
        kept = sum(os.stat(clip.file).st_size for clip in index.clips) / sum(map(len, index.clips))
        print(f"{kind:4} kept                {kept / 1000:7.1f} kB a frame")
        for name, augment in AUGMENTS.items():
            stream = iter(pairs.make_dataset(index, config.DataConfig(augment=augment), batch, seed=0))
            parts[f"{kind}, {name}"] = stream_part(stream, steps, 2 * batch * steps, "frame")
    return parts


def stream_part(stream, steps, count, unit):
    """`steps` batches of a pipeline, without those prefetched while others were timed."""

    def take():
        return sum(1 for _ in itertools.islice(stream, steps))

    return harness.Part(take, count, before=take, unit=unit)


def main():
    parser = harness.parser(__doc__)
    parser.add_argument("--batch", type=int, default=40, help="pairs a step (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="steps a round (default: %(default)s)")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--length", type=int, default=60, help="frames a clip (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        parts = build_parts(folder, arguments.batch, arguments.steps, arguments.clips, arguments.length)
        records = harness.measure(parts, arguments.rounds)
        parts.clear()  # the pipelines stop reading before their files are deleted
    harness.write(arguments.out, "data pipeline", records)


if __name__ == "__main__":
    main()

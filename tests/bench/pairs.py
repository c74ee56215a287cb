"""`python tests/bench/pairs.py`: frames a second of the training pairs alone, from png folders and from mp4, 256x256.

Prints medians with quartiles over interleaved rounds; reading the clips for the first time is timed by itself.
"""

import argparse
import itertools
import pathlib
import tempfile
import time

import numpy as np

from fomm_tf import config, video
from fomm_tf.data import frames, pairs

SIDE = 256
JITTER = {"brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.1}
AUGMENTS = {
    "flips": config.AugmentConfig(),
    "jitter": config.AugmentConfig(**JITTER),
    "jitter+resize": config.AugmentConfig(**JITTER, resize=(0.9, 1.1), crop=True),
}


def write_clips(folder, suffix, clips, length):
    """Smooth noise that drifts, with grain: about as hard to compress as a filmed face."""
    for number in range(clips):
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 256, [24, 24, 3], np.uint8)
        picture = video.resize(coarse, (SIDE + length, SIDE + length))
        with video.write_video(folder / f"clip{number}{suffix}", 25) as writer:
            for shift in range(length):
                grain = rng.normal(0, 2, [SIDE, SIDE, 3])
                window = picture[shift : shift + SIDE, shift : shift + SIDE] + grain
                writer.write(np.clip(window, 0, 255).astype(np.uint8))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=40, help="pairs a step (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="steps a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--length", type=int, default=60, help="frames a clip (default: %(default)s)")
    arguments = parser.parse_args()
    streams = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, suffix in (("png", ""), ("mp4", ".mp4")):
            root = pathlib.Path(folder) / kind
            write_clips(root / "train", suffix, arguments.clips, arguments.length)
            for state in ("first", "again"):
                begin = time.perf_counter()
                index = frames.load(root, "train", (SIDE, SIDE))
                rate = 1000 * (time.perf_counter() - begin) / sum(map(len, index.clips))
                print(f"{kind:4} load, {state:13} {rate:7.3f} ms a frame")
            kept = sum(clip.kept.stat().st_size for clip in index.clips) / sum(map(len, index.clips))
            print(f"{kind:4} kept                {kept / 1000:7.1f} kB a frame")
            for name, augment in AUGMENTS.items():
                data = pairs.pairs(index, config.DataConfig(augment=augment), arguments.batch, seed=0)
                streams[kind, name] = iter(data)
        rates = {key: [] for key in streams}
        for warm in (True, *[False] * arguments.rounds):
            for key, stream in streams.items():
                # What the streams prepared while another one was timed does not count.
                for _ in itertools.islice(stream, 5):
                    pass
                begin = time.perf_counter()
                for _ in itertools.islice(stream, arguments.steps):
                    pass
                if not warm:
                    frames_made = 2 * arguments.batch * arguments.steps
                    rates[key].append(frames_made / (time.perf_counter() - begin))
    for (kind, name), values in rates.items():
        low, median, high = np.percentile(values, [25, 50, 75])
        print(f"{kind:4} {name:14} {median:7.0f} frames/s (quartiles {low:.0f} to {high:.0f}, batch {arguments.batch})")


if __name__ == "__main__":
    main()

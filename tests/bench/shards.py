"""`python tests/bench/shards.py`: many tiny clips written as shards, then an epoch of pairs from shards and from files.

Memory is what this process holds, in MB: before writing, after it, and through an epoch from shards.
"""

import itertools
import pathlib
import tempfile
import time

import harness
import numpy as np

from fomm_tf import config, video
from fomm_tf.data import frames, pairs, sharding

SIDE, FRAMES, BATCH = 32, 8, 40


def write_clips(folder, count):
    """Each clip is one image of `FRAMES` square frames side by side: smooth noise."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(count):
        noise = random.integers(0, 60, (SIDE // 4, SIDE * FRAMES // 4, 3), np.uint8)
        image = video.resize(noise, (SIDE, SIDE * FRAMES)) + np.uint8(number % 190)
        video.write_image(folder / f"{number // 10:05d}#{number % 10}.png", image)


def held_mb():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def read_epoch(index, settings, label):
    """Reads every clip once; prints pairs/s, and the memory at a tenth, at half and at the end."""
    steps = pairs.steps_per_epoch(index, settings, BATCH)
    stream = iter(pairs.make_dataset(index, settings, BATCH, seed=0))
    for _ in itertools.islice(stream, 10):
        pass  # threads and buffers
    memory, begin = {}, time.perf_counter()
    for step, _ in enumerate(itertools.islice(stream, steps), start=1):
        if step in (max(1, steps // 10), max(1, steps // 2), steps):
            memory[step] = round(held_mb())
    rate = steps * BATCH / (time.perf_counter() - begin)
    shown = ", ".join(f"{memory[step]} MB after step {step}" for step in memory)
    print(f"{label:6} epoch: {rate:8.0f} pairs/s; {shown}")
    return rate


def timed(label, work):
    begin = time.perf_counter()
    result = work()
    print(f"{label:21} {time.perf_counter() - begin:7.1f} s; {held_mb():.0f} MB")
    return result


def main():
    parser = harness.parser(__doc__)
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=16)
    arguments = parser.parse_args()
    settings, size = config.DataConfig(), (SIDE, SIDE)
    with tempfile.TemporaryDirectory() as folder:
        root, out = pathlib.Path(folder, "clips"), pathlib.Path(folder, "shards")
        write_clips(root / "train", arguments.clips)
        # TensorFlow's threads and the code of the writer, with few clips.
        write_clips(pathlib.Path(folder, "few", "train"), 20)
        sharding.write(pathlib.Path(folder, "few"), pathlib.Path(folder, "few-shards"), size, 2, settings)
        print(f"{'start':21} {'':9}; {held_mb():.0f} MB")
        timed("write shards", lambda: sharding.write(root, out, size, arguments.shards, settings))
        written = [path for path in out.iterdir() if path.suffix != ".json"]
        print(f"{len(written)} files, {sum(path.stat().st_size for path in written) / 1e6:.1f} MB")
        sharded = timed("load shards", lambda: frames.load(out, "train", size))
        timed("cache files", lambda: frames.load(root, "train", size))
        cached = timed("load files", lambda: frames.load(root, "train", size))
        rates = {"shards": [], "files": []}
        for _ in range(arguments.rounds):
            rates["shards"].append(read_epoch(sharded, settings, "shards"))
            rates["files"].append(read_epoch(cached, settings, "files"))
        medians = {name: float(np.median(values)) for name, values in rates.items()}
        print(f"shards / files: {medians['shards'] / medians['files']:.2f}")
    records = {f"{name}, {arguments.clips} clips": {"ms": 1000 / rate} for name, rate in medians.items()}
    harness.write(arguments.out, "shards", records)


if __name__ == "__main__":
    main()

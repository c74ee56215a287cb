"""`python tests/bench/startup.py`: from the start of `fomm animate` to its first frame, by engine, the bundled model.

Each run is a process of its own, with default options except `--crop off`. A run ends when the first frame has been
given to the encoder: by then the first batch is rendered. Engines alternate; their files are exported before. `cpu` is
that of all threads.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "fomm_tf" / "assets" / "demo"
# The parent's clock is the child's: both count from the start of the machine.
CHILD = """
import os, sys, time
from fomm_tf import cli
from fomm_tf.video import writing
begin, write = float(sys.argv.pop(1)), writing.VideoWriter.write
def write_first(self, frame):
    write(self, frame)
    print(time.monotonic() - begin, time.process_time(), int("tensorflow" in sys.modules), flush=True)
    os._exit(0)
writing.VideoWriter.write = write_first
sys.exit(cli.main())
"""


def first_frame(engine, precision, batch_size, folder):
    """Wall seconds, CPU seconds, and whether TensorFlow was loaded, of one run."""
    line = ["animate", "--source", DEMO / "astronaut.jpg", "--driving", DEMO / "driving.mp4", "--out", folder / "a.mp4"]
    line += ["--engine", engine, "--precision", precision, "--batch-size", batch_size, "--crop", "off", "--quiet"]
    command = [sys.executable, "-c", CHILD, repr(time.monotonic()), *map(str, line)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode or not done.stdout:
        raise SystemExit(f"{engine} {precision} failed: {done.stderr[-2000:]}")
    wall, cpu, has_tensorflow = map(float, done.stdout.split()[-3:])
    return wall, cpu, bool(has_tensorflow)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    default = ["keras-float32", "litert-float32", "litert-dynamic", "onnxruntime-float32"]
    parser.add_argument("--engines", nargs="+", default=default, metavar="ENGINE-PRECISION", help=" ".join(default))
    parser.add_argument("--rounds", type=int, default=7, help="runs of each (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="driving frames per batch (default: %(default)s)")
    arguments = parser.parse_args()
    pairs = [name.split("-") for name in arguments.engines]
    times = {tuple(pair): [] for pair in pairs}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.rounds + 1):
            for pair in times:
                run = first_frame(*pair, arguments.batch_size, pathlib.Path(folder))
                if number:  # the first one may have exported the model, and reads files from the disk
                    times[pair].append(run)
    print("seconds to the first frame, median (quartiles)")
    for pair, runs in times.items():
        wall, cpu = (np.percentile([run[column] for run in runs], [25, 50, 75]) for column in (0, 1))
        columns = [
            f"{what} {half:.2f} ({low:.2f} to {high:.2f})" for what, (low, half, high) in (("wall", wall), ("cpu", cpu))
        ]
        loaded = "TensorFlow loaded" if runs[-1][2] else "no TensorFlow"
        print(f"{' '.join(pair):24} {columns[0]}   {columns[1]}   {loaded}")


if __name__ == "__main__":
    main()

"""Shared by the benchmarks: interleaved rounds, the machine's peak rates in the same run, medians with spread, JSON.

The speed of a host varies within minutes, so parts alternate, and each is also reported relative to a matrix product
and to plain convolutions timed in the same rounds.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tqdm
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from fomm_tf import video

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "outputs" / "bench.json"
CEILING = ("ceiling: product 2048", "ceiling: convolution 3x3")


class Part(NamedTuple):
    """A part that is timed.

    Attributes:
      run: does it once and waits for the result.
      count: how many units (frames, batches) that makes.
      gflop: what a call executes, in 1e9 operations, a multiplication and an addition being two; 0 if it is not known.
      before: done before each call, not timed.
      unit: of what the milliseconds are.
      tracing: seconds that its graph took to build; 0 if that is not known.
    """

    run: Callable[[], object]
    count: int = 1
    gflop: float = 0.0
    before: Callable[[], object] = lambda: None
    unit: str = "frame"
    tracing: float = 0.0


def parser(description: str) -> argparse.ArgumentParser:
    """A parser with the options of all benchmarks."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--rounds", type=int, default=3, help="number of rounds in which each part is timed (default: %(default)s)"
    )
    parser.add_argument("--out", type=pathlib.Path, default=OUTPUT, help="JSON file to write the results to")
    return parser


def parse_models(description: str) -> argparse.Namespace:
    """The options of benchmarks of models on a data set: `runs`, `data`, and `out`, None unless it is given."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="models of one frame size")
    parser.add_argument("--data", required=True, type=pathlib.Path, help="data set with test clips")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")
    return parser.parse_args()


def wait(result: object) -> object:
    """Tensors to NumPy, at any depth."""
    return tf.nest.map_structure(lambda value: value.numpy() if tf.is_tensor(value) else value, result)


def graph_part(function: Callable[[], object], count: int = 1, unit: str = "frame") -> Part:
    """A function without arguments, in a graph of its own; TensorFlow's profiler counts its operations."""
    compiled = tf.function(function, autograph=False)
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation() | {"output": "none"}
    begin = time.perf_counter()
    graph = compiled.get_concrete_function().graph
    tracing = time.perf_counter() - begin
    work = tf.compat.v1.profiler.profile(graph, options=options).total_float_ops / 1e9
    return Part(lambda: wait(compiled()), count, work, unit=unit, tracing=tracing)


def ceiling() -> dict[str, Part]:
    """A float32 matrix product and a 3x3 convolution of the size of the generator's residual blocks."""
    generator = tf.random.Generator.from_seed(0)
    matrix = generator.normal([2048, 2048])
    frames, kernel = generator.normal([8, 64, 64, 256]), generator.normal([3, 3, 256, 256])
    work = (lambda: tf.matmul(matrix, matrix), lambda: tf.nn.conv2d(frames, kernel, 1, "SAME"))
    return {name: graph_part(function, unit="call") for name, function in zip(CEILING, work, strict=True)}


def measure(parts: dict[str, Part], rounds: int, clock: Callable[[], float] = time.perf_counter) -> dict[str, dict]:
    """Times the parts and the peak rates alternately; prints one line per part.

    Args:
      parts: by name.
      rounds: how often each is timed, after a first call.
      clock: in seconds; `cpu_clock` where other processes load the machine.

    Returns:
      name -> `ms` (median of one unit) with `quartiles`, `unit`, `first_ms` (the first call),
      `tracing_ms` and, where the work is known, `gflop` a unit, `gflop_per_second` and `share` of the ceiling.
    """
    parts = ceiling() | parts
    seconds = {name: [] for name in parts}
    with tqdm.tqdm(total=(rounds + 1) * len(parts), unit="call", leave=False, disable=None) as bar:
        for _ in range(rounds + 1):
            for name, part in parts.items():
                bar.set_postfix_str(name)
                part.before()
                begin = clock()
                part.run()
                seconds[name].append(clock() - begin)
                bar.update()
    top = np.mean([parts[name].gflop / np.median(seconds[name][1:]) for name in CEILING])
    records = {}
    for name, part in parts.items():
        first, *timed = seconds[name]
        low, median, high = 1000 * np.percentile(timed, [25, 50, 75]) / part.count
        records[name] = {
            "ms": round(median, 3),
            "quartiles": [round(low, 3), round(high, 3)],
            "unit": part.unit,
            "first_ms": round(1000 * first, 1),
            "tracing_ms": round(1000 * part.tracing, 1),
        }
        if part.gflop:
            speed = part.gflop / np.median(timed)
            records[name] |= {
                "gflop": round(part.gflop / part.count, 3),
                "gflop_per_second": round(speed, 1),
                "share": round(speed / top, 3),
            }
        print(describe(name, records[name]), flush=True)
    return records


def cpu_clock() -> float:
    """CPU seconds of all threads of this process, divided by the cores it may use."""
    return time.process_time() / len(os.sched_getaffinity(0))


def describe(name: str, record: dict) -> str:
    low, high = record["quartiles"]
    line = f"{name:34} {record['ms']:9.2f} ms a {record['unit']:5} ({low:.2f} to {high:.2f}"
    line += f"; first call {record['first_ms']:.0f}, tracing {record['tracing_ms']:.0f})"
    if "gflop" in record:
        line += f"  {record['gflop']:8.2f} GFLOP, {record['gflop_per_second']:6.1f} GFLOP/s, {record['share']:.0%}"
    return line


def write_drifting_noise(
    path: pathlib.Path, frames: int, size: tuple[int, int], seed: int = 0, grain_channels: int = 3
) -> None:
    """Smooth noise that drifts, with grain: about as hard to compress as a video of a face."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, [24, 24, 3], np.uint8)
    height, width = size
    image = video.resize(coarse, (height + frames, width + frames), "stretch")
    with video.write_video(path, 25) as writer:
        for shift in range(frames):
            grain = rng.normal(0, 2, [height, width, grain_channels])
            window = image[shift : shift + height, shift : shift + width] + grain
            writer.write(np.clip(window, 0, 255).astype(np.uint8))


def peak_gib() -> float:
    """The peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def peak_tensors_gib(run: Callable[[], object]) -> float:
    """The peak memory of tensors in this process by the end of `run`, by TensorFlow's profiler.

    What a GPU would have to hold; the process holds more: libraries, and what the allocator keeps for later.
    """
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        run()
        tf.profiler.experimental.stop()
        space = xplane_pb2.XSpace()
        space.ParseFromString(next(pathlib.Path(folder).rglob("*.xplane.pb")).read_bytes())
    peaks = [
        stat.int64_value or stat.uint64_value
        for plane in space.planes
        for line in plane.lines
        for event in line.events
        for stat in event.stats
        if plane.stat_metadata[stat.metadata_id].name == "peak_bytes_in_use"
    ]
    return max(peaks) / 2**30


def write(path: pathlib.Path, bench: str, records: dict[str, dict]) -> None:
    """Adds the results of one benchmark, and a description of the machine, to the JSON file."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    known = json.loads(path.read_text()) if path.exists() else {}
    known[bench] = {
        "measured": {
            "commit": commit.stdout.strip() or "unknown",
            "date": datetime.date.today().isoformat(),
            "cores": len(os.sched_getaffinity(0)),
            "processor": _processor(),
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("tensorflow", "numpy", "av")},
        },
        "parts": records,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=1) + "\n")
    print(f"written: {path}")


def _processor() -> str:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())

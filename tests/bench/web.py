"""`python tests/bench/web.py SITE`: a site of `fomm export --to web` in headless Chromium: the builds of LiteRT.js with
and without threads, next to the same files on this machine's own LiteRT, and to onnxruntime-web.

Times are CPU time of all processes of the browser, which other programs on the machine change little, and time on the
clock. Stages of onnxruntime-web run on the page, those of LiteRT.js in a worker: both copy each tensor once.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from unittest import mock

import harness
import numpy as np

sys.path += [str(harness.ROOT), str(harness.ROOT / "tests")]

import browser

from fomm_tf import fetch
from fomm_tf.export import examples, runner

CONFIGURATIONS = {
    "threads, 2": {"threads": 2},
    "simd, 1 thread": {"threads": 1},
    "compatible, 1 thread": {"threads": 1, "build": "compatible"},
}
ONNXRUNTIME = fetch.Assets(
    packages=(
        fetch.Package(
            client="npm",
            name="onnxruntime-web",
            version="1.30.0",
            megabytes=33.1,
            members={
                "package/dist/ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
                "package/dist/ort-wasm-simd-threaded.mjs": (
                    "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b"
                ),
                "package/dist/ort-wasm-simd-threaded.wasm": (
                    "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"
                ),
            },
        ),
    ),
    terms="onnxruntime-web is MIT-licensed.",
)
SET_UP = """async ({ configurations, source, frame }) => {
  const { Pipeline } = await import("./package/pipeline.js");
  self.frames = {};
  for (const [name, options] of Object.entries(configurations)) {
    const pipeline = await Pipeline.load("model/", options);
    const image = (bytes) => new ImageData(Uint8ClampedArray.from(bytes), pipeline.width, pipeline.height);
    const [first, second] = [image(source), image(frame)];
    self.frames[name] = () => pipeline.animate(first, second);
    self.description = pipeline.description;
    await self.frames[name]();
  }
}"""
SET_UP_ONNX = """async ({ threads, inputs }) => {
  const ort = await import("./onnxruntime/ort.wasm.min.mjs");
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = new URL("onnxruntime/", document.baseURI).href;
  const sessions = {};
  for (const stage of ["detector", "motion", "warp", "renderer"])
    sessions[stage] = await ort.InferenceSession.create(`onnx/${stage}-float32.onnx`);
  const tensor = ({ data, shape, type }) =>
    new ort.Tensor(type, type === "bool" ? data : Float32Array.from(data), shape);
  const feeds = Object.fromEntries(Object.entries(inputs).map(([name, value]) => [name, tensor(value)]));
  self.frames[`onnxruntime-web, ${threads}`] = async () => {
    let state = feeds;
    for (const stage of ["detector", "motion", "warp", "renderer"]) {
      const needed = Object.fromEntries(sessions[stage].inputNames.map((name) => [name, state[name]]));
      const outputs = await sessions[stage].run(needed);
      const prefix = stage === "detector" ? "driving_" : "";
      state = { ...state };
      for (const [name, value] of Object.entries(outputs)) state[prefix + name] = value;
    }
  };
  await self.frames[`onnxruntime-web, ${threads}`]();
}"""
RUN = """async ({ name, count }) => {
  for (let index = 0; index < count; index++) await self.frames[name]();
}"""


def cpu_seconds():
    """CPU time of all descendants of this process."""
    children, ticks = {}, {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        children.setdefault(int(fields[1]), []).append(int(path.parent.name))
        ticks[int(path.parent.name)] = int(fields[11]) + int(fields[12])
    total, todo = 0, [os.getpid()]
    while todo:
        for child in children.get(todo.pop(), []):
            total += ticks[child]
            todo.append(child)
    return total / os.sysconf("SC_CLK_TCK")


def opaque(frame):
    return np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)]).ravel().tolist()


def link_site(folder, site):
    """A copy of a site by links, with an empty page."""
    folder.mkdir()
    for path in site.iterdir():
        (folder / path.name).symlink_to(path.resolve())
    (folder / "bench.html").write_text("<!doctype html><title>bench</title>")


def add_onnx(folder, run):
    """Adds onnxruntime-web and an ONNX export of the run."""
    line = ["--run", run, "--to", "onnx", "--variants", "float32", "--no-verify", "--out", folder / "onnx"]
    subprocess.run(
        [sys.executable, "-m", "fomm_tf", "export", *line], cwd=harness.ROOT, check=True, capture_output=True
    )
    (folder / "onnxruntime").mkdir()
    with mock.patch.dict(fetch.SETS, {"onnxruntime-web": ONNXRUNTIME}):
        for name, path in fetch.fetch("onnxruntime-web").items():
            (folder / "onnxruntime" / name).symlink_to(path)


def onnx_inputs(chain, source, frame):
    """Everything that a driving frame needs besides what the stages compute."""
    keypoints = chain.detect(frame)
    state = chain.encode_source(source) | {f"initial_{name}": value for name, value in keypoints.items()}
    state["frame"] = np.float32(frame)[np.newaxis] / 255
    inputs = {
        name: {"data": value.ravel().tolist(), "shape": list(value.shape), "type": "float32"}
        for name, value in state.items()
    }
    for name, value in {"relative": True, "adapt_scale": False}.items():
        inputs[name] = {"data": [value], "shape": [1], "type": "bool"}
    return inputs


def main():
    parser = harness.parser(__doc__)
    parser.add_argument("site", type=pathlib.Path, metavar="SITE", help="output directory of fomm export --to web")
    parser.add_argument("--run", help="compare with onnxruntime-web: the run directory of the site")
    parser.add_argument("--frames", type=int, default=5, help="frames per round (default: %(default)s)")
    arguments = parser.parse_args()
    chain = runner.Pipeline(arguments.site / "model", threads=1)
    size = chain.description["frame_size"]
    source, frame = examples.draw(size, 2)
    encoded, initial = chain.encode_source(source), chain.detect(frame)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "chromium").mkdir()
        link_site(folder / "site", arguments.site)
        if arguments.run:
            add_onnx(folder / "site", arguments.run)
        with browser.launch(folder / "chromium") as chromium, browser.serve(folder / "site") as address:
            page = chromium.new_page()
            page.set_default_timeout(0)
            page.goto(address + "bench.html")
            given = {"configurations": CONFIGURATIONS, "source": opaque(source), "frame": opaque(frame)}
            page.evaluate(SET_UP, given)
            names = list(CONFIGURATIONS)
            if arguments.run:
                page.evaluate(SET_UP_ONNX, {"threads": 1, "inputs": onnx_inputs(chain, source, frame)})
                names.append("onnxruntime-web, 1")
            times = {}
            for _ in range(arguments.rounds):
                for name in names:
                    used, begin = cpu_seconds(), time.perf_counter()
                    page.evaluate(RUN, {"name": name, "count": arguments.frames})
                    spent = cpu_seconds() - used, time.perf_counter() - begin
                    times.setdefault(name, []).append([1000 * value / arguments.frames for value in spent])
                used, begin = time.process_time(), time.perf_counter()
                for _ in range(arguments.frames):
                    chain.render(encoded, chain.detect(frame), initial)
                spent = time.process_time() - used, time.perf_counter() - begin
                times.setdefault("native, 1 thread", []).append([1000 * value / arguments.frames for value in spent])
    records = {}
    for name, rounds in times.items():
        cpu, clock = (statistics.median(values) for values in zip(*rounds, strict=True))
        best = min(clock for _, clock in rounds)
        records[name] = {"cpu_ms": round(cpu, 1), "ms": round(clock, 1), "best_ms": round(best, 1)}
        print(
            f"{name:24} {cpu:8.1f} ms of CPU time a frame, {clock:8.1f} ms on the clock: "
            f"{1000 / clock:.1f} frames/s, {1000 / best:.1f} in the best round"
        )
    harness.write(arguments.out, f"web {chain.description['name']}", records)


if __name__ == "__main__":
    main()

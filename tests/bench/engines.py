"""`python tests/bench/engines.py`: all engines of `fomm animate` and the reference's own loop, in interleaved rounds.

A recipe with random weights: speed does not hang on them. Each engine renders the same driving frames of the model's
size as `fomm animate` does, without decoding and encoding videos; the last column says how far its frames are from
those of Keras in float32. `auto` is what `--engine auto` chooses on this machine. The reference is timed if an
interpreter that has PyTorch is named, `--torch-python PYTHON`; PyTorch is no dependency of fomm-tf. `onnxruntime int8`,
static 8-bit files, is timed even if fomm-tf has no such engine.
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import harness
import numpy as np
import runtimes

sys.path.append(str(harness.ROOT))

from fomm_tf import checkpoint, config, model_folders, torch_import
from fomm_tf.export import examples
from fomm_tf.inference import animator, engines, stream
from fomm_tf.inference.engines import choice

REFERENCE, KERAS = "reference, PyTorch", "keras float32"
ENGINES = (KERAS, "litert float32", "litert dynamic", "onnxruntime float32", "onnxruntime int8")


class Reference:
    """The reference's loop in a process of its own; calling it gives the wall and CPU seconds of one pass."""

    def __init__(self, python, folder, run, frames):
        state = torch_import.checkpoints.export_checkpoint(run)
        names = ("generator", "kp_detector")
        np.savez(
            folder / "weights.npz", **{f"{name}/{key}": value for name in names for key, value in state[name].items()}
        )
        np.save(folder / "frames.npy", frames)
        (folder / "model.json").write_text(json.dumps(dataclasses.asdict(run.config.model)))
        script = pathlib.Path(__file__).with_name("reference_loop.py")
        command = [python, script, folder, str(len(os.sched_getaffinity(0)))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.version = self._process.stdout.readline().strip()
        if not self.version:
            raise SystemExit(f"the reference's loop failed in {python}; see above.")
        self.predictions = np.load(folder / "predictions.npy")

    def __call__(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return tuple(map(float, self._process.stdout.readline().split()))

    def close(self):
        self._process.communicate()


class Ours:
    """An engine on the same frames, in batches of `fomm animate`."""

    def __init__(self, folder, name, frames):
        engine, precision = name.split()
        is_static = name == "onnxruntime int8" and precision not in engines.PRECISIONS[engine]
        self._engine = engines.load(folder, engine, "float32" if is_static else precision)
        self._model = animator.Animator(self._engine, folder.config)
        self._source, self._frames = self._model.encode_source(frames[0]), frames[1:]
        if is_static:
            self._quantize()
        self.predictions = self._render()

    def __call__(self):
        begin = time.perf_counter(), time.process_time()
        self._render()
        return time.perf_counter() - begin[0], time.process_time() - begin[1]

    def _render(self):
        parts = stream.render_stream(self._model, self._source, self._frames, self._model.config.animate)
        return np.concatenate([np.asarray(rendering.prediction) for _, rendering in parts])

    def _quantize(self):
        """Replaces the stages by 8-bit ones, calibrated on their inputs for one batch."""
        pipeline, inputs = self._engine._pipeline, {}
        run, folder = pipeline.run, next(iter(pipeline._files.values())).parent

        def record(stage, tensors):
            inputs[stage] = {name: tensors[name] for name in pipeline.description["stages"][stage]["inputs"]}
            return run(stage, tensors)

        pipeline.run = record
        self._model.encode_source(self._frames[0])
        self._render()
        self._engine._pipeline = runtimes.OtherPipeline("onnx-int8", folder, inputs, len(os.sched_getaffinity(0)))


def psnr(predictions, exact):
    """Of the worst frame, in dB."""
    return -10 * np.log10(max(np.square(predictions - exact).mean(axis=(1, 2, 3)).max(), 1e-12))


def has_torch(python):
    try:
        return subprocess.run([python, "-c", "import torch"], capture_output=True).returncode == 0
    except OSError:  # no such interpreter
        return False


def print_table(times, quality, base):
    """Medians by wall and CPU time, and ratios to `base` and to Keras, each of the medians."""
    medians = {name: np.median(seconds, axis=0) for name, seconds in times.items()}
    print(
        f"{'ms per driving frame':28} {'wall':>8} {'quartiles':>17} {'cpu':>8}   speed against {base}, keras; quality"
    )
    for name, (wall, cpu) in medians.items():
        low, high = np.percentile([seconds[0] for seconds in times[name]], [25, 75])
        ratios = [f"{medians[other][0] / wall:6.2f} ({medians[other][1] / cpu:.2f} by cpu)" for other in (base, KERAS)]
        print(f"{name:28} {wall:8.1f} {low:8.1f}-{high:8.1f} {cpu:8.1f}   {'  '.join(ratios)}; {quality[name]:.0f} dB")


def main():
    parser = harness.parser(__doc__)
    parser.set_defaults(rounds=5)
    parser.add_argument("--config", default="vox-256", help="a recipe (default: %(default)s)")
    parser.add_argument("--engines", nargs="+", default=ENGINES, metavar="NAME", help=f"default: {', '.join(ENGINES)}")
    parser.add_argument("--frames", type=int, default=stream.DEFAULT_BATCH_SIZE, help="driving frames a round")
    parser.add_argument("--torch-python", default=sys.executable, help="an interpreter that has PyTorch")
    parser.add_argument("--no-auto", action="store_true", help="leave out the choice of --engine auto")
    arguments = parser.parse_args()
    settings = config.load(config.recipes()[arguments.config])
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        os.environ["FOMM_TF_CACHE"] = str(folder / "cache")  # random weights are not worth keeping
        run = checkpoint.build(settings)
        checkpoint.save(folder / "run", run, "random weights, for a bench")
        opened = model_folders.read(folder / "run")
        frames = examples.draw(settings.model.frame_size, 1 + arguments.frames)
        names, chosen = list(dict.fromkeys([KERAS, *arguments.engines])), None
        if not arguments.no_auto:
            chosen = " ".join(choice.choose(opened, engines.AUTO, engines.AUTO, lambda: frames[0]))
            names = list(dict.fromkeys([*names, chosen]))
        parts, base = {}, KERAS
        if has_torch(arguments.torch_python):
            parts[REFERENCE], base = Reference(arguments.torch_python, folder, run, frames), REFERENCE
            print(f"{REFERENCE}: {parts[REFERENCE].version}", flush=True)
        else:
            print(f"{arguments.torch_python} has no PyTorch: the reference's loop is left out; see --torch-python")
        parts |= {name: Ours(opened, name, frames) for name in names}
        quality = {name: psnr(part.predictions, parts[KERAS].predictions) for name, part in parts.items()}
        print(f"prepared in {time.perf_counter() - begin:.0f} s", flush=True)
        times = {name: [] for name in parts}
        for number in range(arguments.rounds + 1):
            for name, part in parts.items():
                seconds = part()
                if number:  # the first round warms up
                    times[name].append(1000 * np.array(seconds) / arguments.frames)
        if base == REFERENCE:
            parts[REFERENCE].close()
    print_table(times, quality, base)
    if chosen:
        ratio = np.median(times[chosen], axis=0) / np.median(times[KERAS], axis=0)
        print(f"auto chose {chosen}: {ratio[0]:.3f} of the time of {KERAS} ({ratio[1]:.3f} by cpu)")
    records = {}
    for name, seconds in times.items():
        low, wall, high = np.percentile([each[0] for each in seconds], [25, 50, 75]).round(2).tolist()
        cpu = round(float(np.median([each[1] for each in seconds])), 2)
        records[name] = {
            "ms": wall,
            "quartiles": [low, high],
            "unit": "frame",
            "cpu_ms": cpu,
            "psnr": round(float(quality[name]), 1),
        }
    harness.write(arguments.out, f"engines {arguments.config}", records)


if __name__ == "__main__":
    main()

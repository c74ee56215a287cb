"""`python tests/bench/exports.py`: TFLite files on ai-edge-litert, ONNX files on onnxruntime and other runtimes, and
the Keras networks, by stage and by whole driving frame, a batch of 1, as many threads as there are cores.

A recipe's weights are random: speed does not hang on them.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import harness
import numpy as np
import runtimes
import tensorflow as tf

sys.path.append(str(harness.ROOT))

from fomm_tf import checkpoint, config
from fomm_tf.export import VARIANTS, examples, pipeline, runner, stages
from fomm_tf.models import folding

KINDS = [f"{form}-{variant}" for form in ("tflite", "onnx") for variant in VARIANTS[form]]


def keras_parts(built, inputs):
    """name -> `Part` of the functions that the files are exported from."""

    def part(names):
        given = {name: tf.nest.map_structure(tf.constant, inputs[name]) for name in names}
        return harness.graph_part(lambda: [built.functions[name](**given[name]) for name in names])

    parts = {f"keras: {name}": part([name]) for name in stages.NAMES}
    return parts | {"keras: driving frame": part([name for name in stages.NAMES if name != "source_encoder"])}


def file_parts(kind, folder, inputs, image, frame, expected, repeats):
    """name -> `Part` of one variant's files; prints how far its frame is from the expected one."""
    if kind in runtimes.KINDS:
        chain = runtimes.OtherPipeline(kind, folder, inputs, os.cpu_count())
    else:
        chain = runner.Pipeline(folder, kind.split("-")[1], os.cpu_count())
    encoded, driving = chain.encode_source(image), chain.detect(frame)
    calls = {stage: lambda stage=stage: chain.run(stage, inputs[stage]) for stage in stages.NAMES}
    calls["driving frame"] = lambda: chain.render(encoded, chain.detect(frame), driving)
    psnr = float(tf.image.psnr(calls["driving frame"](), expected, 1.0))
    replaced = [f"; {stage} in onnxruntime: {why}" for stage, why in getattr(chain, "replaced", {}).items()]
    print(f"{kind}: {psnr:.1f} dB from Keras{''.join(replaced)}", flush=True)
    return {f"{kind}: {name}": repeated(call, repeats) for name, call in calls.items()}


def repeated(call, repeats):
    return harness.Part(lambda: [call() for _ in range(repeats)], repeats, before=call)


def main():
    parser = harness.parser(__doc__)
    known = [*KINDS, *runtimes.available()]
    parser.add_argument("--config", default="vox-256", help="a recipe (default: %(default)s)")
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=known,
        default=KINDS,
        metavar="KIND",
        help=f"of {' '.join(known)} (default: exports)",
    )
    parser.add_argument("--repeats", type=int, default=3, help="calls in a row (default: %(default)s)")
    text = "what is measured: wall, or cpu (of all threads, by the cores) where others load the machine (default: wall)"
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help=text)
    parser.add_argument("--files", type=pathlib.Path, help="keep the exported files here, and use those that are here")
    arguments = parser.parse_args()
    wanted = dict.fromkeys("onnx-float32" if kind in runtimes.KINDS else kind for kind in arguments.kinds)
    settings = config.load(config.recipes()[arguments.config])
    with tempfile.TemporaryDirectory() as folder:
        folder = arguments.files or pathlib.Path(folder)
        if not (folder / "run").exists():
            checkpoint.save(folder / "run", checkpoint.build(settings), "random weights, for a bench")
        run = checkpoint.load(folder / "run")
        folding.fold_batch_norms(run.model)
        built = stages.Stages(settings, run.model)
        image, frame = np.float32(examples.draw(settings.model.frame_size, 2)) / 255
        keras = pipeline.KerasPipeline(built)
        (expected,) = keras.animate(image, [frame])
        inputs = {stage: given for stage, given, _ in keras.calls}
        parts = keras_parts(built, inputs)
        for kind in wanted:
            if (folder / kind).exists():
                continue
            form, variant = kind.split("-")
            line = ["--run", folder / "run", "--to", form, "--variants", variant, "--out", folder / kind, "--no-verify"]
            subprocess.run(
                [sys.executable, "-m", "fomm_tf", "export", *line], cwd=harness.ROOT, check=True, capture_output=True
            )
        for kind in arguments.kinds:
            files = folder / ("onnx-float32" if kind in runtimes.KINDS else kind)
            parts |= file_parts(kind, files, inputs, image, frame, expected, arguments.repeats)
        clock = harness.cpu_clock if arguments.clock == "cpu" else time.perf_counter
        records = harness.measure(parts, arguments.rounds, clock)
        for kind in arguments.kinds:
            files = [*(folder / kind).glob("*.tflite"), *(folder / kind).glob("*.onnx")]
            size = sum(file.stat().st_size for file in files if not file.name.startswith("animate")) / 1e6
            frame = records[f"{kind}: driving frame"]["ms"]
            ratio = records["keras: driving frame"]["ms"] / frame
            size = f"{size:.1f} MB, " if files else ""
            print(f"{kind}: {size}{1000 / frame:.1f} frames/s, {ratio:.2f} times as fast as Keras")
    harness.write(arguments.out, f"exports {arguments.config}", records)


if __name__ == "__main__":
    main()

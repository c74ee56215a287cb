"""`python tests/bench/exports.py`: TFLite files on ai-edge-litert and ONNX files on onnxruntime and the Keras
networks, by stage and by whole driving frame, a batch of 1, as many threads as there are cores.

A recipe's weights are random: speed does not hang on them.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

import harness
import numpy as np
import tensorflow as tf

sys.path.append(str(harness.ROOT))

from fomm_tf import checkpoint, config
from fomm_tf.export import VARIANTS, examples, pipeline, runner, stages
from fomm_tf.models import blocks

KINDS = [f"{form}-{variant}" for form in ("tflite", "onnx") for variant in VARIANTS[form]]
REPEATS = 3


def keras_parts(built, inputs):
    """name -> `Part` of the functions that the files are exported from."""

    def part(names):
        given = {name: tf.nest.map_structure(tf.constant, inputs[name]) for name in names}
        return harness.graph_part(lambda: [built.functions[name](**given[name]) for name in names])

    parts = {f"keras: {name}": part([name]) for name in stages.NAMES}
    return parts | {"keras: driving frame": part([name for name in stages.NAMES if name != "source_encoder"])}


def file_parts(kind, folder, inputs, image, frame):
    """name -> `Part` of one variant's files."""
    chain = runner.Pipeline(folder, kind.split("-")[1], os.cpu_count())
    encoded, driving = chain.encode_source(image), chain.detect(frame)
    calls = {stage: lambda stage=stage: chain.run(stage, inputs[stage]) for stage in stages.NAMES}
    calls["driving frame"] = lambda: chain.render(encoded, chain.detect(frame), driving)
    return {f"{kind}: {name}": repeated(call) for name, call in calls.items()}


def repeated(call):
    return harness.Part(lambda: [call() for _ in range(REPEATS)], REPEATS, before=call)


def main():
    parser = harness.parser(__doc__)
    parser.add_argument("--config", default="vox-256", help="a recipe (default: %(default)s)")
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=KINDS, metavar="KIND", help=f"of {' '.join(KINDS)} (default: all)"
    )
    arguments = parser.parse_args()
    settings = config.load(config.recipes()[arguments.config])
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        run = checkpoint.build(settings)
        checkpoint.save(folder / "run", run, "random weights, for a bench")
        blocks.fold_batch_norms(run.model)
        built = stages.Stages(settings, run.model)
        image, frame = np.float32(examples.draw(settings.model.frame_size, 2)) / 255
        keras = pipeline.KerasPipeline(built)
        list(keras.animate(image, [frame]))
        inputs = {stage: given for stage, given, _ in keras.calls}
        parts = keras_parts(built, inputs)
        for kind in arguments.kinds:
            form, variant = kind.split("-")
            line = ["--run", folder / "run", "--to", form, "--variants", variant, "--out", folder / kind, "--no-verify"]
            subprocess.run(
                [sys.executable, "-m", "fomm_tf", "export", *line], cwd=harness.ROOT, check=True, capture_output=True
            )
            parts |= file_parts(kind, folder / kind, inputs, image, frame)
        records = harness.measure(parts, arguments.rounds)
        for kind in arguments.kinds:
            files = [*(folder / kind).glob("*.tflite"), *(folder / kind).glob("*.onnx")]
            size = sum(file.stat().st_size for file in files if not file.name.startswith("animate")) / 1e6
            frame = records[f"{kind}: driving frame"]["ms"]
            print(f"{kind}: {size:.1f} MB, {1000 / frame:.1f} frames/s")
    harness.write(arguments.out, f"exports {arguments.config}", records)


if __name__ == "__main__":
    main()

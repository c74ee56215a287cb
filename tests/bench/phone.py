"""`python tests/bench/phone.py`: TFLite files on ai-edge-litert, by stage and by whole driving frame, a batch of 1.

A recipe's weights are random: speed does not hang on them.
"""

import os
import pathlib
import sys
import tempfile

import harness
import numpy as np

sys.path.append(str(harness.ROOT))

from export import VARIANTS, examples, litert_runner, stages, tflite
from fomm_tf import checkpoint, config

REPEATS = 3


def build_parts(folder, variant):
    """name -> `Part` of one variant."""
    pipeline = litert_runner.Pipeline(folder, variant, os.cpu_count())
    picture, frame = np.float32(examples.draw(pipeline.description["frame_size"], 2)) / 255
    encoded, driving = pipeline.encode_source(picture), pipeline.detect(frame)
    state = {"source": picture[np.newaxis], "frame": frame[np.newaxis]} | encoded
    state |= {f"{owner}_{name}": value for owner in ("driving", "initial") for name, value in driving.items()}
    state |= {"relative": np.array([True]), "adapt_scale": np.array([False])}
    for stage in ("motion", "warp", "renderer"):
        state |= pipeline.run(stage, state)
    calls = {stage: lambda stage=stage: pipeline.run(stage, state) for stage in stages.NAMES}
    calls["driving frame"] = lambda: pipeline.render(encoded, pipeline.detect(frame), driving)
    return {f"{variant}: {name}": repeated(call) for name, call in calls.items()}


def repeated(call):
    return harness.Part(lambda: [call() for _ in range(REPEATS)], REPEATS, before=call)


def main():
    parser = harness.parser(__doc__)
    parser.add_argument("--config", default="vox-256", help="a recipe (default: %(default)s)")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS, metavar="NAME")
    arguments = parser.parse_args()
    settings = config.load(config.recipes()[arguments.config])
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        checkpoint.save(folder / "run", checkpoint.build(settings), "random weights, for a bench")
        files = tflite.write(folder / "run", folder / "files", arguments.variants)
        parts = {}
        for variant in arguments.variants:
            parts |= build_parts(files, variant)
        records = harness.measure(parts, arguments.rounds)
        size = sum(file.stat().st_size for file in files.glob("*.tflite")) / 1e6
    print(f"{size:.1f} MB of files, {', '.join(arguments.variants)} together")
    harness.write(arguments.out, f"phone {arguments.config}", records)


if __name__ == "__main__":
    main()

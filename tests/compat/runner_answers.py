"""Run in an environment with one runtime and numpy alone: exported files animate as the Keras model does.

    python runner_answers.py FOLDER ANSWERS.npz PACKAGE

ANSWERS.npz holds `image`, `clip` (uint8) and `expected`, what the Keras model made of them; PACKAGE is the runtime.
"""

import importlib.metadata
import importlib.util
import json
import pathlib
import sys

import numpy as np

# The least PSNR of a frame, in dB.
ASKED = {"float32": 60, "float16": 45, "dynamic": 35, "int8": 30}


def hostile(pipeline, image, frame):
    """Numbers that no detector gives; a crash would end this process."""
    encoded, good = pipeline.encode_source(image), pipeline.detect(frame)
    for odd in (np.nan, np.inf, -np.inf, 1e30, 0.0):
        bad = {name: np.full_like(value, odd) for name, value in good.items()}
        for driving, initial in ((bad, good), (good, bad), (bad, bad)):
            assert pipeline.render(encoded, driving, initial, True, True).shape == image.shape
    pipeline.detect(np.zeros_like(frame))


def main():
    for other in ("fomm_tf", "tensorflow", "onnx"):
        assert importlib.util.find_spec(other) is None, f"{other} is here; this must do without"
    folder, answers, package = sys.argv[1:]
    sys.path.insert(0, folder)
    from runner import Pipeline

    data = np.load(answers)
    for variant in json.loads((pathlib.Path(folder) / "pipeline.json").read_text())["variants"]:
        pipeline, asked = Pipeline(folder, variant), ASKED[variant]
        made = np.stack(list(pipeline.animate(data["image"], data["clip"])))
        off = (made.astype(np.float64) - data["expected"]) / 255
        psnr = float(-10 * np.log10(np.maximum(np.square(off).mean(axis=(1, 2, 3)), 1e-10)).min())
        assert psnr >= asked, f"{variant}: {psnr:.1f} dB"
        hostile(pipeline, data["image"], data["clip"][0])
        print(f"{variant}: {psnr:.1f} dB")
    print(f"{package} {importlib.metadata.version(package)}")


main()

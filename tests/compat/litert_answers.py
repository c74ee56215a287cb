"""Run in an environment with the newest ai-edge-litert and numpy alone: exported files animate as the Keras model does.

    python litert_answers.py FOLDER ANSWERS.npz

ANSWERS.npz holds `picture`, `clip` (uint8) and `expected`, what the Keras model made of them.
"""

import importlib.metadata
import importlib.util
import sys

import numpy as np

# The least PSNR of a frame, in dB.
ASKED = {"float32": 60, "float16": 45, "dynamic": 35, "int8": 30}


def hostile(pipeline, picture, frame):
    """Numbers that no detector gives; a crash would end this process."""
    encoded, good = pipeline.encode_source(picture), pipeline.detect(frame)
    for odd in (np.nan, np.inf, -np.inf, 1e30, 0.0):
        bad = {name: np.full_like(value, odd) for name, value in good.items()}
        for driving, initial in ((bad, good), (good, bad), (bad, bad)):
            assert pipeline.render(encoded, driving, initial, True, True).shape == picture.shape
    pipeline.detect(np.zeros_like(frame))


def main():
    for package in ("fomm_tf", "tensorflow", "export"):
        assert importlib.util.find_spec(package) is None, f"{package} is here; this must do without"
    folder, answers = sys.argv[1:]
    sys.path.insert(0, folder)
    from litert_runner import Pipeline

    data = np.load(answers)
    for variant, asked in ASKED.items():
        pipeline = Pipeline(folder, variant)
        made = np.stack(list(pipeline.animate(data["picture"], data["clip"])))
        off = (made.astype(np.float64) - data["expected"]) / 255
        psnr = float(-10 * np.log10(np.maximum(np.square(off).mean(axis=(1, 2, 3)), 1e-10)).min())
        assert psnr >= asked, f"{variant}: {psnr:.1f} dB"
        hostile(pipeline, data["picture"], data["clip"][0])
        print(f"{variant}: {psnr:.1f} dB")
    print(f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}")


main()

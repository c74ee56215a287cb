"""`python tests/inference/measure_memory.py FRAMES`: resident memory while a drawn video is animated with all options.

Prints the megabytes at each twentieth of each pass over the driving video, as JSON: one list per pass.
"""

import json
import pathlib
import sys
import tempfile
from fractions import Fraction

import numpy as np
from drawn_discs import DiscDetector, draw
from shifting_model import ShiftingModel

from fomm_tf import detectors, video
from fomm_tf.inference import animate, framing

SIZE = (90, 160)


def resident():
    """In MB."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def main(count):
    detectors.BOXES["face"] = lambda threads: DiscDetector()
    detectors.POINTS.pop("face-points")
    detectors.are_installed = lambda: True
    passes = []

    def read():
        passes.append([])
        for index in range(count):
            if index % (count // 20) == 0:
                passes[-1].append(round(resident(), 1))
            bright = 60 * (index // (count // 4) % 2)  # three cuts
            shown = index % 400 > 5  # and some frames without the disc
            discs = [(60 + round(20 * np.sin(index / 9)), 45, 20)] if shown else []
            yield bright + draw(SIZE, *discs)[0] // 4 * 3

    def moving(offset):
        return lambda: (draw(SIZE, (80 + round(9 * np.sin(index / 7)), 45 + offset, 18))[0] for index in range(count))

    driving = video.Video(pathlib.Path("driving.mp4"), Fraction(25), SIZE, count, False, read)
    source = video.Video(pathlib.Path("source.mp4"), Fraction(25), SIZE, count, False, moving(0))
    model = ShiftingModel()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        written = animate.animate_file(
            model,
            source,
            driving,
            animate.Output(
                str(folder / "out.mp4"),
                side_by_side=True,
                visualize=str(folder / "visualize"),
                save_motion=str(folder / "motion.npz"),
            ),
            model.config.animate,
            animate.MotionOptions(best_frame="auto", smooth=1.0, strength=1.2),
            framing.Framing(follow=True, paste_back=True),
            report=lambda line: None,
            progress=False,
        )
    print(json.dumps({"frames": written, "passes": passes}))


if __name__ == "__main__":
    main(int(sys.argv[1]))

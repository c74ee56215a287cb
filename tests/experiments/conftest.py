"""A user study whose results identify their method by color: `plain` is red, `other` blue."""

import csv
import types

import numpy as np
import pytest

from fomm_tf import cli, video
from fomm_tf.experiments import study_build

COLORS = {"plain": (200, 30, 30), "other": (30, 30, 200)}
FRAMES = 12


def write_clip(path, color, size=(32, 32), frames=FRAMES, fps=25):
    with video.write_video(path, fps) as writer:
        for number in range(frames):
            # A bar that moves, so that one sees whether the clip plays.
            frame = np.full((*size, 3), color, np.uint8)
            frame[:4, : 2 * number] = 255
            writer.write(frame)


def write_inputs(folder, count):
    """Images, driving clips and both methods' results for `count` pairs."""
    with (folder / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["source", "driving"])
        writer.writerows([f"s{number}.png", "walk.mp4"] for number in range(count))
    for number in range(count):
        video.write_image(folder / f"s{number}.png", np.full((40, 48, 3), 20 * number, np.uint8))
    write_clip(folder / "walk.mp4", (30, 160, 30), (36, 64), FRAMES + 5)
    for method, color in COLORS.items():
        for number in range(count):
            write_clip(folder / method / f"s{number}--walk.mp4", color)


@pytest.fixture
def inputs(tmp_path):
    def make(count=5):
        write_inputs(tmp_path, count)
        return tmp_path

    return make


@pytest.fixture
def build(tmp_path):
    """`fomm study build` with the files of `inputs`; `changes` are options."""

    def run(folder, **changes):
        values = {
            "pairs": folder / "pairs.csv",
            "data": folder,
            "a": f"plain={folder / 'plain'}",
            "b": f"other={folder / 'other'}",
            "out": tmp_path / "page.html",
            "seed": 3,
        } | changes
        return cli.main(["study", "build", *(f"--{name}={value}" for name, value in values.items())])

    return run


@pytest.fixture
def built(inputs, build, tmp_path):
    """A study of five questions: `page`, `text` of the page, `key`."""
    assert build(inputs()) == 0
    page = tmp_path / "page.html"
    return types.SimpleNamespace(
        page=page,
        text=page.read_text(),
        path=tmp_path / "page.key.json",
        key=study_build.read_key(tmp_path / "page.key.json"),
    )


@pytest.fixture
def refused(capsys):
    """Whether a command ended with 2 and one line, which is given."""

    def look(code):
        lines = capsys.readouterr().err.strip().splitlines()
        assert code == 2 and len(lines) == 1, lines
        return lines[0]

    return look

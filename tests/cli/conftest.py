"""A run, inputs and command lines of `fomm animate`."""

import drawn_heads
import pytest
from animate_lines import DATA
from PIL import Image

from fomm_tf import cli


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    checkpoint_file, recipe = DATA / "tiny-checkpoint.pth.tar", DATA / "tiny.yaml"
    assert cli.main(["convert", str(checkpoint_file), "--config", str(recipe), "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """A drawn image and a drawn clip of 20 frames without sound."""
    folder = tmp_path_factory.mktemp("inputs")
    drawn_heads.write_inputs(folder, 96, 20, "driving.mp4")
    return folder


@pytest.fixture
def arguments(run_folder, inputs, tmp_path):
    def make(**changes):
        values = {
            "run": run_folder,
            "source": inputs / "source.png",
            "driving": inputs / "driving.mp4",
            "out": tmp_path / "out.mp4",
        } | changes
        return ["animate", *(str(part) for key, value in values.items() for part in (f"--{key}", value))]

    return make


@pytest.fixture(scope="session")
def astronaut(tmp_path_factory):
    data = pytest.importorskip("skimage.data")
    path = tmp_path_factory.mktemp("astronaut") / "astronaut.png"
    Image.fromarray(data.astronaut()).save(path)
    return path

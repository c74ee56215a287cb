"""A tiny run, and a test set of drawn clips."""

import pathlib

import numpy as np
import pytest

from fomm_tf import checkpoint, config, video
from fomm_tf.data import puppets

SMALL = pathlib.Path(__file__).parent.parent / "training" / "small.yaml"
SIDE = 32


@pytest.fixture(scope="session")
def write_clip():
    """Writes frames losslessly."""

    def write(path, frames):
        with video.write_video(f"{path}/", 25) as writer:
            for frame in frames:
                writer.write(frame)
        return path

    return write


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """A run directory with random weights."""
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    checkpoint.save(folder, checkpoint.build(config.load(SMALL)), "for tests")
    return folder


@pytest.fixture(scope="session")
def drawn(tmp_path_factory, write_clip):
    """Three clips: `one#a` and `one#b` of 11 and 4 frames, `black` of 3 in which nothing is found."""
    folder = tmp_path_factory.mktemp("drawn") / "set"
    for name, who, count in (("one#a", 1, 11), ("one#b", 1, 4)):
        identity, poses = (
            puppets.sample_identity(who, portrait=True),
            puppets.sample_motion(count, count, portrait=True),
        )
        write_clip(folder / "test" / name, [puppets.draw(identity, pose, SIDE) for pose in poses])
    write_clip(folder / "test" / "black", np.zeros([3, SIDE, SIDE, 3], np.uint8))
    write_clip(folder / "train" / "one#c", np.zeros([2, SIDE, SIDE, 3], np.uint8))
    return folder

"""Writes small clips."""

import numpy as np
import pytest
from square_videos import draw_frames, write_parts

from fomm_tf import video
from fomm_tf.data import frames


def _image(number: int, size: tuple[int, int], hue: int) -> np.ndarray:
    """A color ramp on which a white bar shows the frame's number."""
    height, width = size
    rows, columns = np.mgrid[0:height, 0:width]
    image = np.stack([columns * 200 // width, rows * 200 // height, np.full(size, hue)], axis=-1).astype(np.uint8)
    image[: height // 8, : (number + 1) * width // 16] = 255
    return image


def _write_clip(path, count=8, size=(48, 48), hue=0):
    with video.write_video(path, 25) as writer:
        for number in range(count):
            writer.write(_image(number, size, hue))


@pytest.fixture
def write_clip():
    return _write_clip


@pytest.fixture(scope="session")
def index(tmp_path_factory):
    """Three identities with 3, 1 and 2 clips, at 48 x 48."""
    root = tmp_path_factory.mktemp("clips")
    for number, name in enumerate(["ann#1", "ann#2", "ann#3", "bob#1", "cid#1", "cid#2"]):
        _write_clip(root / "train" / name, count=5 + number, hue=40 * number)
    return frames.load(root, "train", (48, 48))


@pytest.fixture
def people(tmp_path):
    """Four people with a video each."""
    root = tmp_path / "people"
    for number, name in enumerate(["ann", "bob", "cid", "dan"]):
        write_parts(root / name, draw_frames(20, scene=number, left=24 + 16 * number))
    return root

"""The real networks and frames of real videos; a test that asks for them is marked `network`."""

import functools
import itertools

import faces
import pytest

from fomm_tf import video


# Fixtures of the package, so that networks and frames (600 MB) are released with its last test.
@pytest.fixture(scope="package")
def detector():
    """Makes a detector of a class, once."""

    @functools.cache
    def make(kind):
        faces.fetched("detectors")
        return kind()

    return make


@pytest.fixture(scope="package")
def frames():
    """Reads `count` frames of a video at most, every `step`-th."""

    @functools.cache
    def read(name, step, count=None):
        path = faces.fetched("bodies" if name.startswith("cam") else "faces")[name]
        stop = None if count is None else count * step
        return list(itertools.islice(video.open_video(path), 0, stop, step))

    return read

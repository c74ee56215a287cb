"""Failures that pictures betray."""

import numpy as np
import pytest

from fomm_tf.training import samples

RANDOM = np.random.default_rng(0)
SOURCES, DRIVINGS = RANDOM.random([2, 4, 16, 16, 3])
KEYPOINTS = RANDOM.uniform(-0.5, 0.5, [8, 5, 2])
GOOD = {
    "sources": SOURCES,
    "drivings": DRIVINGS,
    "keypoints": KEYPOINTS,
    "predictions": 0.8 * DRIVINGS + 0.1,
    "occlusion": RANDOM.random([4, 8, 8, 1]),
}


def test_find_failures_finds_none_in_a_good_result():
    assert samples.find_failures(**GOOD) == [] == samples.find_failures(**GOOD | {"occlusion": None})


@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({"keypoints": KEYPOINTS[:, :1] + 0.001 * KEYPOINTS}, "the keypoints have collapsed: they spread over 0.000"),
        ({"keypoints": KEYPOINTS[:1] + 0.001 * KEYPOINTS}, "the keypoints do not move: between frames, by 0.000"),
        ({"occlusion": np.full([4, 8, 8, 1], 0.001)}, "the occlusion map is 0: at most 0.001"),
        ({"predictions": 0.99 * SOURCES + 0.01 * DRIVINGS}, "the result is the source"),
        ({"predictions": np.full([4, 16, 16, 3], 0.5) + 0.01 * DRIVINGS}, "the result is of one color: its contrast"),
    ],
)
def test_find_failures_names_each(changes, failure):
    (found,) = samples.find_failures(**GOOD | changes)
    assert found.startswith(failure)

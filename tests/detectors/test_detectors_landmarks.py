"""Points of the best object of each frame."""

import numpy as np

from fomm_tf.detectors import landmarks
from fomm_tf.detectors.results import Boxes

PLACES = np.arange(6).reshape(3, 2)


def _boxes(count):
    return Boxes(np.ones(count), np.zeros([count, 4]), np.zeros([count, 2, 2]))


def test_frames_without_an_object_and_those_that_do_not_convince_have_no_points():
    frames, presences = ["surely", "nothing", "hardly"], {"surely": 0.5, "hardly": 0.49}
    points = landmarks.gather(
        frames, [_boxes(1), _boxes(0), _boxes(2)], 3, lambda frame, found: (presences[frame], PLACES, 0.9)
    )
    np.testing.assert_array_equal(points.value[0], PLACES)
    assert np.isnan(points.value[1:]).all()
    np.testing.assert_array_equal(points.found, [[True] * 3, [False] * 3, [False] * 3])


def test_each_point_may_have_a_visibility_of_its_own():
    points = landmarks.gather([0], [_boxes(1)], 3, lambda frame, found: (1.0, PLACES, np.array([0.2, 0.5, 1])))
    np.testing.assert_array_equal(points.found, [[False, True, True]])


def test_no_frames_have_no_points():
    assert landmarks.gather([], [], 3, None).value.shape == (0, 3, 2)

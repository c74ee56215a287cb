"""AKD, MKR, AED, motion and perceptual distance, against loops over points and frames, on hand-made cases."""

import math

import numpy as np
import pytest

from fomm_tf import detectors
from fomm_tf.evaluation import metrics

NAN = math.nan


def points(*frames):
    """Points of frames given as lists of (x, y) or None where there is none."""
    value = [[(NAN, NAN) if place is None else place for place in frame] for frame in frames]
    visibility = [[0.0 if place is None else 0.9 for place in frame] for frame in frames]
    return detectors.Points(np.array(value, np.float32), np.array(visibility, np.float32))


def embeddings(*frames):
    value = [[NAN, NAN] if place is None else place for place in frames]
    return detectors.Embeddings(np.array(value, np.float32), np.array([place is not None for place in frames]))


TRUE = points([(0, 0), (10, 0), (5, 5)], [(0, 0), None, (5, 5)], [None, None, None], [(1, 1), (2, 2), None])
MADE = points([(3, 4), (10, 0), None], [(0, 2), (9, 9), None], [(1, 1), (2, 2), (3, 3)], [None, None, (7, 7)])
EXPECTED_AKD, EXPECTED_SCRIPT = [2.5, 2.0, NAN, NAN], [1.75, 1.0, NAN, NAN]
EXPECTED_MKR = [1 / 3, 1 / 2, NAN, 1.0]


def loop(made, true, distance):
    """What is to come out, point by point."""
    found = []
    for number in range(len(true.value)):
        each = [
            distance(made.value[number, index].tolist(), true.value[number, index].tolist())
            for index in range(true.value.shape[1])
            if made.visibility[number, index] >= 0.5 and true.visibility[number, index] >= 0.5
        ]
        found.append(sum(each) / len(each) if each else NAN)
    return found


def test_akd_averages_over_points_found_in_both_frames():
    np.testing.assert_allclose(metrics.akd(MADE, TRUE), EXPECTED_AKD)
    np.testing.assert_allclose(metrics.akd_script(MADE, TRUE), EXPECTED_SCRIPT)


def test_mkr_counts_missing_ground_truth_points():
    np.testing.assert_allclose(metrics.mkr(MADE, TRUE), EXPECTED_MKR)


def test_point_metrics_match_loops():
    random = np.random.default_rng(0)
    made, true = (
        detectors.Points(random.uniform(0, 64, [20, 7, 2]).astype(np.float32), random.uniform(size=[20, 7]))
        for _ in range(2)
    )
    np.testing.assert_allclose(metrics.akd(made, true), loop(made, true, math.dist))
    script = loop(made, true, lambda one, other: (abs(one[0] - other[0]) + abs(one[1] - other[1])) / 2)
    np.testing.assert_allclose(metrics.akd_script(made, true), script)
    rates = []
    for number in range(20):
        there = [index for index in range(7) if true.visibility[number, index] >= 0.5]
        gone = [index for index in there if made.visibility[number, index] < 0.5]
        rates.append(len(gone) / len(there) if there else NAN)
    np.testing.assert_allclose(metrics.mkr(made, true), rates)


def test_aed_is_nan_without_a_face_in_one_frame():
    made, true = embeddings([0, 0], [1, 1], None, None), embeddings([3, 4], None, [1, 1], None)
    np.testing.assert_array_equal(metrics.aed(made, true), [5.0, NAN, NAN, NAN])
    np.testing.assert_array_equal(metrics.aed_script(made, true), [25.0, NAN, NAN, NAN])


def test_motion_is_the_distance_of_displacements_in_object_sizes():
    # The driving object is twice as large and elsewhere; the box around its points is 8 x 2, the made one's 4 x 1.
    driving = points([(20, 20), (28, 22)], [(24, 20), (32, 22)], [(24, 24), None], [None, None])
    made = points([(0, 0), (4, 1)], [(2, 0), (6, 1)], [(2, 0), (9, 9)], [(0, 0), (4, 1)])
    first = metrics.motion(made, driving, points([(0, 0), (4, 1)]), points([(20, 20), (28, 22)]))
    # The second frame moves alike; in the third the driving point went down by 4 of size 4, the made one did not.
    np.testing.assert_allclose(first, [0.0, 0.0, 1.0, NAN])


def test_motion_is_nan_without_an_object_size():
    driving, made = points([(0, 0), (4, 4)]), points([(0, 0), (4, 4)])
    for nothing in (points([None, None]), points([(1, 1), None])):
        assert np.isnan(metrics.motion(made, driving, nothing, driving)).all()


def test_perceptual_is_relative_and_averaged_over_layers():
    true = [np.full([2, 2, 2, 1], 2.0), np.full([2, 1, 1, 3], 4.0)]
    made = [np.full([2, 2, 2, 1], 3.0), np.full([2, 1, 1, 3], 4.0)]
    true[1][1] = 0
    np.testing.assert_allclose(metrics.perceptual(made, true), [(1 / 2 + 0) / 2, NAN])
    assert metrics.perceptual(true[:1], true[:1]).tolist() == [0.0, 0.0]


def test_bootstrap_mean_over_frames_is_a_ratio_of_sums():
    assert metrics.bootstrap(np.array([0.0, 6.0]), np.array([1.0, 2.0])).value == pytest.approx(2.0)

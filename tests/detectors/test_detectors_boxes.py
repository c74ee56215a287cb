"""Anchors, decoding and blending, against loops."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from fomm_tf.detectors import Boxes, boxes


@pytest.mark.parametrize("grids", [((16, 2), (8, 6)), ((28, 2), (14, 2), (7, 6)), ((1, 1), (2, 3))])
def test_place_anchors_at_cell_centers_row_by_row(grids):
    expected = []
    for cells, per_cell in grids:
        for row in range(cells):
            for column in range(cells):
                expected += [((column + 0.5) / cells, (row + 0.5) / cells)] * per_cell
    np.testing.assert_allclose(boxes.place_anchors(grids), expected, rtol=1e-12)


def test_decode_is_relative_to_the_anchor():
    raw = np.array([[0.1, -0.2, 0.4, 0.2, 0.05, 0.0, -0.1, 0.3], [0, 0, 1, 1, 0, 0, 0, 0]])
    corners, points = boxes.decode(raw, np.array([[0.5, 0.5], [0.25, 0.75]]))
    np.testing.assert_allclose(corners, [[[0.4, 0.2], [0.8, 0.4]], [[-0.25, 0.25], [0.75, 1.25]]])
    np.testing.assert_allclose(points, [[[0.55, 0.5], [0.4, 0.8]], [[0.25, 0.75], [0.25, 0.75]]])


def test_decode_of_no_boxes_keeps_number_of_points():
    corners, points = boxes.decode(np.zeros([0, 16]), np.zeros([0, 2]))
    assert corners.shape == (0, 2, 2)
    assert points.shape == (0, 6, 2)


def test_suppress_averages_boxes_of_one_object_by_score():
    found = boxes.suppress(
        Boxes(
            np.array([0.6, 0.9, 0.8]),
            np.array([[0.0, 0, 10, 10], [3, 0, 13, 10], [100, 100, 110, 110]]),
            np.array([[[1.0, 1]], [[4, 1]], [[105, 105]]]),
        )
    )
    np.testing.assert_allclose(found.score, [0.9, 0.8], rtol=1e-6)
    np.testing.assert_allclose(found.box, [[1.8, 0, 11.8, 10], [100, 100, 110, 110]], rtol=1e-6)
    np.testing.assert_allclose(found.points, [[[2.8, 1]], [[105, 105]]], rtol=1e-6)
    assert found.box.dtype == np.float32


def test_suppress_accepts_no_candidates():
    found = boxes.suppress(Boxes(np.zeros([0]), np.zeros([0, 4]), np.zeros([0, 6, 2])))
    assert [part.shape for part in found] == [(0,), (0, 4), (0, 6, 2)]


@hypothesis.given(
    st.lists(
        st.tuples(st.floats(0.01, 1), st.integers(0, 50), st.integers(0, 50), st.integers(0, 30), st.integers(0, 30)),
        min_size=1,
        max_size=12,
    )
)
def test_suppress_sorts_by_score_and_stays_within_candidates(drawn):
    score, left, top, width, height = np.array(drawn).T
    box = np.stack([left, top, left + width, top + height], axis=1)
    found = boxes.suppress(Boxes(score, box, box.reshape(-1, 2, 2)))
    assert np.isclose(found.score[0], score.max())
    assert np.all(np.diff(found.score) <= 0)
    assert len(found.score) <= len(score)
    assert np.all(found.box >= box.min(axis=0) - 1e-3)
    assert np.all(found.box <= box.max(axis=0) + 1e-3)


def test_iou_matches_pixel_counts():
    box, others = np.array([2, 3, 12, 9]), np.array([[5, 1, 20, 7], [2, 3, 12, 9], [12, 3, 14, 9], [4, 4, 4, 4]])
    for other, got in zip(others, boxes.iou(box, others), strict=True):
        masks = np.zeros([2, 30, 30], bool)
        for mask, (left, top, right, bottom) in zip(masks, (box, other), strict=True):
            mask[top:bottom, left:right] = True
        assert got == pytest.approx(masks.all(axis=0).sum() / masks.any(axis=0).sum())


def test_iou_of_empty_boxes_is_0():
    assert boxes.iou(np.zeros(4), np.zeros([1, 4])) == [0]

"""Regions: there and back, cut images against loops, and what faces and bodies ask for."""

import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from fomm_tf.detectors import bodies, faces, identity, regions
from fomm_tf.detectors.results import Boxes

REGIONS = st.builds(
    regions.Region,
    st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
    st.floats(1, 200),
    st.floats(-3.1, 3.1),
)


def _ramps(height, width):
    """An image whose red is the column and whose green is the row."""
    frame = np.zeros([height, width, 3], np.uint8)
    frame[..., 0], frame[..., 1] = np.arange(width), np.arange(height)[:, None]
    return frame


def test_a_turned_region_has_its_upper_edge_turned_clockwise():
    corners = regions.to_frame(np.array([[0, 0], [1, 0], [0, 1], [0.5, 0.5]]), regions.Region((10, 20), 4, math.pi / 2))
    np.testing.assert_allclose(corners, [[12, 18], [12, 22], [8, 18], [10, 20]], atol=1e-12)


@hypothesis.given(REGIONS, st.integers(0, 1000))
def test_fitting_finds_the_region_that_moved_the_points(region, seed):
    points = np.random.default_rng(seed).random([7, 2])
    found = regions.fit(points, regions.to_frame(points, region))
    np.testing.assert_allclose([*found.center, found.side], [*region.center, region.side], atol=1e-6)
    assert found.angle == pytest.approx(region.angle, abs=1e-6)


def test_the_fit_is_the_least_squares_one():
    rng = np.random.default_rng(0)
    points, places = rng.random([7, 2]), 30 * rng.random([7, 2])
    # A similarity is linear in its four numbers: x' = a x - b y + c, y' = b x + a y + d.
    rows = [[(x, -y, 1, 0), (y, x, 0, 1)] for x, y in points]
    (a, b, _, _), *_ = np.linalg.lstsq(np.reshape(rows, [-1, 4]), places.reshape(-1), rcond=None)
    found = regions.fit(points, places)
    assert found.side == pytest.approx(math.hypot(a, b))
    assert found.angle == pytest.approx(math.atan2(b, a))


@pytest.mark.parametrize(("height", "width"), [(40, 60), (60, 40)])
def test_the_whole_frame_is_cut_with_equal_margins(height, width):
    frame = np.full([height, width, 3], 200, np.uint8)
    image = regions.cut(frame, regions.whole(frame), 60)
    expected = np.zeros([60, 60, 3], np.uint8)
    expected[(60 - height) // 2 : (60 + height) // 2, (60 - width) // 2 : (60 + width) // 2] = 200
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("angle", [0.0, 0.4, -2.0])
@pytest.mark.parametrize("side", [20.0, 40.0, 100.0])
def test_each_pixel_of_a_cut_shows_its_place_in_the_frame(angle, side):
    frame, region = _ramps(200, 220), regions.Region((110, 100), side, angle)
    image = regions.cut(frame, region, 40)
    for row in range(0, 40, 3):
        for column in range(0, 40, 3):
            x, y = regions.to_frame(np.array([column + 0.5, row + 0.5]) / 40, region)
            # A ramp has value v at v + 0.5; one level is for rounding, twice.
            np.testing.assert_allclose(image[row, column, :2], [x - 0.5, y - 0.5], atol=1.1)


def test_what_a_cut_cannot_show_is_averaged_and_not_skipped():
    frame = np.zeros([160, 160, 3], np.uint8)
    frame[:, ::2] = 200
    image = regions.cut(frame, regions.whole(frame), 20)
    np.testing.assert_array_equal(image, 100)


@pytest.mark.parametrize("frame", [np.zeros([8, 8, 3]), np.zeros([8, 8], np.uint8), np.zeros([8, 8, 4], np.uint8)])
def test_what_is_no_frame_is_refused(frame):
    with pytest.raises(ValueError, match=r"A frame is \[H, W, 3\] uint8; got \[8, 8"):
        regions.cut(frame, regions.Region((4, 4), 8), 8)


def _turn(points, angle, offset):
    """Turned about the origin, clockwise, and moved."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.asarray(points) @ np.array([[cosine, sine], [-sine, cosine]]) + offset


@pytest.mark.parametrize("angle", [0.0, 0.5, -1.2, 3.0])
def test_a_turned_body_has_a_turned_region(angle):
    hips, rim = np.array([10.0, 20.0]), np.array([10.0, -20.0])
    upright = bodies.stand_up(hips, rim)
    assert upright == ((10, 20), 100, 0)
    turned = bodies.stand_up(*_turn([hips, rim], angle, (7, 5)))
    inside = np.array([[0.1, 0.3], [0.8, 0.6]])
    expected = _turn(regions.to_frame(inside, upright), angle, (7, 5))
    np.testing.assert_allclose(regions.to_frame(inside, turned), expected, atol=1e-9)


def test_the_box_of_a_body_is_the_square_around_its_circle():
    found = Boxes(np.ones(1), np.zeros([1, 4]), np.array([[[10.0, 20], [13, 16], [0, 0], [0, 0]]]))
    np.testing.assert_allclose(bodies.around_hips(found).box, [[5, 15, 15, 25]])


def test_the_region_of_a_face_is_around_its_box_with_the_eyes_level():
    points = np.zeros([1, 6, 2])
    points[0, :2] = [[12, 10], [16, 14]]
    region = faces.region_of(Boxes(np.ones(1), np.array([[10.0, 20, 30, 60]]), points))
    assert region.center == (20, 40)
    assert (region.side, region.angle) == (60, pytest.approx(math.pi / 4))


def test_an_aligned_face_has_its_landmarks_where_the_network_expects_them():
    frame = _ramps(220, 220)
    landmarks = np.full([468, 2], np.nan, np.float32)
    landmarks[[33, 133, 362, 263, 1, 61, 291]] = _turn(identity._PLACES, 0.3, (60, 30))
    face = identity.align(frame, landmarks)
    for place, expected in zip(identity._PLACES, landmarks[[33, 133, 362, 263, 1, 61, 291]], strict=True):
        column, row = np.floor(place).astype(int)
        np.testing.assert_allclose(face[row, column, :2], expected, atol=2)

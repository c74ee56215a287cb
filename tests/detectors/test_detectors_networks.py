"""Regions, crops against loops, the regions of faces and bodies, and the points of the best object."""

import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from fomm_tf.detectors import Boxes, built_in, networks

REGIONS = st.builds(
    networks.Region,
    st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
    st.floats(1, 200),
    st.floats(-3.1, 3.1),
)


def _ramps(height, width):
    """An image whose red is the column and whose green is the row."""
    frame = np.zeros([height, width, 3], np.uint8)
    frame[..., 0], frame[..., 1] = np.arange(width), np.arange(height)[:, None]
    return frame


def test_to_frame_rotates_clockwise():
    corners = networks.to_frame(
        np.array([[0, 0], [1, 0], [0, 1], [0.5, 0.5]]), networks.Region((10, 20), 4, math.pi / 2)
    )
    np.testing.assert_allclose(corners, [[12, 18], [12, 22], [8, 18], [10, 20]], atol=1e-12)


@hypothesis.given(REGIONS, st.integers(0, 1000))
def test_fit_region_inverts_to_frame(region, seed):
    points = np.random.default_rng(seed).random([7, 2])
    found = networks.fit_region(points, networks.to_frame(points, region))
    np.testing.assert_allclose([*found.center, found.side], [*region.center, region.side], atol=1e-6)
    assert found.angle == pytest.approx(region.angle, abs=1e-6)


def test_fit_region_is_least_squares():
    rng = np.random.default_rng(0)
    points, places = rng.random([7, 2]), 30 * rng.random([7, 2])
    # A similarity is linear in its four parameters: x' = a x - b y + c, y' = b x + a y + d.
    rows = [[(x, -y, 1, 0), (y, x, 0, 1)] for x, y in points]
    (a, b, _, _), *_ = np.linalg.lstsq(np.reshape(rows, [-1, 4]), places.reshape(-1), rcond=None)
    found = networks.fit_region(points, places)
    assert found.side == pytest.approx(math.hypot(a, b))
    assert found.angle == pytest.approx(math.atan2(b, a))


@pytest.mark.parametrize(("height", "width"), [(40, 60), (60, 40)])
def test_crop_of_whole_frame_has_equal_margins(height, width):
    frame = np.full([height, width, 3], 200, np.uint8)
    image = networks.crop(frame, networks.whole_frame(frame), 60)
    expected = np.zeros([60, 60, 3], np.uint8)
    expected[(60 - height) // 2 : (60 + height) // 2, (60 - width) // 2 : (60 + width) // 2] = 200
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("angle", [0.0, 0.4, -2.0])
@pytest.mark.parametrize("side", [20.0, 40.0, 100.0])
def test_crop_samples_the_right_positions(angle, side):
    frame, region = _ramps(200, 220), networks.Region((110, 100), side, angle)
    image = networks.crop(frame, region, 40)
    for row in range(0, 40, 3):
        for column in range(0, 40, 3):
            x, y = networks.to_frame(np.array([column + 0.5, row + 0.5]) / 40, region)
            # A ramp has value v at v + 0.5; the tolerance allows for rounding twice.
            np.testing.assert_allclose(image[row, column, :2], [x - 0.5, y - 0.5], atol=1.1)


def test_crop_antialiases():
    frame = np.zeros([160, 160, 3], np.uint8)
    frame[:, ::2] = 200
    image = networks.crop(frame, networks.whole_frame(frame), 20)
    np.testing.assert_array_equal(image, 100)


@pytest.mark.parametrize("frame", [np.zeros([8, 8, 3]), np.zeros([8, 8], np.uint8), np.zeros([8, 8, 4], np.uint8)])
def test_crop_rejects_wrong_frames(frame):
    with pytest.raises(ValueError, match=r"A frame is \[H, W, 3\] uint8; got \[8, 8"):
        networks.crop(frame, networks.Region((4, 4), 8), 8)


def _rotate(points, angle, offset):
    """Rotates about the origin, clockwise, and translates."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.asarray(points) @ np.array([[cosine, sine], [-sine, cosine]]) + offset


@pytest.mark.parametrize("angle", [0.0, 0.5, -1.2, 3.0])
def test_body_region_rotates_with_the_body(angle):
    hips, rim = np.array([10.0, 20.0]), np.array([10.0, -20.0])
    upright = built_in.body_region(hips, rim)
    assert upright == ((10, 20), 100, 0)
    turned = built_in.body_region(*_rotate([hips, rim], angle, (7, 5)))
    inside = np.array([[0.1, 0.3], [0.8, 0.6]])
    expected = _rotate(networks.to_frame(inside, upright), angle, (7, 5))
    np.testing.assert_allclose(networks.to_frame(inside, turned), expected, atol=1e-9)


def test_body_boxes_are_squares_around_the_hips():
    found = Boxes(np.ones(1), np.zeros([1, 4]), np.array([[[10.0, 20], [13, 16], [0, 0], [0, 0]]]))
    np.testing.assert_allclose(built_in.body_boxes(found).box, [[5, 15, 15, 25]])


def test_face_region_contains_the_box_with_level_eyes():
    points = np.zeros([1, 6, 2])
    points[0, :2] = [[12, 10], [16, 14]]
    region = built_in.face_region(Boxes(np.ones(1), np.array([[10.0, 20, 30, 60]]), points))
    assert region.center == (20, 40)
    assert (region.side, region.angle) == (60, pytest.approx(math.pi / 4))


def test_align_moves_landmarks_to_their_targets():
    frame = _ramps(220, 220)
    landmarks = np.full([468, 2], np.nan, np.float32)
    landmarks[[33, 133, 362, 263, 1, 61, 291]] = _rotate(built_in._TARGETS, 0.3, (60, 30))
    face = built_in.align(frame, landmarks)
    for place, expected in zip(built_in._TARGETS, landmarks[[33, 133, 362, 263, 1, 61, 291]], strict=True):
        column, row = np.floor(place).astype(int)
        np.testing.assert_allclose(face[row, column, :2], expected, atol=2)


THREE_POINTS = np.arange(6).reshape(3, 2)


def _boxes(count):
    return Boxes(np.ones(count), np.zeros([count, 4]), np.zeros([count, 2, 2]))


def test_detect_points_skips_missing_and_uncertain_objects():
    frames, scores = ["certain", "empty", "uncertain"], {"certain": 0.5, "uncertain": 0.49}
    points = networks.detect_points(
        frames, [_boxes(1), _boxes(0), _boxes(2)], 3, lambda frame, objects: (scores[frame], THREE_POINTS, 0.9)
    )
    np.testing.assert_array_equal(points.value[0], THREE_POINTS)
    assert np.isnan(points.value[1:]).all()
    np.testing.assert_array_equal(points.found, [[True] * 3, [False] * 3, [False] * 3])


def test_detect_points_accepts_visibility_per_point():
    points = networks.detect_points(
        [0], [_boxes(1)], 3, lambda frame, objects: (1.0, THREE_POINTS, np.array([0.2, 0.5, 1]))
    )
    np.testing.assert_array_equal(points.found, [[False, True, True]])


def test_detect_points_accepts_no_frames():
    assert networks.detect_points([], [], 3, None).value.shape == (0, 3, 2)

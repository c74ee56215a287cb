"""`motion.hull_area` against SciPy's Qhull and against gift wrapping."""

import itertools
import re

import numpy as np
import pytest
import scipy.spatial
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fomm_tf.ops import motion

# The first call of TensorFlow takes much longer than later ones: no deadline.
properties = settings(deadline=None, max_examples=30, derandomize=True)

coordinate = st.floats(-1.0, 1.0, width=32)
point_sets = st.integers(1, 14).flatmap(lambda n: st.lists(st.tuples(coordinate, coordinate), min_size=n, max_size=n))
# A lattice has repeated points, and many on one vertical or on one line.
lattice_sets = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=12)


def area_by_gift_wrapping(points):
    """Gift wrapping, then the shoelace formula."""
    points = sorted(set(map(tuple, np.asarray(points, np.float64))))
    if len(points) < 3:
        return 0.0
    halves = []
    for ordered in (points, points[::-1]):
        chain = []
        for p in ordered:
            while len(chain) > 1 and turn(chain[-2], chain[-1], p) <= 0:
                chain.pop()
            chain.append(p)
        halves += chain[:-1]
    return abs(sum(a[0] * b[1] - a[1] * b[0] for a, b in itertools.pairwise([*halves, halves[0]]))) / 2


def turn(a, b, c):
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def area_by_qhull(points):
    """SciPy's area, 0 for collinear or fewer than three points."""
    try:
        return scipy.spatial.ConvexHull(np.asarray(points, np.float64)).volume  # in two dimensions, the area
    except (scipy.spatial.QhullError, ValueError):
        return 0.0


def both(points):
    """The areas by `hull_area` and by Qhull."""
    return motion.hull_area(tf.constant(np.asarray(points, np.float64)[None])).numpy()[0], area_by_qhull(points)


def test_hull_area_of_unit_triangle_and_square():
    assert both([(0, 0), (1, 0), (0, 1)]) == pytest.approx((0.5, 0.5))
    assert both([(0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5)]) == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize("count", [3, 4, 5, 10, 15, 40])
def test_hull_area_of_random_points_equals_gift_wrapping(count):
    points = np.random.default_rng(count).uniform(-1, 1, (6, count, 2))
    expected = [area_by_gift_wrapping(frame) for frame in points]
    np.testing.assert_allclose(motion.hull_area(tf.constant(points)), expected, atol=1e-12)
    np.testing.assert_allclose(motion.hull_area(tf.constant(points, tf.float32)), expected, atol=2e-6)
    np.testing.assert_allclose([area_by_qhull(frame) for frame in points], expected, atol=1e-12)


@properties
@given(point_sets)
def test_hull_area_of_any_points_equals_qhull(points):
    area, by_qhull = both(points)
    assert area == pytest.approx(by_qhull, abs=1e-7)
    assert area == pytest.approx(area_by_gift_wrapping(points), abs=1e-7)


@properties
@given(lattice_sets)
def test_hull_area_of_lattice_points_equals_gift_wrapping(points):
    assert both(points) == pytest.approx((area_by_gift_wrapping(points),) * 2, abs=1e-10)


@properties
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=10), st.tuples(*[st.integers(-3, 3)] * 4))
def test_hull_area_of_collinear_points_is_zero(steps, line):
    x, y, dx, dy = line
    assert both([(x + step * dx, y + step * dy) for step in steps]) == pytest.approx((0.0, 0.0), abs=1e-10)


@pytest.mark.parametrize(
    "points",
    [
        [(0.3, -0.2)],
        [(0.3, -0.2), (-0.5, 0.7)],
        [(0.3, -0.2), (0.3, -0.2)],
        [(0.1, -0.2), (0.1, 0.7), (0.1, 0.3)],
        [(-0.2, 0.4), (0.7, 0.4), (0.3, 0.4), (0.3, 0.4)],
        [(0.6, 0.6)] * 5,
    ],
    ids=["one", "two", "the same twice", "vertical", "horizontal", "the same five times"],
)
def test_hull_area_of_degenerate_points_is_zero(points):
    assert both(points) == pytest.approx((0.0, 0.0), abs=1e-12)


@properties
@given(st.permutations(range(8)), st.floats(0.1, 3.0), st.floats(-1.0, 1.0), st.floats(0.0, 6.3))
def test_hull_area_is_invariant_to_order_shift_and_rotation_and_scales_quadratically(order, size, shift, angle):
    points = np.random.default_rng(1).uniform(-1, 1, (8, 2))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = size * points[order] @ rotation + shift
    expected = size**2 * area_by_gift_wrapping(points)
    assert both(moved) == pytest.approx((expected, expected), rel=1e-9)


def test_hull_area_gradient_is_numeric_and_zero_for_inner_points(check_gradient):
    points = np.array([[(-0.7, -0.6), (0.9, -0.5), (0.6, 0.8), (-0.4, 0.5), (0.1, 0.05)]])
    check_gradient(motion.hull_area, points)
    with tf.GradientTape() as tape:
        tensor = tf.constant(points)
        tape.watch(tensor)
        area = motion.hull_area(tensor)
    np.testing.assert_allclose(tape.gradient(area, tensor)[0, -1], [0.0, 0.0], atol=1e-12)


@pytest.mark.parametrize(("shape", "written"), [([5, 2], "(5, 2)"), ([1, 5, 3], "(1, 5, 3)")])
def test_hull_area_rejects_other_shapes(shape, written):
    with pytest.raises(ValueError, match=f"^{re.escape(f'points must be [B, K, 2]; got shape {written}.')}$"):
        motion.hull_area(tf.zeros(shape))

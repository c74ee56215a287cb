"""Two hull areas against a third one, written as a walk around the points."""

import itertools
import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fomm_tf.ops import hull

# A first call of TensorFlow takes as long as a thousand later ones: no deadline.
properties = settings(deadline=None, max_examples=30, derandomize=True)

coordinate = st.floats(-1.0, 1.0, width=32)
point_sets = st.integers(1, 14).flatmap(lambda n: st.lists(st.tuples(coordinate, coordinate), min_size=n, max_size=n))
# On a lattice there are repeated points, many on one vertical, many on one line.
lattice_sets = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=12)


def area_by_walk(points):
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


def both(points):
    batch = np.asarray(points, np.float64)[None]
    return hull.area(tf.constant(batch)).numpy()[0], hull.area_by_qhull(batch)[0]


def test_the_unit_triangle_and_square_have_their_areas():
    assert both([(0, 0), (1, 0), (0, 1)]) == pytest.approx((0.5, 0.5))
    assert both([(0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5)]) == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize("count", [3, 4, 5, 10, 15, 40])
def test_random_points_have_the_area_of_the_walk(count):
    points = np.random.default_rng(count).uniform(-1, 1, (6, count, 2))
    expected = [area_by_walk(frame) for frame in points]
    np.testing.assert_allclose(hull.area(tf.constant(points)), expected, atol=1e-12)
    np.testing.assert_allclose(hull.area(tf.constant(points, tf.float32)), expected, atol=2e-6)
    np.testing.assert_allclose(hull.area_by_qhull(points), expected, atol=1e-12)


@properties
@given(point_sets)
def test_any_points_have_qhull_s_area_in_the_graph_too(points):
    in_graph, by_qhull = both(points)
    assert in_graph == pytest.approx(by_qhull, abs=1e-7)
    assert in_graph == pytest.approx(area_by_walk(points), abs=1e-7)


@properties
@given(lattice_sets)
def test_points_of_a_lattice_have_exactly_the_area_of_the_walk(points):
    assert both(points) == pytest.approx((area_by_walk(points),) * 2, abs=1e-10)


@properties
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=10), st.tuples(*[st.integers(-3, 3)] * 4))
def test_points_on_one_line_have_no_area(steps, line):
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
def test_points_without_a_hull_have_no_area(points):
    assert both(points) == pytest.approx((0.0, 0.0), abs=1e-12)


@properties
@given(st.permutations(range(8)), st.floats(0.1, 3.0), st.floats(-1.0, 1.0), st.floats(0.0, 6.3))
def test_area_ignores_order_place_and_angle_and_grows_with_the_square_of_size(order, size, shift, angle):
    points = np.random.default_rng(1).uniform(-1, 1, (8, 2))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = size * points[order] @ rotation + shift
    expected = size**2 * area_by_walk(points)
    assert both(moved) == pytest.approx((expected, expected), rel=1e-9)


def test_gradient_is_the_numeric_one_and_nothing_for_inner_points(check_gradient):
    points = np.array([[(-0.7, -0.6), (0.9, -0.5), (0.6, 0.8), (-0.4, 0.5), (0.1, 0.05)]])
    check_gradient(hull.area, points)
    with tf.GradientTape() as tape:
        tensor = tf.constant(points)
        tape.watch(tensor)
        area = hull.area(tensor)
    np.testing.assert_allclose(tape.gradient(area, tensor)[0, -1], [0.0, 0.0], atol=1e-12)


@pytest.mark.parametrize(("shape", "written"), [([5, 2], "(5, 2)"), ([1, 5, 3], "(1, 5, 3)")])
def test_points_of_another_shape_are_refused(shape, written):
    with pytest.raises(ValueError, match=f"^{re.escape(f'points must be [B, K, 2]; got shape {written}.')}$"):
        hull.area(tf.zeros(shape))

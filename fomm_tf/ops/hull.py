"""Area of the convex hull of a frame's keypoints: the size that adapt-scale compares (A.3).

Two ways to the same number: SciPy's Qhull, which the reference uses, and tensor operations for the exported graphs.
"""

from __future__ import annotations

import numpy as np
import scipy.spatial
import tensorflow as tf

from fomm_tf.ops import shapes


def area(points: tf.Tensor) -> tf.Tensor:
    """Area of the convex hull by tensor operations: the integral of its upper less its lower boundary.

    At each point's x, the upper boundary is the highest of all chords between two points on either side, the lower one
    the lowest; between those x both are straight. There is no test of orientation, so collinear, repeated and fewer
    than three points need no care: their area is 0.

    Args:
      points: `[B, K, 2]` float, K static and at least 1.

    Returns:
      `[B]`, dtype of `points`.

    Raises:
      ValueError: if `points` is not `[B, K, 2]`.
    """
    shapes.check("points", points, "B K 2", last=2)
    x, y = points[..., 0], points[..., 1]
    knots = tf.reverse(tf.math.top_k(x, k=points.shape[1]).values, axis=[-1])
    knot = knots[:, :, tf.newaxis, tf.newaxis]
    left, right = x[:, tf.newaxis, :, tf.newaxis], x[:, tf.newaxis, tf.newaxis, :]
    covered = tf.logical_and(left <= knot, knot <= right)
    width = right - left
    share = tf.where(width > 0.0, (knot - left) / tf.where(width > 0.0, width, tf.ones_like(width)), 0.0)
    y_left, y_right = y[:, tf.newaxis, :, tf.newaxis], y[:, tf.newaxis, tf.newaxis, :]
    chord = y_left + share * (y_right - y_left)
    highest = tf.reduce_max(tf.where(covered, chord, points.dtype.min), axis=[2, 3])
    lowest = tf.reduce_min(tf.where(covered, chord, points.dtype.max), axis=[2, 3])
    height = highest - lowest
    return tf.reduce_sum((knots[:, 1:] - knots[:, :-1]) * 0.5 * (height[:, 1:] + height[:, :-1]), axis=-1)


def area_by_qhull(points: np.ndarray) -> np.ndarray:
    """The same by SciPy, outside of any graph.

    Args:
      points: `[B, K, 2]` float.

    Returns:
      `[B]` float64; 0 where Qhull finds no area (collinear or fewer than three points).
    """
    areas = []
    for frame in np.asarray(points, np.float64):
        try:
            areas.append(scipy.spatial.ConvexHull(frame).volume)  # in two dimensions `volume` is the area
        except (scipy.spatial.QhullError, ValueError):
            areas.append(0.0)
    return np.array(areas)

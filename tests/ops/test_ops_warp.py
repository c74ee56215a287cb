"""The backward warp against loops, SciPy and tensorflow_graphics.

Pictures are neither square nor symmetric, so that exchanged axes and flipped signs show.
"""

import math
import re

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fomm_tf.ops import grid, warp

# A first call of TensorFlow takes as long as a thousand later ones: no deadline.
properties = settings(deadline=None, max_examples=30, derandomize=True)

BATCH, HEIGHT, WIDTH, CHANNELS = 2, 5, 8, 2
every_padding = pytest.mark.parametrize("padding", warp.PADDINGS)
both_conventions = pytest.mark.parametrize("align_corners", [True, False])


def picture(batch=BATCH, height=HEIGHT, width=WIDTH, seed=0):
    return np.random.default_rng(seed).uniform(size=(batch, height, width, CHANNELS))


def places(batch=BATCH, height=HEIGHT, width=WIDTH, seed=1, reach=1.8):
    return np.random.default_rng(seed).uniform(-reach, reach, (batch, height, width, 2))


def mirrored(position, low, high):
    while not low <= position <= high:
        position = 2 * low - position if position < low else 2 * high - position
    return position


def pixel_place(normalized, size, align_corners):
    return (normalized + 1) / 2 * (size - 1) if align_corners else ((normalized + 1) * size - 1) / 2


def by_loops(image, grid_of_places, padding, align_corners):
    """grid_sample from its definition, a pixel at a time."""
    batch, height, width = grid_of_places.shape[:3]
    rows, columns = image.shape[1:3]
    result = np.zeros((batch, height, width, image.shape[-1]))
    for b, i, j in np.ndindex(batch, height, width):
        source = image[b if len(image) > 1 else 0]
        x = pixel_place(grid_of_places[b, i, j, 0], columns, align_corners)
        y = pixel_place(grid_of_places[b, i, j, 1], rows, align_corners)
        if padding == "reflection":
            edge = 0.0 if align_corners else 0.5
            x, y = mirrored(x, -edge, columns - 1 + edge), mirrored(y, -edge, rows - 1 + edge)
        if padding != "zeros":
            x, y = min(max(x, 0.0), columns - 1.0), min(max(y, 0.0), rows - 1.0)
        left, top = math.floor(x), math.floor(y)
        for row, vertical in ((top, 1 - (y - top)), (top + 1, y - top)):
            for column, horizontal in ((left, 1 - (x - left)), (left + 1, x - left)):
                if 0 <= row < rows and 0 <= column < columns:
                    result[b, i, j] += vertical * horizontal * source[row, column]
    return result


@every_padding
@both_conventions
@pytest.mark.parametrize("sizes", [(HEIGHT, WIDTH), (3, 11), (WIDTH, HEIGHT)])
def test_a_warp_equals_loops_over_pixels(padding, align_corners, sizes):
    image, where = picture(), places(BATCH, *sizes)
    result = warp.backward_warp(tf.constant(image), tf.constant(where), padding, align_corners)
    np.testing.assert_allclose(result, by_loops(image, where, padding, align_corners), atol=1e-9)


@every_padding
@both_conventions
@pytest.mark.parametrize("sizes", [(HEIGHT, WIDTH), (3, 4)])
def test_one_picture_serves_a_batch_of_grids(padding, align_corners, sizes):
    image, where = picture(batch=1), places(3, *sizes)
    result = warp.backward_warp(tf.constant(image), tf.constant(where), padding, align_corners)
    np.testing.assert_allclose(result, by_loops(image, where, padding, align_corners), atol=1e-9)


@every_padding
@both_conventions
@pytest.mark.parametrize("batch", [1, BATCH])
def test_a_warp_in_one_node_has_the_same_values(padding, align_corners, batch):
    pytest.importorskip("tensorflow_addons", reason="the one node is its", exc_type=ImportError)
    image, where = picture(batch), places(reach=2.5)
    where[0, 0, :4, 0] = [np.nan, np.inf, -np.inf, 1e30]
    image, where = tf.constant(image, tf.float32), tf.constant(where, tf.float32)

    def traced():
        return tf.function(lambda: warp.backward_warp(image, where, padding, align_corners)).get_concrete_function()

    with warp.use_resampler_op():
        in_one = traced()
    np.testing.assert_allclose(in_one(), traced()(), atol=1e-5)
    graph = in_one.graph.as_graph_def()
    nodes = {node.op for part in (graph.node, *(f.node_def for f in graph.library.function)) for node in part}
    assert ("Addons>Resampler" in nodes) == (padding == "zeros")


@pytest.mark.parametrize(
    ("padding", "align_corners", "mode"),
    [
        ("zeros", True, "grid-constant"),
        ("zeros", False, "grid-constant"),
        ("border", True, "nearest"),
        ("border", False, "nearest"),
        ("reflection", True, "mirror"),
        ("reflection", False, "reflect"),
    ],
)
def test_a_warp_equals_scipy_s(padding, align_corners, mode):
    image, where = picture(), places(reach=3.0)
    result = warp.backward_warp(tf.constant(image), tf.constant(where), padding, align_corners)
    x = pixel_place(where[..., 0], WIDTH, align_corners)
    y = pixel_place(where[..., 1], HEIGHT, align_corners)
    for b in range(BATCH):
        for c in range(CHANNELS):
            expected = scipy.ndimage.map_coordinates(image[b, ..., c], [y[b], x[b]], order=1, mode=mode)
            np.testing.assert_allclose(result[b, ..., c], expected, atol=1e-9)


@pytest.mark.parametrize(("padding", "border"), [("zeros", "ZERO"), ("border", "DUPLICATE")])
@pytest.mark.parametrize(("align_corners", "pixel"), [(True, "INTEGER"), (False, "HALF_INTEGER")])
def test_a_warp_equals_tensorflow_graphics(padding, border, align_corners, pixel):
    pytest.importorskip("tensorflow_addons", reason="tensorflow_graphics needs it", exc_type=ImportError)
    from tensorflow_graphics.image import transformer  # imports for seconds

    image, where = picture().astype(np.float32), places().astype(np.float32)
    sizes = np.array([WIDTH, HEIGHT], np.float32)
    theirs = (where + 1) / 2 * (sizes - 1 if align_corners else sizes)
    expected = transformer.sample(
        image, theirs, border_type=transformer.BorderType[border], pixel_type=transformer.PixelType[pixel]
    )
    np.testing.assert_allclose(warp.backward_warp(image, where, padding, align_corners), expected, atol=1e-5)


@every_padding
@pytest.mark.parametrize("sizes", [(HEIGHT, WIDTH), (3, 11)])
def test_a_warp_without_tensorflow_addons_is_the_same(padding, sizes, monkeypatch):
    image, where = tf.constant(picture()), tf.constant(places(BATCH, *sizes))
    expected = warp.backward_warp(image, where, padding)
    monkeypatch.setattr(warp, "dense_image_warp", None)
    monkeypatch.setattr(warp, "interpolate_bilinear", None)
    np.testing.assert_allclose(warp.backward_warp(image, where, padding), expected, atol=1e-12)


@properties
@given(st.integers(2, 12), st.integers(2, 12), st.sampled_from(warp.PADDINGS))
def test_with_aligned_corners_the_identity_grid_gives_the_picture_back(height, width, padding):
    image = picture(1, height, width).astype(np.float32)
    result = warp.backward_warp(image, grid.identity_grid(height, width)[tf.newaxis], padding)
    np.testing.assert_allclose(result, image, atol=1e-5)


def test_without_aligned_corners_the_identity_grid_darkens_the_border_under_zero_padding():
    image, identity = tf.ones([1, 64, 64, 1]), grid.identity_grid(64, 64)[tf.newaxis]
    result = warp.backward_warp(image, identity, "zeros", False).numpy()[0, :, :, 0]
    np.testing.assert_allclose(result[0, 1:-1], 0.5, atol=0.02)
    np.testing.assert_allclose(result[1:-1, 1:-1], 1.0, atol=1e-5)


@properties
@given(st.integers(-4, 4), st.integers(-7, 7), st.booleans())
def test_a_shift_by_whole_pixels_moves_the_picture_and_brings_in_zeros(down, right, align_corners):
    image = picture(1)
    # Pixel centers in the units of each convention.
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    sizes = np.array([WIDTH, HEIGHT])
    wanted = np.stack([columns - right, rows - down], -1)[None]
    where = wanted / (sizes - 1) * 2 - 1 if align_corners else (2 * wanted + 1) / sizes - 1
    expected = np.zeros_like(image)
    for i in range(HEIGHT):
        for j in range(WIDTH):
            if 0 <= i - down < HEIGHT and 0 <= j - right < WIDTH:
                expected[0, i, j] = image[0, i - down, j - right]
    result = warp.backward_warp(tf.constant(image), tf.constant(where), "zeros", align_corners)
    np.testing.assert_allclose(result, expected, atol=1e-9)


@properties
@given(st.integers(0, 10_000), st.sampled_from(warp.PADDINGS), st.booleans())
def test_a_warp_is_linear_in_the_picture_and_stays_within_its_range(seed, padding, align_corners):
    first, second, where = picture(seed=seed), picture(seed=seed + 1), tf.constant(places(seed=seed + 2))

    def warped(image):
        return warp.backward_warp(tf.constant(image), where, padding, align_corners).numpy()

    np.testing.assert_allclose(warped(2 * first - 3 * second), 2 * warped(first) - 3 * warped(second), atol=1e-9)
    low = 0.0 if padding == "zeros" else first.min()
    assert low - 1e-9 <= warped(first).min() <= warped(first).max() <= first.max() + 1e-9


@every_padding
@both_conventions
def test_gradients_are_the_numeric_ones_away_from_pixel_centers(padding, align_corners, check_gradient):
    """Bilinear sampling has kinks at pixel centers, reflection at the mirrors: the numeric gradient keeps away."""
    generator = np.random.default_rng(4)
    pixels = generator.integers(-1, [4, 5], (1, 4, 5, 2)) + generator.uniform(0.1, 0.4, (1, 4, 5, 2))  # (y, x)
    sizes = np.array([4, 5])
    normalized = pixels / (sizes - 1) * 2 - 1 if align_corners else (2 * pixels + 1) / sizes - 1
    image, where = picture(1, 4, 5)[..., :1], normalized[..., ::-1].copy()
    check_gradient(lambda i, w: warp.backward_warp(i, w, padding, align_corners), image, where)
    check_gradient(lambda i, w: warp.backward_warp(i, w, padding, align_corners), image, where[:, :2, :3])


def test_a_coordinate_exactly_on_a_pixel_center_has_the_slope_to_its_right():
    image = tf.constant(picture(1), tf.float32)
    where = tf.zeros([1, 1, 1, 2])  # with 5 rows, y = 0 is the third row's center; with 8 columns, x = 0 is no center's
    with tf.GradientTape() as tape:
        tape.watch(where)
        total = tf.reduce_sum(warp.backward_warp(image, where))
    x, y = tape.gradient(total, where).numpy()[0, 0, 0]
    difference = image[0, 2, 4] - image[0, 2, 3]
    np.testing.assert_allclose(x, tf.reduce_sum(difference) * (WIDTH - 1) / 2, rtol=1e-5)
    below = tf.reduce_mean(image[0, 3, 3:5] - image[0, 2, 3:5], axis=0)
    np.testing.assert_allclose(y, tf.reduce_sum(below) * (HEIGHT - 1) / 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("image", "where", "padding", "message"),
    [
        ([5, 8, 3], [1, 5, 8, 2], "zeros", "image must be [B, H, W, C]; got shape (5, 8, 3)."),
        ([1, 5, 8, 3], [5, 8, 2], "zeros", "grid must be [N, h, w, 2]; got shape (5, 8, 2)."),
        ([1, 5, 8, 3], [1, 5, 8, 3], "zeros", "grid must be [N, h, w, 2]; got shape (1, 5, 8, 3)."),
        ([1, 5, 8, 3], [1, 5, 8, 2], "mirror", "padding must be one of zeros, border, reflection; got 'mirror'."),
        ([1, 1, 8, 3], [1, 5, 8, 2], "zeros", "image must have at least 2 rows and columns; got shape (1, 1, 8, 3)."),
        ([1, 5, 1, 3], [1, 5, 8, 2], "border", "image must have at least 2 rows and columns; got shape (1, 5, 1, 3)."),
        (
            [2, 5, 8, 3],
            [3, 5, 8, 2],
            "zeros",
            "image and grid must have the same batch, or image a batch of 1; got 2 and 3.",
        ),
    ],
)
def test_what_does_not_fit_is_refused(image, where, padding, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        warp.backward_warp(tf.zeros(image), tf.zeros(where), padding)


def test_what_does_not_fit_is_refused_at_trace_time_as_well():
    traced = tf.function(warp.backward_warp)
    with pytest.raises(ValueError, match=re.escape("got 2 and 3.")):
        traced.get_concrete_function(tf.TensorSpec([2, None, None, 3]), tf.TensorSpec([3, None, None, 2]))

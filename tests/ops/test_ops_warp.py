"""The backward warp against loops, SciPy and tensorflow_graphics.

Images are neither square nor symmetric, so that exchanged axes and flipped signs show.
"""

import math
import re

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fomm_tf import ops
from fomm_tf.ops import warp

# The first call of TensorFlow takes much longer than later ones: no deadline.
properties = settings(deadline=None, max_examples=30, derandomize=True)

BATCH, HEIGHT, WIDTH, CHANNELS = 2, 5, 8, 2
every_padding = pytest.mark.parametrize("padding", warp.PADDINGS)
both_conventions = pytest.mark.parametrize("align_corners", [True, False])


def make_image(batch=BATCH, height=HEIGHT, width=WIDTH, seed=0):
    return np.random.default_rng(seed).uniform(size=(batch, height, width, CHANNELS))


def make_grid(batch=BATCH, height=HEIGHT, width=WIDTH, seed=1, reach=1.8):
    return np.random.default_rng(seed).uniform(-reach, reach, (batch, height, width, 2))


def mirrored(position, low, high):
    while not low <= position <= high:
        position = 2 * low - position if position < low else 2 * high - position
    return position


def pixel_place(normalized, size, align_corners):
    return (normalized + 1) / 2 * (size - 1) if align_corners else ((normalized + 1) * size - 1) / 2


def by_loops(image, grid_of_places, padding, align_corners):
    """grid_sample by its definition, one pixel at a time."""
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
def test_warp_equals_loops(padding, align_corners, sizes):
    image, grid = make_image(), make_grid(BATCH, *sizes)
    result = warp.backward_warp(tf.constant(image), tf.constant(grid), padding, align_corners)
    np.testing.assert_allclose(result, by_loops(image, grid, padding, align_corners), atol=1e-9)


@every_padding
@both_conventions
@pytest.mark.parametrize("sizes", [(HEIGHT, WIDTH), (3, 4)])
def test_warp_of_one_image_by_a_batch_of_grids(padding, align_corners, sizes):
    image, grid = make_image(batch=1), make_grid(3, *sizes)
    result = warp.backward_warp(tf.constant(image), tf.constant(grid), padding, align_corners)
    np.testing.assert_allclose(result, by_loops(image, grid, padding, align_corners), atol=1e-9)


@every_padding
@both_conventions
@pytest.mark.parametrize("batch", [1, BATCH])
def test_warp_by_resampler_op_is_the_same(padding, align_corners, batch):
    pytest.importorskip("tensorflow_addons", reason="the one node is its", exc_type=ImportError)
    image, grid = make_image(batch), make_grid(reach=2.5)
    grid[0, 0, :4, 0] = [np.nan, np.inf, -np.inf, 1e30]
    image, grid = tf.constant(image, tf.float32), tf.constant(grid, tf.float32)

    def traced():
        return tf.function(lambda: warp.backward_warp(image, grid, padding, align_corners)).get_concrete_function()

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
def test_warp_equals_scipy(padding, align_corners, mode):
    image, grid = make_image(), make_grid(reach=3.0)
    result = warp.backward_warp(tf.constant(image), tf.constant(grid), padding, align_corners)
    x = pixel_place(grid[..., 0], WIDTH, align_corners)
    y = pixel_place(grid[..., 1], HEIGHT, align_corners)
    for b in range(BATCH):
        for c in range(CHANNELS):
            expected = scipy.ndimage.map_coordinates(image[b, ..., c], [y[b], x[b]], order=1, mode=mode)
            np.testing.assert_allclose(result[b, ..., c], expected, atol=1e-9)


@pytest.mark.parametrize(("padding", "border"), [("zeros", "ZERO"), ("border", "DUPLICATE")])
@pytest.mark.parametrize(("align_corners", "pixel"), [(True, "INTEGER"), (False, "HALF_INTEGER")])
def test_warp_equals_tensorflow_graphics(padding, border, align_corners, pixel):
    pytest.importorskip("tensorflow_addons", reason="tensorflow_graphics needs it", exc_type=ImportError)
    from tensorflow_graphics.image import transformer  # slow import

    image, grid = make_image().astype(np.float32), make_grid().astype(np.float32)
    sizes = np.array([WIDTH, HEIGHT], np.float32)
    theirs = (grid + 1) / 2 * (sizes - 1 if align_corners else sizes)
    expected = transformer.sample(
        image, theirs, border_type=transformer.BorderType[border], pixel_type=transformer.PixelType[pixel]
    )
    np.testing.assert_allclose(warp.backward_warp(image, grid, padding, align_corners), expected, atol=1e-5)


@every_padding
@pytest.mark.parametrize("sizes", [(HEIGHT, WIDTH), (3, 11)])
def test_warp_without_tensorflow_addons_is_the_same(padding, sizes, monkeypatch):
    image, grid = tf.constant(make_image()), tf.constant(make_grid(BATCH, *sizes))
    expected = warp.backward_warp(image, grid, padding)
    monkeypatch.setattr(warp, "dense_image_warp", None)
    monkeypatch.setattr(warp, "interpolate_bilinear", None)
    np.testing.assert_allclose(warp.backward_warp(image, grid, padding), expected, atol=1e-12)


@properties
@given(st.integers(2, 12), st.integers(2, 12), st.sampled_from(warp.PADDINGS))
def test_warp_by_identity_grid_with_aligned_corners_is_the_image(height, width, padding):
    image = make_image(1, height, width).astype(np.float32)
    result = warp.backward_warp(image, ops.identity_grid(height, width)[tf.newaxis], padding)
    np.testing.assert_allclose(result, image, atol=1e-5)


def test_warp_by_identity_grid_without_aligned_corners_darkens_the_border():
    image, identity = tf.ones([1, 64, 64, 1]), ops.identity_grid(64, 64)[tf.newaxis]
    result = warp.backward_warp(image, identity, "zeros", False).numpy()[0, :, :, 0]
    np.testing.assert_allclose(result[0, 1:-1], 0.5, atol=0.02)
    np.testing.assert_allclose(result[1:-1, 1:-1], 1.0, atol=1e-5)


@properties
@given(st.integers(-4, 4), st.integers(-7, 7), st.booleans())
def test_warp_by_whole_pixels_shifts_the_image_and_pads_zeros(down, right, align_corners):
    image = make_image(1)
    # Pixel centers in the units of each convention.
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    sizes = np.array([WIDTH, HEIGHT])
    shifted = np.stack([columns - right, rows - down], -1)[None]
    grid = shifted / (sizes - 1) * 2 - 1 if align_corners else (2 * shifted + 1) / sizes - 1
    expected = np.zeros_like(image)
    for i in range(HEIGHT):
        for j in range(WIDTH):
            if 0 <= i - down < HEIGHT and 0 <= j - right < WIDTH:
                expected[0, i, j] = image[0, i - down, j - right]
    result = warp.backward_warp(tf.constant(image), tf.constant(grid), "zeros", align_corners)
    np.testing.assert_allclose(result, expected, atol=1e-9)


@properties
@given(st.integers(0, 10_000), st.sampled_from(warp.PADDINGS), st.booleans())
def test_warp_is_linear_and_stays_in_the_image_s_range(seed, padding, align_corners):
    first, second, grid = make_image(seed=seed), make_image(seed=seed + 1), tf.constant(make_grid(seed=seed + 2))

    def warped(image):
        return warp.backward_warp(tf.constant(image), grid, padding, align_corners).numpy()

    np.testing.assert_allclose(warped(2 * first - 3 * second), 2 * warped(first) - 3 * warped(second), atol=1e-9)
    low = 0.0 if padding == "zeros" else first.min()
    assert low - 1e-9 <= warped(first).min() <= warped(first).max() <= first.max() + 1e-9


@every_padding
@both_conventions
def test_warp_gradients_are_numeric_away_from_pixel_centers(padding, align_corners, check_gradient):
    """Bilinear sampling has kinks at pixel centers, reflection at the mirrors: the numeric gradient avoids them."""
    generator = np.random.default_rng(4)
    pixels = generator.integers(-1, [4, 5], (1, 4, 5, 2)) + generator.uniform(0.1, 0.4, (1, 4, 5, 2))  # (y, x)
    sizes = np.array([4, 5])
    normalized = pixels / (sizes - 1) * 2 - 1 if align_corners else (2 * pixels + 1) / sizes - 1
    image, grid = make_image(1, 4, 5)[..., :1], normalized[..., ::-1].copy()
    check_gradient(lambda i, w: warp.backward_warp(i, w, padding, align_corners), image, grid)
    check_gradient(lambda i, w: warp.backward_warp(i, w, padding, align_corners), image, grid[:, :2, :3])


def resize_line(values, size):
    """Linear, with half-pixel centers; the first and the last value go on outside of them."""
    centers = (np.arange(size) + 0.5) * len(values) / size - 0.5
    return np.interp(centers, np.arange(len(values)), values)


@both_conventions
def test_resize_displacements_equals_loops(align_corners):
    grid = make_grid(height=3, width=4)
    expected = np.empty((BATCH, HEIGHT, WIDTH, 2))
    for image, axis in np.ndindex(BATCH, 2):
        still = np.linspace(-1, 1, 4) if axis == 0 else np.linspace(-1, 1, 3)[:, np.newaxis]
        moved = grid[image, ..., axis] - still
        wide = np.stack([resize_line(row, WIDTH) for row in moved])
        large = np.stack([resize_line(column, HEIGHT) for column in wide.T], axis=1)
        for i, j in np.ndindex(HEIGHT, WIDTH):
            place, size = (j, WIDTH) if axis == 0 else (i, HEIGHT)
            own = 2 * place / (size - 1) - 1 if align_corners else (2 * place + 1) / size - 1
            expected[image, i, j, axis] = own + large[i, j]
    found = warp.resize_displacements(tf.constant(grid), HEIGHT, WIDTH, align_corners)
    np.testing.assert_allclose(found, expected, atol=1e-6)  # TensorFlow resizes in float32


@properties
@given(st.integers(1, 9), st.integers(2, 9), st.integers(2, 3), st.booleans())
def test_resized_identity_leaves_the_image_as_it_is(height, width, factor, align_corners):
    image = tf.constant(make_image(1, height * factor, width * factor), tf.float32)
    still = ops.identity_grid(height, width)[tf.newaxis]
    grid = warp.resize_displacements(still, height * factor, width * factor, align_corners)
    np.testing.assert_allclose(warp.backward_warp(image, grid, align_corners=align_corners), image, atol=2e-6)


@both_conventions
def test_resize_displacements_gradient_reaches_every_displacement(align_corners):
    grid = tf.constant(make_grid(1, 2, 3), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(grid)
        large = warp.resize_displacements(grid, 4, 6, align_corners)
        total = tf.reduce_sum(large)
    # A displacement reaches as many pixels of the result as one pixel covers.
    np.testing.assert_allclose(tf.reduce_sum(tape.gradient(total, grid)), 2 * 4 * 6, rtol=1e-6)


def test_warp_gradient_at_a_pixel_center_is_the_slope_to_its_right():
    image = tf.constant(make_image(1), tf.float32)
    grid = tf.zeros([1, 1, 1, 2])  # with 5 rows, y = 0 is the third row's center; with 8 columns, x = 0 is no center's
    with tf.GradientTape() as tape:
        tape.watch(grid)
        total = tf.reduce_sum(warp.backward_warp(image, grid))
    x, y = tape.gradient(total, grid).numpy()[0, 0, 0]
    difference = image[0, 2, 4] - image[0, 2, 3]
    np.testing.assert_allclose(x, tf.reduce_sum(difference) * (WIDTH - 1) / 2, rtol=1e-5)
    below = tf.reduce_mean(image[0, 3, 3:5] - image[0, 2, 3:5], axis=0)
    np.testing.assert_allclose(y, tf.reduce_sum(below) * (HEIGHT - 1) / 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("image", "grid", "padding", "message"),
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
def test_warp_rejects_other_shapes(image, grid, padding, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        warp.backward_warp(tf.zeros(image), tf.zeros(grid), padding)


def test_warp_rejects_other_shapes_at_trace_time():
    traced = tf.function(warp.backward_warp)
    with pytest.raises(ValueError, match=re.escape("got 2 and 3.")):
        traced.get_concrete_function(tf.TensorSpec([2, None, None, 3]), tf.TensorSpec([3, None, None, 2]))


def test_use_resampler_op_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(warp, "resampler", None)
    with pytest.raises(ImportError, match="tensorflow_addons is not installed"), warp.use_resampler_op():
        pass
    assert not warp._use_resampler_op.get()

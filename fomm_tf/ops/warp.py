"""Backward warp (Eq. 8) on tensorflow_addons; the only importer of that package.

Convention: see `fomm_tf.ops.grid`. `flow` (a pixel offset, row before column) appears nowhere else in the project.
"""

from __future__ import annotations

import warnings

import tensorflow as tf

from fomm_tf.ops import grid as grid_ops
from fomm_tf.ops import shapes

with warnings.catch_warnings():
    # Its end-of-life notice and its list of tested TensorFlow versions are printed at import; we pin both packages.
    warnings.simplefilter("ignore")
    from tensorflow_addons.image import dense_image_warp, interpolate_bilinear

PADDINGS = ("zeros", "border", "reflection")
_FAR = 1e6


def backward_warp(image: tf.Tensor, grid: tf.Tensor, padding: str = "zeros", align_corners: bool = True) -> tf.Tensor:
    """Reads `image` at the places that `grid` names, bilinearly: f_w of Eq. 8.

    Convention:
      * `grid[b, i, j]` is the (x, y) in `image` that output pixel (i, j) takes: an absolute place in the units of
        `fomm_tf.ops.grid`, not an offset;
      * `align_corners` is what -1 and +1 mean to the image: see `fomm_tf.ops.grid.to_pixels`;
      * `padding` is what lies outside: zeros (the networks), the border pixel, or the image mirrored (the equivariance
        transform), as torch's `grid_sample` defines them;
      * an image of less than float32 is interpolated in `grid`'s precision: in bfloat16 the sums alone are off by 1e-2;
      * a place that is NaN, infinite or further than 1e6 pixels away counts as outside: zeros under zero padding, the
        first row or column otherwise. No grid makes the gather leave the image;
      * bilinear sampling has a kink at every pixel centre. There the gradient of a coordinate is the slope to its
        right, and 0 on the edge of a border or reflection, as torch has it.

    Args:
      image: `[B, H, W, C]` float, any range, H and W at least 2. With a static B of 1, all of `grid`'s batch reads the
        one image, without a copy of it.
      grid: `[N, h, w, 2]` float32 (kept so under mixed precision), N = B unless B is 1.
      padding: one of `PADDINGS`.
      align_corners: see above.

    Returns:
      `[N, h, w, C]`, dtype of `image`.

    Raises:
      ValueError: if a static shape does not fit or `padding` is unknown.
    """
    image, grid = tf.convert_to_tensor(image), tf.convert_to_tensor(grid)
    _check(image, grid, padding)
    image_shape, image_dtype = image.shape[:3], image.dtype
    if image_dtype.size < 4:
        image = tf.cast(image, grid.dtype)
    _, image_height, image_width, channels = shapes.sizes(image)
    batch, height, width, _ = shapes.sizes(grid)
    pixels = _fold(grid_ops.to_pixels(grid, image_height, image_width, align_corners), padding, image, align_corners)
    if padding == "zeros":
        # tensorflow_addons clamps to the border; one pixel of zeros around the image makes that border zero.
        image = tf.pad(image, [[0, 0], [1, 1], [1, 1], [0, 0]])
        pixels = pixels + 1.0
    if image_shape.is_fully_defined() and image_shape == grid.shape[:3]:
        warped = _sample_by_flow(image, pixels) if padding != "zeros" else _sample_framed(image, pixels)
    else:
        queries = tf.reshape(pixels, [1 if image.shape[0] == 1 else batch, -1, 2])
        warped = tf.reshape(_sample(image, queries), [batch, height, width, channels])
    return tf.cast(tf.ensure_shape(warped, [*grid.shape[:3], image.shape[-1]]), image_dtype)


def _check(image: tf.Tensor, grid: tf.Tensor, padding: str) -> None:
    shapes.check("image", image, "B H W C")
    shapes.check("grid", grid, "N h w 2", last=2)
    if padding not in PADDINGS:
        raise ValueError(f"padding must be one of {', '.join(PADDINGS)}; got {padding!r}.")
    if any(size is not None and size < 2 for size in image.shape[1:3]):
        raise ValueError(f"image must have at least 2 rows and columns; got shape {image.shape}.")
    if None not in (image.shape[0], grid.shape[0]) and image.shape[0] not in (1, grid.shape[0]):
        raise ValueError(
            f"image and grid must have the same batch, or image a batch of 1; got {image.shape[0]} and {grid.shape[0]}."
        )


def _fold(pixels: tf.Tensor, padding: str, image: tf.Tensor, align_corners: bool) -> tf.Tensor:
    """Pixel places, each finite and where the padding has its value."""
    outside = -1.0 if padding == "zeros" else 0.0
    pixels = tf.where(tf.abs(pixels) < _FAR, pixels, tf.constant(outside, pixels.dtype))
    if padding == "zeros":
        return pixels
    last = tf.cast(tf.stack(shapes.sizes(image)[1:3]), pixels.dtype) - 1.0
    if padding == "reflection":
        low, span = (0.0, last) if align_corners else (-0.5, last + 1.0)
        distance = tf.abs(pixels - low)
        distance = distance - 2.0 * span * tf.floor(distance / (2.0 * span))
        pixels = span - tf.abs(distance - span) + low
    inside = tf.logical_and(pixels > 0.0, pixels < last)
    return tf.where(inside, pixels, tf.stop_gradient(tf.clip_by_value(pixels, 0.0, last)))


def _exact_at_centres(read):
    """Gives a bilinear sampler the gradient that torch's has.

    tensorflow_addons clamps its weights, and TensorFlow's gradient of a clamp is 0 at its end: at every pixel centre.
    """

    @tf.custom_gradient
    def sample(image: tf.Tensor, pixels: tf.Tensor) -> tuple:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(image)
                values = read(image, pixels)
            return tape.gradient(values, image, upstream), _slopes(image, pixels, upstream)

        return read(image, pixels), gradient

    return sample


def _slopes(image: tf.Tensor, pixels: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """The gradient with respect to `pixels`: differences of neighbours, interpolated along the other axis."""
    batch, height, width, channels = shapes.sizes(image)
    shape = tf.shape(pixels)
    pixels = tf.reshape(pixels, [batch, -1, 2])
    upstream = tf.reshape(upstream, [batch, -1, channels])
    row, column = tf.unstack(pixels, axis=-1)
    below = tf.pad(image[:, 1:] - image[:, :-1], [[0, 0], [0, 1], [0, 0], [0, 0]])
    right = tf.pad(image[:, :, 1:] - image[:, :, :-1], [[0, 0], [0, 0], [0, 1], [0, 0]])
    slopes = []
    for difference, place, size, point in (
        (below, row, height, [tf.floor(row), column]),
        (right, column, width, [row, tf.floor(column)]),
    ):
        slope = tf.reduce_sum(upstream * interpolate_bilinear(difference, tf.stack(point, axis=-1)), axis=-1)
        within = tf.logical_and(place >= 0.0, place < tf.cast(size - 1, place.dtype))
        slopes.append(tf.where(within, slope, tf.zeros_like(slope)))
    return tf.reshape(tf.stack(slopes, axis=-1), shape)


@_exact_at_centres
def _sample(image: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """`[B, N, C]` at places `[B, N, 2]`."""
    return interpolate_bilinear(image, pixels)


@_exact_at_centres
def _sample_by_flow(image: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """`[B, H, W, C]` at places `[B, H, W, 2]`: `dense_image_warp` wants the offset of each pixel from its own place."""
    _, height, width, _ = shapes.sizes(image)
    rows, columns = tf.meshgrid(tf.range(height), tf.range(width), indexing="ij")
    return dense_image_warp(image, tf.cast(tf.stack([rows, columns], axis=-1), pixels.dtype) - pixels)


def _sample_framed(image: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """The same for an image with a frame of one pixel, which its flow must have too."""
    pixels = tf.pad(pixels, [[0, 0], [1, 1], [1, 1], [0, 0]])
    return _sample_by_flow(image, pixels)[:, 1:-1, 1:-1, :]

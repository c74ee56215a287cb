"""Backward warp (Eq. 8) by tensorflow_addons; the only importer of that package.

Without it, as on TensorFlow 2.16 and later, four gathers compute the same.

Convention: see `fomm_tf.ops`. `flow` (a pixel offset, row before column) appears nowhere else in the project.
"""

from __future__ import annotations

import contextlib
import contextvars
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import tensorflow as tf

from fomm_tf import ops
from fomm_tf.ops import resample

with warnings.catch_warnings():
    # At import it warns of its end of life and of untested TensorFlow versions; both packages are pinned.
    warnings.simplefilter("ignore")
    try:
        from tensorflow_addons.image import dense_image_warp, interpolate_bilinear, resampler
    except ImportError:  # there is no release for TensorFlow 2.16 and later
        dense_image_warp = interpolate_bilinear = resampler = None
    else:
        # They have no control flow to convert, which takes a second when a model is built.
        dense_image_warp._autograph = interpolate_bilinear._autograph = False

PADDINGS = ("zeros", "border", "reflection")
_FAR = 1e6
_use_resampler_op = contextvars.ContextVar("use_resampler_op", default=False)


@contextlib.contextmanager
def use_resampler_op() -> Iterator[None]:
    """Traces warps with zero padding in the block as one node, `Addons>Resampler` of tensorflow_addons.

    For exports that replace this node by an operation of their own; otherwise it is slower than gathers.

    Raises:
      ImportError: if tensorflow_addons is not installed.
    """
    if resampler is None:
        raise ImportError("tensorflow_addons is not installed; it is needed to trace a warp as one node.")
    token = _use_resampler_op.set(True)
    try:
        yield
    finally:
        _use_resampler_op.reset(token)


def backward_warp(image: tf.Tensor, grid: tf.Tensor, padding: str = "zeros", align_corners: bool = True) -> tf.Tensor:
    """Samples `image` bilinearly at the positions in `grid`: f_w of Eq. 8.

    Convention:
      * `grid[b, i, j]` is the (x, y) in `image` that output pixel (i, j) comes from: an absolute position in the units
        of `fomm_tf.ops`, not an offset;
      * `align_corners` is what -1 and +1 mean in the image: see `fomm_tf.ops.to_pixels`;
      * `padding` is what lies outside: zeros (the networks), the border pixel, or the mirrored image (the equivariance
        transform), as defined by torch's `grid_sample`;
      * an image in half precision is interpolated in the precision of `grid`: in bfloat16 sums are off by 1e-2;
      * a position that is NaN, infinite or further than 1e6 pixels away is outside: zeros under zero padding, the first
        row or column otherwise. No grid makes the gather read outside of the image;
      * bilinear sampling has a kink at every pixel center. There the gradient of a coordinate is the slope to its
        right, and 0 on the edge of a border or reflection, as in torch.

    Args:
      image: `[B, H, W, C]` float, any range, H and W at least 2. With a static B of 1, the whole batch of `grid` reads
        the one image, without copying it.
      grid: `[N, h, w, 2]` float32 (also under mixed precision), N = B unless B is 1.
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
    _, image_height, image_width, channels = ops.sizes(image)
    batch, height, width, _ = ops.sizes(grid)
    pixels = _apply_padding(
        ops.to_pixels(grid, image_height, image_width, align_corners), padding, image, align_corners
    )
    use_resampler_op = padding == "zeros" and _use_resampler_op.get()
    if padding == "zeros" and not use_resampler_op:
        # tensorflow_addons clamps to the border; one pixel of zeros around the image makes that border zero.
        image = tf.pad(image, [[0, 0], [1, 1], [1, 1], [0, 0]])
        pixels = pixels + 1.0
    if use_resampler_op:
        queries = tf.reshape(pixels[..., ::-1], [1 if image.shape[0] == 1 else batch, -1, width, 2])
        warped = tf.reshape(resampler(image, queries), [batch, height, width, channels])
    elif dense_image_warp and image_shape.is_fully_defined() and image_shape == grid.shape[:3]:
        if padding == "zeros":  # the flow must be as large as the padded image
            pixels = tf.pad(pixels, [[0, 0], [1, 1], [1, 1], [0, 0]])
        warped = _sample_by_flow(image, pixels)
        warped = warped[:, 1:-1, 1:-1, :] if padding == "zeros" else warped
    else:
        queries = tf.reshape(pixels, [1 if image.shape[0] == 1 else batch, -1, 2])
        warped = tf.reshape(_sample(image, queries), [batch, height, width, channels])
    return tf.cast(tf.ensure_shape(warped, [*grid.shape[:3], image.shape[-1]]), image_dtype)


def resize_displacements(
    grid: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor, align_corners: bool
) -> tf.Tensor:
    """Resizes a grid for `backward_warp` so that the identity stays the identity.

    The displacements from the identity grid are resized bilinearly. Resized positions would magnify the image: the
    centers of the first and last pixel, at -1 and +1 in any size, are further from the edge in a smaller grid.

    Args:
      grid: `[B, h, w, 2]`, (x, y); the identity is `ops.identity_grid(h, w)`.
      height: rows of the result.
      width: columns of the result.
      align_corners: of the warp that the result is for.

    Returns:
      `[B, height, width, 2]`; the identity of that warp plus the displacements.
    """
    _, rows, columns, _ = ops.sizes(grid)
    displacements = resample.resize(grid - ops.identity_grid(rows, columns, grid.dtype), height, width)
    identity = ops.identity_grid(height, width, grid.dtype)
    if not align_corners:  # the centers of the first and last pixel are half a pixel from -1 and +1
        identity *= 1.0 - 1.0 / tf.cast([width, height], grid.dtype)
    return identity + displacements


def _check(image: tf.Tensor, grid: tf.Tensor, padding: str) -> None:
    ops.check_shape("image", image, "B H W C")
    ops.check_shape("grid", grid, "N h w 2", last=2)
    if padding not in PADDINGS:
        raise ValueError(f"padding must be one of {', '.join(PADDINGS)}; got {padding!r}.")
    if any(size is not None and size < 2 for size in image.shape[1:3]):
        raise ValueError(f"image must have at least 2 rows and columns; got shape {image.shape}.")
    if None not in (image.shape[0], grid.shape[0]) and image.shape[0] not in (1, grid.shape[0]):
        raise ValueError(
            f"image and grid must have the same batch, or image a batch of 1; got {image.shape[0]} and {grid.shape[0]}."
        )


def _apply_padding(pixels: tf.Tensor, padding: str, image: tf.Tensor, align_corners: bool) -> tf.Tensor:
    """Moves pixel positions to where the padded image has their value; all are finite then."""
    outside = -1.0 if padding == "zeros" else 0.0
    pixels = tf.where(tf.abs(pixels) < _FAR, pixels, tf.constant(outside, pixels.dtype))
    if padding == "zeros":
        return pixels
    last = tf.cast(tf.stack(ops.sizes(image)[1:3]), pixels.dtype) - 1.0
    if padding == "reflection":
        low, span = (0.0, last) if align_corners else (-0.5, last + 1.0)
        distance = tf.abs(pixels - low)
        distance = distance - 2.0 * span * tf.floor(distance / (2.0 * span))
        pixels = span - tf.abs(distance - span) + low
    inside = tf.logical_and(pixels > 0.0, pixels < last)
    return tf.where(inside, pixels, tf.stop_gradient(tf.clip_by_value(pixels, 0.0, last)))


def _exact_at_centers(read):
    """Gives a bilinear sampler the gradient of torch's, at the cost of one gather per corner.

    tensorflow_addons clamps its weights, and TensorFlow's gradient of a clamp is 0 at its end: at every pixel center.
    """

    @tf.custom_gradient
    def sample(image: tf.Tensor, pixels: tf.Tensor) -> tuple:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            corners = _Corners.of(image, pixels)
            batch, _, _, channels = ops.sizes(image)
            upstream = tf.reshape(upstream, [batch, -1, channels])
            return _spread(corners, image, upstream), tf.reshape(_slopes(corners, image, upstream), tf.shape(pixels))

        return read(image, pixels), gradient

    return sample


class _Corners(NamedTuple):
    """The four pixels around each of N positions in each of B images.

    Attributes:
      positions: `[B, N, 2]`, (row, column).
      indices: of the pixels above left, above right, below left and below right, `[B, N]` each, among all B H W pixels.
      down: `[B, N]` in [0, 1], how far a position is from the upper two to the lower two.
      right: `[B, N]` in [0, 1], how far it is from the left two to the right two.
    """

    positions: tf.Tensor
    indices: list[tf.Tensor]
    down: tf.Tensor
    right: tf.Tensor

    @classmethod
    def of(cls, image: tf.Tensor, pixels: tf.Tensor) -> _Corners:
        batch, height, width, _ = ops.sizes(image)
        positions = tf.reshape(pixels, [batch, -1, 2])
        last = tf.cast(tf.stack([height - 2, width - 2]), positions.dtype)
        first = tf.clip_by_value(tf.floor(positions), 0.0, last)
        down, right = tf.unstack(tf.clip_by_value(positions - first, 0.0, 1.0), axis=-1)
        top, left = tf.unstack(tf.cast(first, tf.int32), axis=-1)
        above = (tf.range(batch)[:, tf.newaxis] * height + top) * width + left
        return cls(positions, [above, above + 1, above + width, above + width + 1], down, right)


def _spread(corners: _Corners, image: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """The gradient with respect to the image: each position contributes to its corners."""
    batch, height, width, channels = ops.sizes(image)
    down, right = corners.down[..., tf.newaxis], corners.right[..., tf.newaxis]
    upper, lower = upstream * (1.0 - down), upstream * down
    parts = [upper * (1.0 - right), upper * right, lower * (1.0 - right), lower * right]
    sums = [
        tf.math.unsorted_segment_sum(values, indices, batch * height * width)
        for values, indices in zip(parts, corners.indices, strict=True)
    ]
    return tf.reshape(tf.add_n(sums), [batch, height, width, channels])


def _slopes(corners: _Corners, image: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """The gradient with respect to the positions: differences of corners, interpolated along the other axis."""
    _, height, width, channels = ops.sizes(image)
    flat = tf.reshape(image, [-1, channels])
    above_left, above_right, below_left, below_right = (
        tf.reduce_sum(upstream * tf.gather(flat, indices), axis=-1) for indices in corners.indices
    )
    down, right = corners.down, corners.right
    vertical = (below_left - above_left) * (1.0 - right) + (below_right - above_right) * right
    horizontal = (above_right - above_left) * (1.0 - down) + (below_right - below_left) * down
    slopes = tf.stack([vertical, horizontal], axis=-1)
    last = tf.cast(tf.stack([height - 1, width - 1]), slopes.dtype)
    within = tf.logical_and(corners.positions >= 0.0, corners.positions < last)
    return tf.where(within, slopes, tf.zeros_like(slopes))


@_exact_at_centers
def _sample(image: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """`[B, N, C]` at positions `[B, N, 2]`."""
    return interpolate_bilinear(image, pixels) if interpolate_bilinear else _interpolate(image, pixels)


def _interpolate(image: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Bit-identical to `interpolate_bilinear`."""
    corners = _Corners.of(image, pixels)
    flat = tf.reshape(image, [-1, ops.sizes(image)[-1]])
    above_left, above_right, below_left, below_right = (tf.gather(flat, indices) for indices in corners.indices)
    down, right = corners.down[..., tf.newaxis], corners.right[..., tf.newaxis]
    above = right * (above_right - above_left) + above_left
    below = right * (below_right - below_left) + below_left
    return down * (below - above) + above


@_exact_at_centers
def _sample_by_flow(image: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """`[B, H, W, C]` at positions `[B, H, W, 2]`; `dense_image_warp` takes offsets from each pixel's own position."""
    _, height, width, _ = ops.sizes(image)
    rows, columns = tf.meshgrid(tf.range(height), tf.range(width), indexing="ij")
    return dense_image_warp(image, tf.cast(tf.stack([rows, columns], axis=-1), pixels.dtype) - pixels)

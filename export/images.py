"""JPEG and PNG bytes to frames of the model's size, and back, inside the graph.

Agrees with `fomm_tf.video` to one gray level, and to two for JPEG images that are at least eight times as large as the
frame: transparent pixels become white, 16 bits become 8, the image is scaled to cover the frame and cropped at the
center. EXIF orientation is NOT applied: TensorFlow does not read it.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from fomm_tf.export import checks

# 25 megapixels are 300 MB as float32. A header that declares more is refused before decoding.
MAX_PIXELS = 25_000_000
# The fractions at which libjpeg decodes, and the smallest result of it in multiples of the model's size.
_JPEG_RATIOS, _MIN_REDUCED = (1, 2, 4, 8), 4
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_PNG_HEADER = 24


def as_float(images: tf.Tensor, size: tuple[int, int], name: str) -> tf.Tensor:
    """Converts an input to frames for the networks.

    Args:
      images: `[..., H, W, 3]` float32 in [0, 1] or uint8, or `[...]` strings of JPEG or PNG bytes.
      size: the model's (H, W).
      name: of the input, for error messages.

    Returns:
      `[..., H, W, 3]` float32 in [0, 1].

    Raises:
      tf.errors.InvalidArgumentError: at run time: for values outside [0, 1]; for bytes that are not a JPEG or PNG
        image, are damaged, or declare more than `MAX_PIXELS`.
    """
    if images.dtype == tf.string:
        frame = tf.TensorSpec([*size, 3], tf.float32)
        # One at a time: decoding an image of MAX_PIXELS takes 1 GB.
        frames = tf.map_fn(
            lambda contents: _decode(contents, size, name),
            tf.reshape(images, [-1]),
            fn_output_signature=frame,
            parallel_iterations=1,
        )
        frames = tf.reshape(frames, tf.concat([tf.shape(images), frame.shape], axis=0))
        return tf.ensure_shape(frames, images.shape.concatenate(frame.shape))
    if images.dtype == tf.uint8:
        return tf.cast(images, tf.float32) / 255.0
    checks.check_frames(images, name)
    return images


def from_float(frames: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """`[T, H, W, 3]` float32 in [0, 1] as float32, uint8, or `[T]` JPEG bytes (`dtype` tf.string)."""
    if dtype == tf.float32:
        return frames
    levels = tf.cast(tf.round(frames * 255.0), tf.uint8)
    if dtype == tf.uint8:
        return levels
    return tf.map_fn(
        lambda frame: tf.io.encode_jpeg(frame, quality=95, chroma_downsampling=False),
        levels,
        fn_output_signature=tf.string,
    )


def _decode(contents: tf.Tensor, size: tuple[int, int], name: str) -> tf.Tensor:
    is_png, is_jpeg = (tf.strings.substr(contents, 0, len(magic)) == magic for magic in (_PNG, _JPEG))
    known = checks.require(tf.logical_or(is_png, is_jpeg), f"{name} is neither a JPEG nor a PNG image.")
    with tf.control_dependencies([known]):
        height, width = tf.unstack(
            tf.cond(
                is_png,
                lambda: _png_size(contents),
                # The error message about damaged bytes contains the name of the operation.
                lambda: tf.image.extract_jpeg_shape(contents, tf.int64, name=name)[:2],
            ),
            num=2,
        )
    fits = checks.require(
        tf.logical_and(tf.minimum(height, width) > 0, height * width <= MAX_PIXELS),
        f"{name} declares no pixels or more than {MAX_PIXELS:,}; make it smaller first.",
    )
    with tf.control_dependencies([fits]):
        image = tf.cond(
            is_png,
            lambda: _on_white(tf.io.decode_png(contents, channels=4, name=name)),
            lambda: _decode_jpeg(contents, height, width, size, name),
        )
    return _resize_and_crop(image, size) / 255.0


def _decode_jpeg(
    contents: tf.Tensor, height: tf.Tensor, width: tf.Tensor, size: tuple[int, int], name: str
) -> tf.Tensor:
    """Decodes at a fraction of the size where that is still several times `size`: a large photo costs little then."""
    factor = tf.minimum(height // size[0], width // size[1]) // _MIN_REDUCED

    def decode(ratio: int) -> Callable[[], tf.Tensor]:
        return lambda: tf.io.decode_jpeg(contents, 3, ratio=ratio, dct_method="INTEGER_ACCURATE", name=name)

    index = tf.reduce_sum([tf.cast(factor >= ratio, tf.int32) for ratio in _JPEG_RATIOS[1:]])
    return tf.switch_case(index, [decode(ratio) for ratio in _JPEG_RATIOS])


def _png_size(contents: tf.Tensor) -> tf.Tensor:
    """(height, width) from the header; 0 if it is truncated."""
    header = tf.strings.join([tf.strings.substr(contents, 0, _PNG_HEADER), b"\0" * _PNG_HEADER])
    declared = tf.io.decode_raw(tf.strings.substr(header, _PNG_HEADER - 8, 8), tf.int32, little_endian=False)
    return tf.cast(declared[::-1], tf.int64)


def _on_white(image: tf.Tensor) -> tf.Tensor:
    """RGBA to RGB over a white background."""
    # All values fit into 16 bits.
    color, alpha = tf.split(tf.cast(image, tf.uint16), [3, 1], axis=-1)
    return tf.cast((color * alpha + 255 * (255 - alpha) + 127) // 255, tf.uint8)


def _resize_and_crop(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """`fomm_tf.video.resize` with fit `crop`: `[H, W, 3]` uint8 to `[*size, 3]` float32, whole gray levels."""
    target = tf.constant(size, tf.float64)
    original = tf.cast(tf.shape(image)[:2], tf.float64)
    scale = tf.reduce_max(target / original)
    inner = tf.cast(tf.minimum(original, tf.maximum(tf.round(target / scale), 1.0)), tf.int32)
    top, left = tf.unstack((tf.shape(image)[:2] - inner) // 2)
    crop = image[top : top + inner[0], left : left + inner[1]]

    def weigh() -> tf.Tensor:
        rows, columns = (_resize_weights(inner[axis], size[axis]) for axis in (0, 1))
        return tf.einsum("qw,pwc->pqc", columns, tf.einsum("ph,hwc->pwc", rows, tf.cast(crop, tf.float32)))

    # Area averages of 8-bit pixels need no copy of a large image as float32.
    resized = tf.cond(
        tf.reduce_all(inner >= size), lambda: tf.raw_ops.ResizeArea(images=crop[tf.newaxis], size=size)[0], weigh
    )
    return tf.round(tf.ensure_shape(resized, [*size, 3]))


def _resize_weights(old: tf.Tensor, new: int) -> tf.Tensor:
    """Weights `[new, old]` that resize an axis: area averages if it shrinks, else linear interpolation."""
    scale = tf.cast(old, tf.float32) / new
    sources, targets = tf.range(tf.cast(old, tf.float32)), tf.range(float(new))[:, tf.newaxis]
    overlap = tf.minimum((targets + 1.0) * scale, sources + 1.0) - tf.maximum(targets * scale, sources)
    centers = tf.clip_by_value((targets + 0.5) * scale - 0.5, 0.0, tf.cast(old, tf.float32) - 1.0)
    return tf.where(old >= new, tf.nn.relu(overlap) / scale, tf.nn.relu(1.0 - tf.abs(centers - sources)))

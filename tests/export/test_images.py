"""Images in the graph against `fomm_tf.video`, and what is rejected before it is decoded."""

import io
import struct
import zlib

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from PIL import Image

from fomm_tf import video
from fomm_tf.export import images

SIZE = (64, 48)
READ = tf.function(lambda encoded: images.as_float(encoded, SIZE, "driving"), autograph=False).get_concrete_function(
    tf.TensorSpec([None], tf.string)
)


def encoded(image, kind="png", **options):
    """An image as bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def read(*contents):
    return np.rint(READ(tf.constant(contents)).numpy() * 255).astype(np.int16)


def noise(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, [height, width, channels], np.uint8)


def header(width, height):
    """A png that declares a size and holds no pixels."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    declared = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + declared + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@hypothesis.settings(max_examples=40)
@hypothesis.given(height=st.integers(1, 300), width=st.integers(1, 300), seed=st.integers(0, 9))
def test_as_float_fits_any_size_like_video_resize(height, width, seed):
    image = noise(height, width, seed=seed)
    assert np.abs(read(encoded(image))[0] - video.resize(image, SIZE)).max() <= 1


def test_as_float_keeps_an_image_of_the_model_size():
    image = noise(*SIZE)
    np.testing.assert_array_equal(read(encoded(image))[0], image)


@pytest.mark.parametrize(
    ("mode", "channels"), [("RGBA", 4), ("LA", 2), ("L", 1)], ids=["transparent", "transparent gray", "gray"]
)
def test_as_float_reads_png_modes_like_video(mode, channels, tmp_path):
    contents = encoded(np.squeeze(noise(*SIZE, channels)))
    (tmp_path / "a.png").write_bytes(contents)
    assert Image.open(tmp_path / "a.png").mode == mode
    assert np.abs(read(contents)[0] - video.read_image(tmp_path / "a.png")).max() <= 1


def test_as_float_decodes_jpeg_and_png_like_pillow(tmp_path):
    image = noise(*SIZE)
    for subsampling in (0, 2):
        contents = encoded(image, "jpeg", quality=90, subsampling=subsampling)
        (tmp_path / "a.jpg").write_bytes(contents)
        first, second = read(contents, encoded(image))
        assert np.abs(first - video.read_image(tmp_path / "a.jpg")).max() <= 1
        np.testing.assert_array_equal(second, image)


def test_as_float_decodes_a_large_jpeg_at_a_fraction_of_its_size():
    rows, columns = np.mgrid[:2600, :2000].astype(np.float32)
    texture = np.random.default_rng(0).normal(0, 10, [2600, 2000])
    waves = [np.sin(rows / 37 + columns / 91), np.sin(columns / 11), np.cos(rows / 23)]
    image = np.uint8(np.clip([127 + 90 * wave + texture for wave in waves], 0, 255)).transpose(1, 2, 0)
    contents = encoded(image, "jpeg", quality=92)
    pixels = np.asarray(Image.open(io.BytesIO(contents)))
    # Averages of the decoder's blocks differ from exact area averages: measured 5 gray levels at most, 0.9 on average.
    difference = np.abs(read(contents)[0] - video.resize(pixels, SIZE))
    assert difference.max() <= 6 and difference.mean() < 1


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "driving is neither a JPEG nor a PNG"),
        (b"GIF89a" + bytes(40), "driving is neither a JPEG nor a PNG"),
        (header(20_000, 20_000), "driving declares no pixels or more than 25,000,000"),
        (header(2**31, 2**31), "driving declares no pixels or more than 25,000,000"),
        (header(0, 5), "driving declares no pixels"),
        (b"\x89PNG\r\n\x1a\n\0\0", "driving declares no pixels"),
        (header(30, 30), "driving"),
        (encoded(noise(50, 50))[:4000], "driving"),
        (encoded(noise(50, 50), "jpeg")[:400], "driving"),
        (b"\xff\xd8\xff", "driving"),
    ],
    ids=[
        "empty",
        "gif",
        "huge",
        "negative",
        "no width",
        "cut header",
        "no pixels",
        "cut png",
        "cut jpeg",
        "jpeg magic",
    ],
)
def test_as_float_rejects_invalid_images_by_name(contents, message):
    good = encoded(noise(*SIZE))
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        read(good, contents)
    assert read(good).shape == (1, *SIZE, 3)


def test_from_float_inverts_as_float():
    frames = noise(3, 64 * 48).reshape([3, *SIZE, 3])
    given = tf.constant(frames, tf.float32) / 255
    np.testing.assert_array_equal(images.from_float(given, tf.uint8), frames)
    assert images.from_float(given, tf.float32) is given
    actual = images.from_float(given, tf.string)
    smooth = np.broadcast_to(np.linspace(0, 1, 48, dtype=np.float32)[:, None], [1, *SIZE, 3])
    assert actual.shape == (3,)
    (jpeg,) = images.from_float(tf.constant(smooth), tf.string).numpy()
    assert Image.open(io.BytesIO(jpeg)).format == "JPEG"
    assert np.abs(np.int16(Image.open(io.BytesIO(jpeg))) - np.rint(smooth[0] * 255)).max() <= 3

"""Image files: formats, transparency, damaged files, and what is written."""

import contextlib
import itertools
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from fomm_tf import errors, video


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def _refusal(path) -> str:
    with pytest.raises(errors.UserError) as caught:
        video.read_image(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


def test_write_image_png_round_trip_is_lossless(tmp_path, rgb):
    video.write_image(tmp_path / "new" / "ä b.png", rgb, tag="animated with fomm-tf")
    np.testing.assert_array_equal(video.read_image(tmp_path / "new" / "ä b.png"), rgb)
    assert Image.open(tmp_path / "new" / "ä b.png").text == {"Comment": "animated with fomm-tf"}


def test_write_image_jpg_round_trip_is_close(tmp_path):
    smooth = np.broadcast_to(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (64, 64, 3))
    video.write_image(tmp_path / "a.JPG", smooth, tag="tag")
    assert np.abs(video.read_image(tmp_path / "a.JPG").astype(int) - smooth).max() < 6
    assert Image.open(tmp_path / "a.JPG").info["comment"] == b"tag"


def test_read_image_converts_grayscale_to_rgb(tmp_path, rgb):
    Image.fromarray(rgb[..., 0]).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(video.read_image(tmp_path / "gray.png"), np.repeat(rgb[..., :1], 3, -1))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_read_image_shows_transparency_as_white(tmp_path, mode):
    color = (0, 0, 0) if mode == "RGBA" else (0,)
    for alpha, expected in ((0, 255), (255, 0), (128, 127)):
        Image.new(mode, (2, 2), (*color, alpha)).save(tmp_path / "a.png")
        assert np.abs(video.read_image(tmp_path / "a.png").astype(int) - expected).max() <= 1


def test_read_image_shows_transparent_palette_color_as_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "p.png", transparency=0)
    np.testing.assert_array_equal(video.read_image(tmp_path / "p.png"), [[[255, 255, 255], [200, 100, 50]]])


def _png(width, height, depth, color, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize(("color", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_read_image_converts_16_bits_to_8(tmp_path, color, channels):
    values = np.array([[0, 255, 256, 32768, 65535]], ">u2")
    pixels = np.repeat(values[..., None], channels, -1)
    if channels in (2, 4):
        pixels[..., -1] = 65535
    (tmp_path / "a.png").write_bytes(_png(5, 1, 16, color, b"\x00" + pixels.tobytes()))
    np.testing.assert_array_equal(video.read_image(tmp_path / "a.png")[0, :, 0], [0, 0, 1, 128, 255])


@pytest.mark.parametrize(
    ("color", "values", "transparent"),
    [(0, [[1000], [1001], [40000]], [1000]), (2, [[999, 5, 65535], [7, 7, 7]], [999, 5, 65535])],
)
def test_read_image_shows_transparent_16_bit_color_as_white(tmp_path, color, values, transparent):
    pixels = np.array([values], ">u2")
    transparency = np.array(transparent, ">u2").tobytes()
    data = _png(pixels.shape[1], 1, 16, color, b"\x00" + pixels.tobytes(), (b"tRNS", transparency))
    (tmp_path / "a.png").write_bytes(data)
    expected = [(255, 255, 255), *(np.broadcast_to(np.array(value) >> 8, 3) for value in values[1:])]
    np.testing.assert_array_equal(video.read_image(tmp_path / "a.png")[0], expected)


def test_read_image_reads_first_frame_of_an_animation(tmp_path):
    images = [Image.new("RGB", (4, 3), color) for color in ("red", "blue")]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:])
    np.testing.assert_array_equal(video.read_image(tmp_path / "a.gif")[0, 0], [255, 0, 0])


def test_read_image_scales_float_tiff(tmp_path):
    Image.fromarray(np.array([[0, 0.5, 1]], np.float32)).save(tmp_path / "a.tiff")
    np.testing.assert_array_equal(video.read_image(tmp_path / "a.tiff")[0, :, 0], [0, 128, 255])


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif", "tiff", "gif", "bmp"])
def test_damaged_images_raise_unreadable_error_only(tmp_path, rgb, kind):
    """Pillow raises whatever its plugins do: OSError, SyntaxError, RuntimeError, struct.error and more."""
    image, exif = Image.fromarray(rgb), Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif} if kind in ("png", "jpeg", "webp", "tiff") else {}
    if kind in ("webp", "avif", "gif"):
        options |= {"save_all": True, "append_images": [image.rotate(180)] * 2}
    image.save(tmp_path / "whole", kind, **options)
    data = (tmp_path / "whole").read_bytes()
    rng = np.random.default_rng(0)
    for trial in range(25):
        damaged = np.frombuffer(data, np.uint8).copy()
        places = rng.integers(0, rng.choice([64, len(data)]), 4) % len(data)
        damaged[places] = rng.integers(0, 256, 4)
        (tmp_path / "damaged").write_bytes(damaged.tobytes()[: len(data) if trial % 3 else rng.integers(1, len(data))])
        for read in (video.read_image, lambda path: list(itertools.islice(video.open_video(path), 20))):
            with contextlib.suppress(errors.UnreadableError), warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                read(tmp_path / "damaged")


def test_read_image_accepts_one_pixel(tmp_path):
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "a.png")
    image = video.read_image(tmp_path / "a.png")
    assert image.shape == (1, 1, 3)
    for fit in ("crop", "pad", "stretch"):
        np.testing.assert_array_equal(video.resize(image, (64, 64), fit), np.broadcast_to([1, 2, 3], (64, 64, 3)))


@pytest.mark.parametrize("side", [10_001, 20_000])
def test_read_image_rejects_huge_image_by_its_header(tmp_path, side, monkeypatch):
    (tmp_path / "a.png").write_bytes(_png(side, side, 8, 2, b""))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    assert "more than 100,000,000 pixels" in _refusal(tmp_path / "a.png")


def test_read_image_rejects_other_files_with_specific_messages(tmp_path, rgb):
    assert "does not exist" in _refusal(tmp_path / "missing.png")
    assert "is a directory" in _refusal(tmp_path)
    (tmp_path / "empty.png").touch()
    assert "is empty (0 bytes)" in _refusal(tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("not an image\n" * 20)
    assert "is not an image" in _refusal(tmp_path / "text.png")
    for suffix in (".png", ".jpg"):
        Image.fromarray(np.kron(rgb, np.ones((20, 20, 1), np.uint8))).save(tmp_path / f"cut{suffix}")
        data = (tmp_path / f"cut{suffix}").read_bytes()
        (tmp_path / f"cut{suffix}").write_bytes(data[: len(data) // 2])
        assert "damaged or truncated" in _refusal(tmp_path / f"cut{suffix}")


def test_write_image_rejects_invalid_paths(tmp_path, rgb):
    with pytest.raises(errors.UserError, match=r"must be one of \.png, \.jpg, \.jpeg, \.webp; got '\.xyz'"):
        video.write_image(tmp_path / "a.xyz", rgb)
    (tmp_path / "file").touch()
    with pytest.raises(errors.UserError, match="is not a directory"):
        video.write_image(tmp_path / "file" / "a.png", rgb)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(errors.UserError, match="is a directory"):
        video.write_image(tmp_path / "folder.png", rgb)
    with pytest.raises(errors.UserError, match="NaN"):
        video.write_image(tmp_path / "new.png", rgb * np.nan)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder.png"]


def test_write_image_tags_webp(tmp_path):
    smooth = np.broadcast_to(np.linspace(0, 255, 64)[:, None, None], [64, 48, 3]).astype(np.uint8)
    video.write_image(tmp_path / "a.webp", smooth, tag="made by a program")
    assert b"made by a program" in (tmp_path / "a.webp").read_bytes()
    assert np.abs(video.read_image(tmp_path / "a.webp").astype(int) - smooth).mean() < 2

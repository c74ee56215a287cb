"""Photos as cameras write them: EXIF orientation, ICC profiles, HEIC."""

import io
import struct
import sys
from pathlib import Path

import drawn_videos
import numpy as np
import pytest
from PIL import Image, ImageCms

from fomm_tf import errors, video

_DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
_ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
_HEIC = Path(__file__).parent / "data" / "photo.heic"
# EXIF orientations 1 to 8.
_ORIENTATIONS = (
    *("upright", "mirrored", "turned-180", "flipped", "transposed", "turned-90", "transversed", "turned-270"),
)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "tif", "mpo"])
@pytest.mark.parametrize("value", range(1, 9))
def test_read_image_applies_exif_orientation(tmp_path, suffix, value):
    exif = Image.Exif()
    exif[0x0112] = value
    options = {} if suffix in ("png", "tif") else {"quality": 95}
    Image.fromarray(drawn_videos.chart()).save(tmp_path / f"a.{suffix}", exif=exif, **options)
    image = video.read_image(tmp_path / f"a.{suffix}")
    assert image.shape == ((96, 64, 3) if value > 4 else (64, 96, 3))
    expected = drawn_videos.turn(drawn_videos.COLORS, _ORIENTATIONS[value - 1])
    assert np.abs(drawn_videos.quarters(image) - expected).max() <= 8


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_open_video_splits_turned_stacked_image(tmp_path, suffix):
    """A stack that is stored upright, turned by its EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stacked = np.concatenate([np.full((8, 8, 3), value, np.uint8) for value in (10, 20, 30)], 1)
    Image.fromarray(np.rot90(stacked).copy()).save(tmp_path / f"a.{suffix}", exif=exif)
    assert [int(frame.mean()) for frame in video.open_video(tmp_path / f"a.{suffix}")] == [10, 20, 30]


def _profile(primaries, gamma=2.2) -> bytes:
    """An RGB profile, ICC version 2, of three primaries (x, y) at D65 and a gamma."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries]).T
    white, pcs_white = np.array([0.3127 / 0.3290, 1, 0.3583 / 0.3290]), np.array([0.9642, 1, 0.8249])
    columns = columns * np.linalg.solve(columns, white)
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    columns = np.linalg.solve(bradford, np.diag(bradford @ pcs_white / (bradford @ white)) @ bradford @ columns)

    def xyz(values):
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))

    curve = b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256))
    name = b"desc\0\0\0\0" + struct.pack(">I", 6) + b"drawn\0" + bytes(80)
    tags = {b"desc": name, b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": xyz(pcs_white)}
    tags |= {key: xyz(column) for key, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns.T, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body = struct.pack(">I", len(tags)), b""
    for key, data in tags.items():
        table += key + struct.pack(">2I", 132 + 12 * len(tags) + len(body), len(data))
        body += data
    size = 128 + len(table) + len(body)
    header = struct.pack(">I4sI4s4s4s12x4s28x", size, bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    return header + xyz(pcs_white)[8:] + bytes(48) + table + body


def _encode(color, primaries, gamma=2.2):
    """What an sRGB color is stored as with a profile of `primaries`."""

    def to_xyz(primaries):
        columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries]).T
        return columns * np.linalg.solve(columns, [0.3127 / 0.3290, 1, 0.3583 / 0.3290])

    srgb = to_xyz(((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)))
    value = np.array(color) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    stored = np.linalg.solve(to_xyz(primaries), srgb @ linear)
    return tuple(int(channel) for channel in np.rint(255 * stored ** (1 / gamma)))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "tif"])
@pytest.mark.parametrize("primaries", [_DISPLAY_P3, _ADOBE_RGB], ids=["display-p3", "adobe-rgb"])
def test_read_image_converts_icc_profile_to_srgb(tmp_path, suffix, primaries):
    color = (60, 170, 80) if primaries is _DISPLAY_P3 else (150, 120, 60)
    options = {"jpg": {"quality": 98, "subsampling": 0}, "webp": {"lossless": True}, "avif": {"quality": 98}}
    image = Image.new("RGB", (32, 32), _encode(color, primaries))
    image.save(tmp_path / f"a.{suffix}", icc_profile=_profile(primaries), **options.get(suffix, {}))
    assert np.abs(video.read_image(tmp_path / f"a.{suffix}").astype(int) - color).max() <= 4


def test_read_image_converts_icc_profile_under_alpha_and_palette(tmp_path):
    stored = _encode((60, 170, 80), _DISPLAY_P3)
    image = Image.new("RGBA", (2, 1), (*stored, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    for name, variant in (("a.png", image), ("p.png", image.quantize())):
        variant.save(tmp_path / name, icc_profile=_profile(_DISPLAY_P3))
        assert np.abs(video.read_image(tmp_path / name)[0].astype(int) - [(60, 170, 80), (255, 255, 255)]).max() <= 2


def test_read_image_keeps_srgb_exactly(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rgb = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.png", icc_profile=profile)
    np.testing.assert_array_equal(video.read_image(tmp_path / "a.png"), rgb)


@pytest.mark.parametrize("profile", [b"no profile", _profile(_ADOBE_RGB)[:200]])
def test_read_image_ignores_damaged_icc_profile_and_warns(tmp_path, profile):
    Image.new("RGB", (2, 2), (1, 2, 3)).save(tmp_path / "a.png", icc_profile=profile)
    with pytest.warns(UserWarning, match=r"a\.png has an ICC profile that cannot be used .*; it is ignored"):
        assert (video.read_image(tmp_path / "a.png") == (1, 2, 3)).all()


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_read_image_ignores_icc_profile_of_another_color_space(tmp_path, mode):
    """Gray images may have an RGB profile; CMYK ones may not."""
    Image.new(mode, (2, 2)).save(tmp_path / "a.tif", icc_profile=_profile(_ADOBE_RGB))
    if mode == "L":
        assert (video.read_image(tmp_path / "a.tif") == 0).all()
    else:
        with pytest.warns(UserWarning, match="ICC profile"):
            assert (video.read_image(tmp_path / "a.tif") == 255).all()


@pytest.mark.parametrize("read", [video.read_image, video.open_video])
def test_heic_without_pillow_heif_names_the_cure(tmp_path, monkeypatch, read):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    Image.init()
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "1.heic").write_bytes(_HEIC.read_bytes())
    for path in (_HEIC, *[tmp_path / "frames"] * (read is video.open_video)):
        with pytest.raises(
            errors.UnreadableError, match=r"is a HEIC image, which needs .* pillow-heif.*convert .* jpg"
        ):
            read(path)


def test_heic_is_read_by_pillow_heif(tmp_path):
    pytest.importorskip("pillow_heif", reason="pillow-heif is optional")
    photo = video.read_image(_HEIC)
    assert photo.shape == (128, 128, 3)
    assert np.abs(photo[64, 64].astype(int) - (224, 172, 140)).max() <= 8
    for index in range(3):
        (tmp_path / f"{index}.HEIC").write_bytes(_HEIC.read_bytes())
    assert len(list(video.open_video(tmp_path))) == 3


def test_read_image_accepts_damaged_heic_header_without_traceback(tmp_path):
    (tmp_path / "a.heic").write_bytes(_HEIC.read_bytes()[:40])
    with pytest.raises(errors.UnreadableError):
        video.read_image(tmp_path / "a.heic")


def test_read_image_applies_profile_of_pil_images():
    image = Image.new("RGB", (2, 2), _encode((60, 170, 80), _DISPLAY_P3))
    data = io.BytesIO()
    image.save(data, "png", icc_profile=_profile(_DISPLAY_P3))
    assert np.abs(video.as_frame(Image.open(data))[0, 0].astype(int) - (60, 170, 80)).max() <= 2


def test_read_image_tone_maps_hdr_photos(tmp_path):
    """An AVIF image whose tags say PQ and BT.2020."""
    colors = [(200, 40, 40), (40, 180, 60), (128, 128, 128), (255, 255, 255)]
    codes = [np.round(drawn_videos.hdr_code(color, "PQ") * 255) for color in colors]
    image = Image.fromarray(drawn_videos.chart(colors=codes))
    image.save(tmp_path / "a.avif", quality=100, subsampling="4:4:4")
    data = bytearray((tmp_path / "a.avif").read_bytes())
    tags = data.index(b"colrnclx") + 8
    data[tags : tags + 4] = bytes([0, 9, 0, 16])
    (tmp_path / "a.avif").write_bytes(data)
    with pytest.warns(UserWarning, match=r"a\.avif is HDR \(PQ\); it is tone-mapped to SDR"):
        read = video.read_image(tmp_path / "a.avif")
    # 8 bits of PQ are coarse in the dark.
    np.testing.assert_allclose(drawn_videos.quarters(read), colors, atol=30)

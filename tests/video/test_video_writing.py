import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from fomm_tf import errors, video

pytestmark = pytest.mark.slow

TAG = "animated with fomm-tf"


def _smooth(index: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A colored ramp that moves."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 2 + index, y * 4, np.full_like(x, 4 * index)], -1).astype(np.uint8)


def _write(path, count=30, fps=25, size=(48, 64), **options):
    with video.write_video(path, fps, **options) as writer:
        for index in range(count):
            writer.write(_smooth(index, *size))
    return path


def _properties(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.codec_context.name, stream.codec_context.pix_fmt, stream.average_rate, dict(container.metadata)


@pytest.mark.parametrize("fps", [25, 29.97002997, Fraction(60)])
@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "h264"), (".MOV", "h264"), (".webm", "vp9")])
def test_write_video_round_trip(tmp_path, suffix, codec, fps):
    path = _write(tmp_path / "new folder" / f"a b ü{suffix}", fps=fps, tag=TAG)
    got_codec, pix_fmt, rate, metadata = _properties(path)
    assert (got_codec, pix_fmt) == (codec, "yuv420p")
    assert float(rate) == pytest.approx(fps, rel=1e-6)
    assert {name.lower(): value for name, value in metadata.items()}["comment"] == TAG
    opened = video.open_video(path)
    assert (opened.size, opened.frame_count, opened.has_audio) == ((48, 64), 30, False)
    assert float(opened.fps) == pytest.approx(fps, rel=1e-6)
    frames = list(opened)
    assert len(frames) == 30
    for index, frame in enumerate(frames):
        assert np.abs(frame.astype(int) - _smooth(index)).mean() < 3
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_write_video_puts_mp4_index_first(tmp_path):
    data = _write(tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_write_video_tags_and_keeps_colors(tmp_path, suffix):
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]], np.uint8)
    with video.write_video(tmp_path / f"a{suffix}", 25) as writer:
        for color in colors:
            writer.write(np.broadcast_to(color, (64, 64, 3)))
    with av.open(str(tmp_path / f"a{suffix}")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
    for frame, color in zip(video.open_video(tmp_path / f"a{suffix}"), colors, strict=True):
        assert np.abs(frame[32, 32].astype(int) - color).max() < 8


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif", ".webp"])
@pytest.mark.parametrize("size", [(47, 63), (1, 1), (48, 63)])
def test_write_video_accepts_odd_sizes(tmp_path, suffix, size):
    path = _write(tmp_path / f"a{suffix}", 3, size=size)
    opened = video.open_video(path)
    grown = tuple(side + side % 2 for side in size)
    assert opened.size == (grown if suffix == ".mp4" else size)
    frames = list(opened)
    assert np.abs(frames[2][: size[0], : size[1]].astype(int) - _smooth(2, *size)).mean() < 12
    if suffix == ".mp4":  # the last row and column once more
        assert np.abs(frames[2][-1].astype(int) - frames[2][-2]).mean() < 6


def test_write_video_gif_round_trip(tmp_path):
    path = _write(tmp_path / "a.gif", tag=TAG)
    opened = video.open_video(path)
    assert (opened.fps, opened.size) == (25, (48, 64))
    frames = list(opened)
    assert len(frames) == 30
    for index, frame in enumerate(frames):
        assert np.abs(frame.astype(int) - _smooth(index)).mean() < 8
    with Image.open(path) as image:
        assert (image.n_frames, image.info["loop"]) == (30, 0)
        image.seek(29)
    assert _properties(path)[3] == {"comment": TAG}


@pytest.mark.parametrize("fps", [25, 60])
def test_write_video_webp_round_trip(tmp_path, fps):
    path = _write(tmp_path / "a.webp", fps=fps, tag=TAG)
    with Image.open(path) as image:
        assert (image.format, image.n_frames, image.info["loop"], image.size) == ("WEBP", 30, 0, (64, 48))
        assert TAG in image.info["xmp"].decode()
        milliseconds = []
        for index in range(30):
            image.seek(index)
            image.load()  # which sets the duration since Pillow 13
            milliseconds.append(image.info["duration"])
        assert abs(sum(milliseconds) - 30_000 / fps) <= 1000 / fps
        for index in (0, 13, 29):
            image.seek(index)
            assert np.abs(np.asarray(image.convert("RGB")).astype(int) - _smooth(index)).mean() < 4
    assert video.is_video(path) and len(list(video.open_video(path, fps=fps))) in (29, 30, 31)


def test_write_video_fast_gif_keeps_speed_with_fewer_frames(tmp_path):
    path = _write(tmp_path / "a.gif", 60, fps=60)
    opened = video.open_video(path)
    assert opened.fps == 50
    assert len(list(opened)) == 50


@pytest.mark.parametrize("name", ["frames", "frames v1.5/"])
def test_write_video_directory_is_lossless(tmp_path, name):
    target = f"{tmp_path}/{name}"
    frames = np.random.default_rng(0).integers(0, 256, (12, 7, 9, 3), np.uint8)
    for _ in range(2):  # the second time an earlier output is replaced
        with video.write_video(target, 25, tag=TAG) as writer:
            for frame in frames:
                writer.write(frame)
    np.testing.assert_array_equal(list(video.open_video(target)), frames)
    files = sorted((tmp_path / name).iterdir())
    assert [file.name for file in files[:2]] == ["00000.png", "00001.png"]
    assert Image.open(files[0]).text == {"Comment": TAG}
    assert len(list(tmp_path.iterdir())) == 1


def test_write_video_accepts_floats_in_range_only(tmp_path):
    with video.write_video(tmp_path / "frames", 25) as writer:
        writer.write(_smooth(1) / np.float32(255))
    np.testing.assert_array_equal(next(iter(video.open_video(tmp_path / "frames"))), _smooth(1))
    for bad, message in ((np.nan, "NaN"), (1.5, "got 0 to 1.5")):
        with pytest.raises(errors.UserError, match=message), video.write_video(tmp_path / "a.mp4", 25) as writer:
            writer.write(np.full((4, 4, 3), bad))
    assert [file.name for file in tmp_path.iterdir()] == ["frames"]


def test_write_video_rejects_frames_of_another_shape(tmp_path):
    with pytest.raises(ValueError, match="as the first one"), video.write_video(tmp_path / "a.mp4", 25) as writer:
        writer.write(_smooth(0))
        writer.write(_smooth(0, 48, 66))
    with pytest.raises(ValueError, match="must be \\[H, W, 3\\]"), video.write_video(tmp_path / "a.mp4", 25) as writer:
        writer.write(_smooth(0)[..., 0])


class _Stopped(BaseException):
    pass


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.webm", "a.gif", "a.webp", "frames"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, _Stopped])
def test_write_video_interrupted_keeps_existing_output(tmp_path, name, error):
    def broken_off():
        with pytest.raises(error), video.write_video(tmp_path / name, 25) as writer:
            for index in range(60):
                writer.write(_smooth(index))
            raise error

    broken_off()
    assert list(tmp_path.iterdir()) == []
    _write(tmp_path / name, 5)
    broken_off()
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert len(list(video.open_video(tmp_path / name))) == 5


def test_write_video_rejects_zero_frames(tmp_path):
    for name in ("a.mp4", "a.gif", "frames"):
        with (
            pytest.raises(errors.UserError, match="no frames for"),
            video.write_video(tmp_path / name, 25),
        ):
            pass
    assert list(tmp_path.iterdir()) == []


def test_write_video_rejects_invalid_paths_before_work(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    before = sorted(tmp_path.rglob("*"))
    for name, message in (
        (
            "a.xyz",
            r"must be one of \.mp4, \.mov, \.webm, \.webp, \.gif, or no suffix for a directory of png frames; got",
        ),
        ("a.avi", r"got '\.avi'"),
        ("file/a.mp4", "file is not a directory; choose another place"),
        ("file/deeper/a.mp4", "is not a directory; choose another place"),
        ("folder.mp4", "is a directory; give a file name"),
        ("file", "is a file; give a directory"),
        ("full", "holds other files than numbered frames"),
    ):
        with pytest.raises(errors.UserError, match=message), video.write_video(tmp_path / name, 25):
            pytest.fail("the block was entered")
    for fps in (0, -1, float("nan"), float("inf")):
        with pytest.raises(errors.UserError, match="`fps` must be"), video.write_video(tmp_path / "a.mp4", fps):
            pytest.fail("the block was entered")
    assert sorted(tmp_path.rglob("*")) == before


def test_write_video_rejects_unwritable_path():
    with pytest.raises(errors.UserError, match=r"cannot write /proc/fomm/a\.mp4 .*choose another place"):
        _write("/proc/fomm/a.mp4")


_ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from fomm_tf import errors, video

folder, name = Path(sys.argv[1]), sys.argv[2]
frames = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3), np.uint8)

def write(path):
    with video.write_video(path, 25, tag="tag") as writer:
        for frame in frames:
            writer.write(frame)

write(folder / "whole" / name)
whole = folder / "whole" / name
size = (whole if whole.is_file() else whole / "00000.png").stat().st_size
for limit in (1, 100, size // 2, size - 5000, size - 300, size - 1):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1))
    try:
        write(folder / "limited" / name)
    except errors.UserError as error:
        assert "File too large" in str(error) and "free some space" in str(error) and "\\n" not in str(error), error
    else:
        raise SystemExit(f"no error at {limit} of {size}")
    assert not list((folder / "limited").iterdir()), limit
"""


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "a.webp", "frames"])
def test_write_video_full_disk_is_one_line_and_leaves_nothing(tmp_path, name):
    done = subprocess.run(
        [sys.executable, "-c", _ON_A_FULL_DISK, str(tmp_path), name], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_write_video_memory_stays_flat(tmp_path, resident):
    frame = np.zeros((128, 192, 3), np.uint8)
    for name in ("a.mp4", "a.gif"):
        with video.write_video(tmp_path / name, 25) as writer:
            for index in range(1000):
                frame[:, index % 192] = index % 256
                writer.write(frame)
                if index == 300:
                    before = resident()
        assert resident() - before < 15e6


def test_write_video_bytes_do_not_depend_on_previous_memory(tmp_path):
    frames = np.full((12, 32, 32, 3), (200, 30, 30), np.uint8)
    for number, frame in enumerate(frames):
        frame[:4, : 2 * number] = 255
    wide = np.random.default_rng(0).integers(0, 256, (12, 32, 96, 3), np.uint8)
    written = set()
    for number in range(40):
        for name, shown in (("wide", wide[:, :, : 48 + number % 48]), ("a", frames), ("b", frames)):
            with video.write_video(tmp_path / f"{name}.mp4", 25) as writer:
                for frame in shown:
                    writer.write(frame)
        list(video.open_video(tmp_path / "wide.mp4"))
        written |= {(tmp_path / f"{name}.mp4").read_bytes() for name in "ab"}
    assert len(written) == 1

"""Damaged files are read, or are one-line errors: no traceback, no hang."""

import itertools
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import drawn_videos
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fomm_tf import errors, video

_FRAMES = [np.roll(drawn_videos.chart((16, 24)), 2 * shift, 1) for shift in range(4)]


def _image(suffix: str, **options: object) -> Callable[[Path], None]:
    return lambda folder: Image.fromarray(_FRAMES[0]).save(folder / f"a{suffix}", **options)


def _animation(suffix: str) -> Callable[[Path], None]:
    others = [Image.fromarray(frame) for frame in _FRAMES[1:]]
    return _image(suffix, save_all=True, append_images=others, duration=40)


def _clip(suffix: str, codec: str, pix_fmt: str = "yuv420p") -> Callable[[Path], None]:
    return lambda folder: drawn_videos.write(folder / f"a{suffix}", _FRAMES, codec, pix_fmt)


_SAMPLES = {
    "png": _image(".png"),
    "jpg": _image(".jpg"),
    "tif": _image(".tif", compression="tiff_lzw"),
    "webp": _animation(".webp"),
    "apng": _animation(".png"),
    "avif": _animation(".avif"),
    "gif": _animation(".gif"),
    "mp4": _clip(".mp4", "libx264"),
    "mkv": _clip(".mkv", "ffv1"),
    "avi": _clip(".avi", "mpeg4"),
    "webm": _clip(".webm", "libvpx"),
    "mov": _clip(".mov", "qtrle", "argb"),
}
# Position in the file as a share of its length, the change, and a value.
_EDIT = st.tuples(
    st.floats(0, 1, exclude_max=True) | st.floats(0, 0.1),
    st.sampled_from(["flip", "set", "delete", "repeat", "cut"]),
    st.integers(0, 255),
)


def edit(data: bytes, edits: list[tuple[float, str, int]]) -> bytes:
    """Applies edits to the contents of a file."""
    for share, change, value in edits:
        at = int(share * len(data))
        head, byte, tail = data[:at], data[at : at + 1], data[at + 1 :]
        data = {
            "flip": head + bytes(each ^ 1 << value % 8 for each in byte) + tail,
            "set": head + bytes([value]) * len(byte) + tail,
            "delete": head + tail[value % 32 :],
            "repeat": head + (byte + tail[: value % 32]) * 2 + tail,
            "cut": head if value < 64 else data,
        }[change]
    return data


@pytest.fixture(scope="module")
def samples():
    """The contents of a small valid file of each kind."""
    with tempfile.TemporaryDirectory() as folder:
        contents = {}
        for name, write in _SAMPLES.items():
            write(Path(folder))
            (path,) = Path(folder).iterdir()
            contents[name] = (path.suffix, path.read_bytes())
            path.unlink()
        return contents


def _read(path: Path) -> None:
    """Reads a file in every way."""
    for read in (video.is_animated, video.read_image, lambda path: list(itertools.islice(video.open_video(path), 20))):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                read(path)
            except errors.UserError as error:
                assert len(str(error).splitlines()) == 1
        assert all(len(str(warning.message).splitlines()) == 1 for warning in caught)
        assert all(str(path) in str(warning.message) for warning in caught)


@pytest.mark.parametrize("name", _SAMPLES)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(edits=st.lists(_EDIT, min_size=1, max_size=4))
def test_damaged_files_are_read_or_refused_in_one_line(samples, name, edits):
    suffix, data = samples[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        path.write_bytes(edit(data, edits))
        _read(path)

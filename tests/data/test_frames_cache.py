"""The cache of frames: when a clip is decoded again, and what interruptions and full disks leave."""

import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

from fomm_tf import errors, video
from fomm_tf.data import frames

SIZE = (48, 48)


# Decodes a clip whose last frame comes when the decoding is to stop, and then again and again; says when it is there,
# and when a further frame is taken.
ENDLESS = """
import itertools, signal, sys
from fomm_tf import video
from fomm_tf.data import frames, layout

signal.signal(signal.SIGINT, signal.default_int_handler)
read, make = video.open_video, frames._write_cache
stops = []

def note(*arguments):
    stops.append(arguments[-1])
    return make(*arguments)

def endless(path):
    *most, last = read(path)
    yield from most
    print("half", flush=True)
    stops[0].wait()
    for _ in itertools.count():
        yield last
        print("more", flush=True)

video.open_video, frames._write_cache = endless, note
frames.load(sys.argv[1], "train", (48, 48))
"""


def kept_files(root):
    return [path for path in root.rglob("*") if path.is_file() and ".fomm-" in str(path)]


def test_load_decodes_each_clip_once(tmp_path, write_clip, monkeypatch):
    for name in ("a", "b.mp4"):
        write_clip(tmp_path / "train" / name)
    first = frames.load(tmp_path, "train", SIZE)
    monkeypatch.setattr(video, "open_video", lambda path: pytest.fail(f"{path} is decoded again"))
    again = frames.load(tmp_path, "train", SIZE)
    for before, after in zip(first.clips, again.clips, strict=True):
        assert np.array_equal(before.starts, after.starts)
        assert np.array_equal(before.frame(3), after.frame(3))


@pytest.mark.parametrize("name", ["a.mp4", "a"])
def test_load_decodes_changed_clip_again(tmp_path, write_clip, name):
    path = tmp_path / "train" / name
    write_clip(path)
    frames.load(tmp_path, "train", SIZE)
    write_clip(path, count=5, hue=250)
    clip = frames.load(tmp_path, "train", SIZE).clips[0]
    assert len(clip) == 5 and clip.frame(0)[-1, 0, 2] > 200
    assert len(kept_files(tmp_path)) == 1


def test_load_notices_frame_overwritten_in_place(tmp_path, write_clip):
    write_clip(tmp_path / "train" / "a")
    frames.load(tmp_path, "train", SIZE)
    video.write_image(tmp_path / "train" / "a" / "00002.png", np.full([*SIZE, 3], 77, np.uint8))
    assert frames.load(tmp_path, "train", SIZE).clips[0].frame(2).mean() == pytest.approx(77, abs=1)


@pytest.mark.parametrize("name", ["a.mp4", "a/00002.png"])
def test_load_notices_changed_modification_time(tmp_path, write_clip, name):
    write_clip((tmp_path / "train" / name) if name == "a.mp4" else tmp_path / "train" / "a")
    times = [os.stat(frames.load(tmp_path, "train", SIZE).clips[0].file).st_mtime_ns]
    for time_of_change in (1_000_000, 1_000_001):
        os.utime(tmp_path / "train" / name, ns=(0, time_of_change))
        times.append(os.stat(frames.load(tmp_path, "train", SIZE).clips[0].file).st_mtime_ns)
    assert len(set(times)) == 3


def test_load_caches_each_frame_size_separately(tmp_path, write_clip):
    write_clip(tmp_path / "train" / "a")
    small, large = (frames.load(tmp_path, "train", size).clips[0] for size in ((16, 16), (32, 32)))
    assert small.frame(0).shape == (16, 16, 3) and large.frame(0).shape == (32, 32, 3)


@pytest.mark.parametrize("keep", [0, 20, 700])
def test_load_rewrites_truncated_cache_file(tmp_path, write_clip, keep):
    write_clip(tmp_path / "train" / "a")
    clip = frames.load(tmp_path, "train", SIZE).clips[0]
    file = pathlib.Path(clip.file)
    whole = file.read_bytes()
    file.write_bytes(whole[:keep])
    frames.load(tmp_path, "train", SIZE)
    assert file.read_bytes() == whole


def test_load_shared_cache_separates_data_sets_of_one_name(tmp_path, write_clip):
    for number in range(2):
        write_clip(tmp_path / str(number) / "set" / "train" / "a", count=3 + number)
    for number in [0, 1, 0]:
        index = frames.load(tmp_path / str(number) / "set", "train", SIZE, cache=tmp_path / "cache")
        assert len(index.clips[0]) == 3 + number
        assert not kept_files(tmp_path / str(number))
    assert len(list((tmp_path / "cache").rglob("*.frames"))) == 2


def test_load_unwritable_cache_is_one_line(tmp_path, write_clip):
    write_clip(tmp_path / "train" / "a")
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(errors.UserError, match="cannot write"):
        frames.load(tmp_path, "train", SIZE, cache=tmp_path / "cache")


def test_load_full_disk_leaves_no_partial_cache(tmp_path, write_clip, monkeypatch):
    write_clip(tmp_path / "train" / "a")

    def full(image):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(frames, "_png", full)
    with pytest.raises(errors.UserError, match="No space left"):
        frames.load(tmp_path, "train", SIZE)
    assert not kept_files(tmp_path)


@pytest.mark.slow
def test_load_killed_leaves_no_partial_file(tmp_path, write_clip):
    write_clip(tmp_path / "train" / "a", count=6)
    with subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"half\n"
        process.send_signal(signal.SIGKILL)
    assert not [path for path in kept_files(tmp_path) if not path.parent.name.startswith(".fomm-")]
    assert len(frames.load(tmp_path, "train", SIZE).clips[0]) == 6


@pytest.mark.slow
def test_load_ctrl_c_stops_at_once_and_leaves_nothing(tmp_path, write_clip):
    write_clip(tmp_path / "train" / "a", count=6)
    with subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"half\n"
        process.send_signal(signal.SIGINT)
        try:
            said, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode != 0
    assert said == b"", "no frame is taken after the signal"
    assert not kept_files(tmp_path)

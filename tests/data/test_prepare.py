"""`fomm prepare` on small videos of a white square, which a detector as users would write it finds."""

import csv
import os
import subprocess
import sys

import numpy as np
import pytest
from square_videos import draw_frames, draw_scene, list_clips, prepare, write_parts

from fomm_tf import cli, video
from fomm_tf.data import frames

pytestmark = pytest.mark.slow


def _rows(out):
    with (out / "prepare.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_prepare_crops_smallest_square_around_all_boxes(tmp_path, capsys):
    moving = list(draw_frames(30, left=40, step=0.5))
    nothing = [draw_scene(0)] * 5
    write_parts(
        tmp_path / "ann", moving, nothing, draw_frames(10, left=80, top=48), draw_frames(3, scene=7, left=80, top=48)
    )
    out = tmp_path / "set"
    assert prepare(out, "--split", "time", "--max-frames", "20", "--test-share", "0.4", tmp_path / "ann") == 0
    printed = capsys.readouterr()
    assert printed.out == (
        f"{out}: 2 clips in train, 1 in test, 2 segments dropped, 0 faulty videos; "
        f"{out / 'prepare.csv'} lists all segments\n"
        "dropped 1 segment, 5 frames, of ann: no detection; --crop none keeps whole frames\n"
        "dropped 1 segment, 3 frames, of ann: 3 frames, fewer than 8; a lower --min-frames keeps it\n"
    )
    assert list_clips(out) == ["test/ann#000035-000044", "train/ann#000000-000019", "train/ann#000020-000029"]
    segments = [(row["clip"], row["first"], row["frames"], row["end"], row["reason"]) for row in _rows(out)]
    assert segments == [
        ("ann#000000-000019", "0", "20", "max_frames reached", ""),
        ("ann#000020-000029", "20", "10", "lost", ""),
        ("", "30", "5", "no detection", "no detection"),
        ("ann#000035-000044", "35", "10", "cut", ""),
        ("", "45", "3", "end of video", "3 frames, fewer than 8"),
    ]
    # 40 to 72 in the first frame, 48 or 52 to 84 in the 20th: the union is 40 or 44 wide, times 1.5.
    row = _rows(out)[0]
    side, left, top = (int(row[name]) for name in ("side", "left", "top"))
    lefts = [round((40 + 0.5 * number) / 4) * 4 for number in range(20)]
    union = max(lefts) + 32 - min(lefts)
    assert side == round(1.5 * union)
    assert left == round((min(lefts) + max(lefts) + 32 - side) / 2)
    assert top == round(32 + 16 - side / 2)
    clip = list(video.open_video(out / "train" / "ann#000000-000019"))
    assert len(clip) == 20
    for frame, source in zip(clip, moving, strict=False):
        expected = video.resize(source[top : top + side, left : left + side], (32, 32))
        np.testing.assert_array_equal(frame, expected)


@pytest.mark.parametrize("kind", ["mp4", "png"])
def test_prepare_output_is_readable_for_training(people, tmp_path, kind):
    out = tmp_path / "set"
    assert prepare(out, people, "--format", kind) == 0
    train, test = (frames.load(out, split, (32, 32)) for split in ("train", "test"))
    assert len(train) == 3
    assert len(test) == 1
    names = {clip.identity for clip in (*train.clips, *test.clips)}
    assert names == {"ann", "bob", "cid", "dan"}
    assert all(len(clip) == 20 for clip in (*train.clips, *test.clips))
    # The object, half as large as the crop and a bit, stands in the middle.
    assert train.clips[0].frame(0)[14:18, 14:18].min() > 235


def test_prepare_splits_at_scene_cut_of_a_static_object(tmp_path):
    write_parts(tmp_path / "in" / "cuts.mp4", *(draw_frames(count, scene) for scene, count in enumerate([12, 9, 15])))
    assert prepare(tmp_path / "set", tmp_path / "in", "--test-share", "0") == 0
    assert [(row["first"], row["frames"], row["end"]) for row in _rows(tmp_path / "set")] == [
        ("0", "12", "cut"),
        ("12", "9", "cut"),
        ("21", "15", "end of video"),
    ]
    assert prepare(tmp_path / "whole", tmp_path / "in", "--test-share", "0", "--no-cuts") == 0
    assert list_clips(tmp_path / "whole") == ["train/cuts#000000-000035"]


def test_prepare_reports_faulty_video_and_continues(people, tmp_path, capsys):
    whole = write_parts(tmp_path / "whole.mp4", draw_frames(50))
    (people / "eve.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (people / "fay.mp4").write_bytes(os.urandom(4096))
    out = tmp_path / "set"
    assert prepare(out, people) == 0
    printed = capsys.readouterr()
    assert "3 clips in train, 1 in test, 0 segments dropped, 2 faulty videos" in printed.out
    assert f"fomm: warning: {people / 'eve.mp4'} has a video track, but no frame can be decoded" in printed.err
    assert f"fomm: warning: {people / 'fay.mp4'} is not a video that ffmpeg can read" in printed.err
    faults = {row["video"]: row["reason"] for row in _rows(out) if row["reason"]}
    assert set(faults) == {str(people / "eve.mp4"), str(people / "fay.mp4")}


def test_prepare_uses_truncated_video_and_warns(tmp_path, capsys):
    noise = np.random.default_rng(0)
    grainy = (
        np.where(frame == 255, frame, frame + noise.integers(0, 30, frame.shape, np.uint8)) for frame in draw_frames(60)
    )
    whole = write_parts(tmp_path / "whole.mp4", grainy)
    subprocess.run([sys.executable, "-c", REMUX, whole, tmp_path / "cut.mkv"], check=True)
    data = (tmp_path / "cut.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) * 2 // 3])
    out = tmp_path / "set"
    assert prepare(out, tmp_path / "cut.mkv", "--test-share", "0") == 0
    assert "is damaged or truncated" in capsys.readouterr().err
    (kept, fault) = _rows(out)
    assert 8 <= int(kept["frames"]) < 60
    assert "is damaged or truncated" in fault["reason"]


REMUX = """
import sys, av
with av.open(sys.argv[1]) as source, av.open(sys.argv[2], "w") as target:
    stream = target.add_stream_from_template(source.streams.video[0])
    for packet in source.demux(source.streams.video[0]):
        if packet.dts is not None:
            packet.stream = stream
            target.mux(packet)
"""


def test_prepare_drops_small_short_and_leaving_objects_with_reason(tmp_path, capsys):
    root = tmp_path / "in"
    write_parts(root / "small", draw_frames(10, side=16))
    write_parts(root / "short", draw_frames(7))
    write_parts(root / "edge", draw_frames(10, left=0, top=0))
    write_parts(root / "none", [draw_scene(0)] * 10)
    assert prepare(tmp_path / "set", root, "--test-share", "0", "--edge-margin", "0.1") == 2
    assert "no clip of 4 videos was kept; the most frequent reason: " in capsys.readouterr().err
    assert {os.path.basename(row["video"]): row["reason"] for row in _rows(tmp_path / "set")} == {
        "small": "the crop's side is 24 pixels, less than 32",
        "short": "7 frames, fewer than 8",
        "edge": "too near the frame's edge",
        "none": "no detection",
    }


def test_prepare_whole_frames_repeats_edge_without_detector(tmp_path):
    frame = np.zeros([64, 32, 3], np.uint8) + 255
    frame[8:56, 8:24] = 90
    write_parts(tmp_path / "in" / "dress", [frame] * 3)
    arguments = ["--preset", "fashion", "--size", "64", "--format", "png", "--test-share", "0", "--min-frames", "2"]
    assert cli.main(["prepare", str(tmp_path / "in"), "--out", str(tmp_path / "set"), *arguments]) == 0
    clip = list(video.open_video(tmp_path / "set" / "train" / "dress#000000-000002"))
    expected = np.pad(frame, [(0, 0), (16, 16), (0, 0)], constant_values=255)
    np.testing.assert_array_equal(clip[0], expected)


@pytest.mark.parametrize(
    ("preset", "suffix", "size"), [("bair", "", (64, 64)), ("mgif", ".gif", (48, 80)), ("fashion", ".mp4", (80, 48))]
)
def test_prepare_presets_of_published_clips_keep_them_whole(tmp_path, preset, suffix, size):
    shown = np.full([*size, 3], 200, np.uint8)
    shown[8:40, 8:40] = 20
    for split, count in (("train", 30), ("test", 4)):
        write_parts(
            tmp_path / "in" / split / f"0{suffix}", [shown[:, ::-1] if number % 2 else shown for number in range(count)]
        )
    out = tmp_path / "set"
    assert cli.main(["prepare", str(tmp_path / "in"), "--out", str(out), "--preset", preset, "--size", "80"]) == 0
    ending = ".mp4" if preset == "fashion" else ""
    assert list_clips(out) == [f"test/0#000000-000003{ending}", f"train/0#000000-000029{ending}"]
    frame = next(iter(video.open_video(out / list_clips(out)[0]))).astype(int)
    assert frame.shape == (80, 80, 3)
    dark = (frame.max(axis=-1) < 110).sum() / 80**2
    # All of it is shown, and what is filled up is of the edge's color.
    assert dark == pytest.approx(32**2 / max(size) ** 2, rel=0.1)


def test_prepare_fps_resamples_and_keeps_splits(tmp_path):
    write_parts(tmp_path / "in" / "train" / "ann.mp4", draw_frames(40, step=0.2))
    write_parts(tmp_path / "in" / "test" / "ann#2.mp4", draw_frames(20))
    assert prepare(tmp_path / "set", tmp_path / "in", "--fps", "12.5", "--format", "mp4") == 0
    assert list_clips(tmp_path / "set") == ["test/ann#2#000000-000009.mp4", "train/ann#000000-000019.mp4"]
    assert video.open_video(tmp_path / "set" / "train" / "ann#000000-000019.mp4").fps == 12.5

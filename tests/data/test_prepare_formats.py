"""`fomm prepare` on unusual inputs: HDR, animated images, a frame that cannot be read, files of other kinds."""

import csv

import drawn_videos
import numpy as np
import pytest
from PIL import Image

from fomm_tf import cli, video

pytestmark = pytest.mark.slow

_ARGUMENTS = [
    *("--crop", "none", "--size", "32", "--min-side", "1", "--min-frames", "2", "--no-cuts", "--test-share", "0"),
    *("--format", "png"),
]


def test_prepare_reads_unusual_clips_and_names_what_it_passes_over(tmp_path, capsys):
    data = tmp_path / "data"
    (data / "burst").mkdir(parents=True)
    tags = {"colorspace": 9, "color_primaries": 9, "color_trc": 16, "color_range": 1}
    hdr = [drawn_videos.hdr_frame((40, 180, 60), "PQ")] * 3
    drawn_videos.write(data / "hdr.mkv", hdr, "ffv1", "yuv420p10le", tags)
    images = [Image.new("RGB", (64, 32), (value, 0, 0)) for value in (0, 100, 200)]
    images[0].save(data / "wide.webp", save_all=True, append_images=images[1:], duration=40, lossless=True)
    for index in range(5):
        Image.new("RGB", (32, 32), (40 * index,) * 3).save(data / "burst" / f"{index}.jpg")
    (data / "burst" / "3.jpg").write_bytes((data / "burst" / "3.jpg").read_bytes()[:100])
    (data / "notes.txt").touch()

    assert cli.main(["prepare", str(data), "--out", str(tmp_path / "out"), *_ARGUMENTS]) == 0
    captured = capsys.readouterr()
    for line in (
        "hdr.mkv is HDR (PQ); it is tone-mapped to SDR.",
        "left out 1 file (3.jpg) that cannot be read",
        "passed over 1 file (notes.txt)",
    ):
        assert captured.err.count(line) == 1
    assert "3 clips in train" in captured.out
    assert "1 faulty videos" in captured.out  # HDR is none
    clips = {path.name.split("#")[0]: list(video.open_video(path)) for path in (tmp_path / "out" / "train").iterdir()}
    assert {name: len(frames) for name, frames in clips.items()} == {"burst": 4, "hdr": 3, "wide": 3}
    assert np.abs(clips["hdr"][0].astype(int) - (40, 180, 60)).max() <= 8
    assert [int(frame[0, 0, 0]) for frame in clips["wide"]] == [0, 100, 200]
    with (tmp_path / "out" / "prepare.csv").open(newline="") as file:
        remarks = [row["end"] for row in csv.DictReader(file) if "HDR" in row["end"]]
    assert len(remarks) == 1

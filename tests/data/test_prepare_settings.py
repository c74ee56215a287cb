"""Settings of `fomm prepare` that fit a model, or a few videos."""

import numpy as np
import pytest

from fomm_tf import cli, detectors, fetch, video
from fomm_tf.data.prepare import run, settings


def test_fit_recipe_takes_size_and_length_of_the_model():
    chosen = settings.choose(None, settings.fit_recipe((128, 128)) | {"min_frames": 4})
    assert (chosen.size, chosen.min_crop_side, chosen.min_frames, chosen.crop) == (128, 64, 4, "face")


@pytest.mark.parametrize(
    ("videos", "expected"),
    [
        ([(f"{i}", 300, 1080) for i in range(10)], (16, 300)),  # a clip of each video
        ([("one", 300, 1080)], (16, 50)),  # six clips of the only video
        ([("a", 20, 1080), ("b", None, 1080)], (10, 10)),
        ([("a", 300, 1080), ("b", 300, 1080), ("c", 5, 1080)], (16, 150)),
        ([("a", 3, 1080)], (2, 2)),
        ([("a", None, 1080)], (16, 1024)),  # of unknown length
    ],
)
def test_fit_videos_keeps_short_clips_and_splits_few_videos(videos, expected):
    chosen = settings.fit_videos([settings.Facts(*facts) for facts in videos], (128, 128), "face")
    assert (chosen.min_frames, chosen.max_frames) == expected
    assert (chosen.size, chosen.min_crop_side, chosen.test_share) == (128, 64, 0.0)


@pytest.mark.parametrize(
    ("names", "expected"),
    [("a", ("time", 0.26, 150)), ("aaaaaa", ("time", 0.26, 225)), ("ab", ("identity", 0.2, 300))],
)
def test_fit_videos_holds_out_the_last_part_or_whole_videos(names, expected):
    facts = [settings.Facts(name, 900, 480) for name in names]
    chosen = settings.fit_videos(facts, (128, 128), "face", hold_out=True)
    assert (chosen.split, chosen.test_share, chosen.max_frames) == expected


def test_fit_videos_enlarges_whole_frames_of_small_videos():
    facts = [settings.Facts("a", 100, 48), settings.Facts("b", 100, 480)]
    assert settings.fit_videos(facts, (128, 128), "none").min_crop_side == 48


def test_survey_reads_headers_and_looks_for_faces_in_first_frames(tmp_path, monkeypatch):
    for name, value in (("face", 255), ("none", 0)):
        with video.write_video(tmp_path / f"{name}.mp4", 25) as writer:
            for _ in range(5):
                writer.write(np.full([40, 48, 3], value, np.uint8))
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 100)

    def detect(frames):
        boxes = np.zeros([int(frames[0].mean() > 128), 4])
        return [detectors.Boxes(np.ones(len(boxes)), boxes, None)]

    monkeypatch.setattr(detectors, "load_boxes", lambda name: detect)
    facts = run.survey([tmp_path], tmp_path / "out", find_faces=True)
    assert facts == [settings.Facts("face", 5, 40, True), settings.Facts("none", 5, 40, False)]
    assert not any(fact.has_face for fact in run.survey([tmp_path], tmp_path / "out", find_faces=False))


@pytest.fixture
def prepared(monkeypatch):
    """What `fomm prepare` would prepare: videos, directory and settings."""
    calls = []
    monkeypatch.setattr(run, "prepare", lambda *arguments: calls.append(arguments) or "1 clip")
    return calls


def test_prepare_for_a_recipe_takes_its_size_unless_another_is_given(prepared, tmp_path):
    for options, size in (([], 64), (["--size", "48"], 48)):
        line = ["prepare", str(tmp_path), "--crop", "none", "--out", str(tmp_path / "set"), "--for", "tiny", *options]
        assert cli.main(line) == 0
        chosen = prepared.pop()[2]
        assert (chosen.size, chosen.min_crop_side, chosen.min_frames) == (size, 32, 16)


def test_prepare_fetches_the_videos_of_a_preset(prepared, tmp_path, monkeypatch):
    fetched = []
    monkeypatch.setattr(fetch, "fetch", lambda name, report: fetched.append(name) or {"a.mp4": tmp_path / "a.mp4"})
    assert cli.main(["prepare", "--preset", "faces", "--out", str(tmp_path / "set")]) == 0
    assert fetched == ["detectors", "faces"] and prepared[0][0] == [tmp_path / "a.mp4"]

"""Limits of uploaded files, and the options of the page."""

import contextlib
import dataclasses

import disc_engine
import pytest

from fomm_tf import errors, video
from fomm_tf.app import limits, options


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return disc_engine.write_files(tmp_path_factory.mktemp("files"), 50)


@pytest.mark.parametrize(
    ("bounds", "chosen", "match"),
    [
        ({"video_mib": 0}, {}, "expected at most 0 MiB"),
        ({"megapixels": 0}, {}, "frames of 64 x 64; expected at most 0 million pixels"),
        ({"seconds": 1}, {}, r"clip.mp4: 2.0 s would be animated; expected at most 1 s: give a shorter `duration`"),
        ({"seconds": 1}, {"start": "0.5"}, "1.5 s would be animated"),
        ({"seconds": 1}, {"duration": "1.8"}, "1.8 s would be animated"),
    ],
)
def test_check_pair_refuses_what_exceeds_a_limit(files, bounds, chosen, match):
    with pytest.raises(errors.UserError, match=match):
        limits.check_pair(limits.Limits(**bounds), *files, chosen)


@pytest.mark.parametrize("chosen", [{"duration": "1"}, {"start": "1.5"}, {"duration": "abc"}])
def test_check_pair_accepts_a_part_of_a_long_video(files, chosen):
    limits.check_pair(limits.Limits(seconds=2 if chosen == {"duration": "abc"} else 1), *files, chosen)


def test_check_pair_reports_a_file_that_is_no_video(files, tmp_path):
    (tmp_path / "bad.mp4").write_text("text")
    with pytest.raises(errors.UserError, match=r"bad\.mp4"):
        limits.check_pair(limits.Limits(), files[0], tmp_path / "bad.mp4", {})


def test_options_pass_on_what_differs_from_the_defaults():
    values = [option.default for option in options.ALL]
    assert options.read_options(values) == {}
    names = [option.name for option in options.ALL]
    for name, value in (("mode", "absolute"), ("smooth", 1.5), ("audio", False), ("paste-back", True), ("start", 2)):
        values[names.index(name)] = value
    expected = {"mode": "absolute", "smooth": "1.5", "audio": "no", "paste-back": "yes", "start": "2"}
    assert options.read_options(values) == expected


def test_errors_name_the_labels_of_the_page():
    line = "`face` all needs `paste_back`; --start 3 is late; `unknown` stays."
    assert options.name_labels(line) == "Face all needs Paste back; Start 3 is late; `unknown` stays."


@pytest.mark.parametrize(("chosen", "is_refused"), [({}, False), ({"duration": "3"}, True), ({"duration": "1"}, False)])
def test_check_pair_of_a_video_of_unknown_length_limits_its_duration(files, monkeypatch, chosen, is_refused):
    """Without a duration, the job counts its frames."""
    endless = dataclasses.replace(video.open_video(files[1]), frame_count=None)
    monkeypatch.setattr(video, "open_video", lambda path: endless)
    expected = pytest.raises(errors.UserError, match=r"3\.0 s would be animated; expected at most 2 s")
    with expected if is_refused else contextlib.nullcontext():
        limits.check_pair(limits.Limits(seconds=2), *files, chosen)

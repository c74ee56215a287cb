"""`--runner` and the options of Beam: what is passed on, and what is refused in one line."""

import sys

import pytest
from animate_lines import assert_user_error

from fomm_tf import cli

PREPARE = ["prepare", "--crop", "none", "--out"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--runner", "NoRunner"], ["--runner NoRunner", "DirectRunner"]),
        (["--runner", "DirectRunner", "--direct_num_workers=many"], ["direct_num_workers", "many", "--name=value"]),
        (["--runner", "DirectRunner", "--no_such_option=1"], ["no_such_option", "DirectRunner"]),
        (["--runner", "DirectRunner", "--min-framez=1"], ["--min-framez=1", "--name=value"]),
        (["--runner", "DirectRunner", "--jobs", "2"], ["--jobs", "--runner", "--direct_num_workers"]),
        (["--direct_num_workers=2"], ["unrecognized", "--direct_num_workers=2"]),
    ],
)
def test_prepare_refuses_bad_options_in_one_line(arguments, words, capsys, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"")
    assert_user_error(capsys, [*PREPARE, str(tmp_path / "set"), str(tmp_path / "a.mp4"), *arguments], *words)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    "line",
    [
        "prepare --crop none --out {0}/set {0}/a.mp4",
        "animate-set --pairs {0}/pairs.csv --data {0} --out {0}/set",
        "evaluate --data {0} --out {0}/set",
    ],
)
def test_runner_without_the_extra_says_what_to_install(line, capsys, tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "pairs.csv").write_text("source,driving\na.png,a.mp4\n")
    for name in [name for name in sys.modules if name.startswith("fomm_tf.scale")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    argv = [*line.format(tmp_path).split(), "--runner", "DirectRunner"]
    assert_user_error(capsys, argv, "apache_beam", 'pip install "fomm-tf[beam]"')


def test_options_of_beam_may_come_anywhere():
    line = "prepare a.mp4 --direct_num_workers=2 --runner DirectRunner b.mp4 --out set --streaming"
    arguments = cli.parse(line.split())
    assert arguments.videos == ["a.mp4", "b.mp4"]
    assert arguments.pipeline_options == ["--direct_num_workers=2", "--streaming"]

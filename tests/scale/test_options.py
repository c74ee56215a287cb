"""`--runner` and the options of Beam: what is passed on, and what is refused in one line."""

import sys
import types

import drawn_heads
import numpy as np
import object_store  # noqa: F401  Beam finds its subclasses of `FileSystem`
import pytest
from animate_lines import assert_user_error

from fomm_tf import cli, errors, video
from fomm_tf.cli import animate, scaling

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


def test_animate_set_times_engines_on_the_first_source_of_a_store(tmp_path, monkeypatch, capsys, direct):
    """The timings are made here, so the source is fetched first."""
    (tmp_path / "bucket").mkdir()
    video.write_image(tmp_path / "bucket" / "a.png", drawn_heads.draw_image(32))
    (tmp_path / "pairs.csv").write_text("source,driving\na.png,b.mp4\n")
    monkeypatch.setenv("STORE", str(tmp_path))

    def choose_engine(arguments, folder, source, report):
        np.testing.assert_array_equal(video.read_image(source), drawn_heads.draw_image(32))
        raise errors.UserError("timed")

    monkeypatch.setattr(animate, "choose_engine", choose_engine)
    line = f"animate-set --pairs {tmp_path}/pairs.csv --data store://bucket --out store://out --engine auto"
    assert_user_error(capsys, [*line.split(), *direct], "timed")


@pytest.mark.parametrize("option", ["data", "out"])
def test_evaluate_on_beam_needs_directories_that_workers_share(option, capsys, tmp_path, direct):
    line = {"--data": tmp_path, "--out": tmp_path / "out"} | {f"--{option}": "store://bucket"}
    arguments = ["evaluate", *(str(part) for pair in line.items() for part in pair), *direct]
    assert_user_error(capsys, arguments, f"--{option} must be a path that all workers share; got store://bucket")


@pytest.mark.parametrize(
    ("counters", "letters", "quiet", "lines"),
    [
        ({}, [], False, []),
        ({"read": 2}, [], True, []),
        ({"read": 2}, [], False, ["counters: "]),
        ({"read": 2}, [("a.mp4", "damaged")], False, ["counters: ", "dead letters: "]),
    ],
)
def test_report_prints_counters_and_the_table_of_failures(counters, letters, quiet, lines, tmp_path, capsys):
    executor = types.SimpleNamespace(counters=counters, out=str(tmp_path))
    scaling.report(executor, letters, quiet)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(lines) and all(map(str.startswith, printed, lines))
    assert (tmp_path / "dead-letters.csv").is_file() is bool(letters)

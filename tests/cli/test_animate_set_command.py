"""`fomm animate-set`: pairs that fail, and bad lists of pairs."""

import pytest
from animate_lines import assert_user_error, folder_of

from fomm_tf import cli, video
from fomm_tf.cli import animate

# Many pairs.


def test_animate_set_continues_after_failed_pairs(run_folder, inputs, capsys, tmp_path):
    (tmp_path / "pairs.csv").write_text("source,driving\nsource.png,driving.mp4\nno.png,driving.mp4\n")
    argv = ["animate-set", "--run", run_folder, "--pairs", tmp_path / "pairs.csv", "--data", inputs]
    argv += ["--out", tmp_path / "out", "--duration", "0.2"]
    capsys.readouterr()
    assert cli.main([str(part) for part in argv]) == 2
    assert "1 of 2 pairs" in capsys.readouterr().err
    assert folder_of(tmp_path / "out") == ["source--driving.mp4"]
    assert len(list(video.open_video(tmp_path / "out" / "source--driving.mp4"))) == 5


@pytest.mark.parametrize(
    ("table", "word"),
    [("a,b\n1,2\n", "got a, b"), ("source,driving\n", "at least one row"), ("source,driving\na,b\na,b\n", "two pairs")],
)
def test_animate_set_rejects_bad_list_of_pairs(run_folder, table, word, capsys, tmp_path):
    (tmp_path / "pairs.csv").write_text(table)
    argv = [
        "animate-set",
        "--run",
        run_folder,
        "--pairs",
        tmp_path / "pairs.csv",
        "--data",
        tmp_path,
        "--out",
        tmp_path,
    ]
    assert_user_error(capsys, [str(part) for part in argv], word)


def test_animate_set_rejects_data_that_is_no_directory(capsys, tmp_path):
    (tmp_path / "pairs.csv").write_text("source,driving\na.png,b.mp4\n")
    line = ["animate-set", "--pairs", tmp_path / "pairs.csv", "--data", tmp_path / "missing", "--out", tmp_path / "out"]
    assert_user_error(capsys, [*map(str, line)], f"--data {tmp_path}/missing is not a directory", "paths are relative")
    assert folder_of(tmp_path) == ["pairs.csv"]


@pytest.mark.parametrize("quiet", [False, True])
def test_animate_set_reports_each_pair_and_succeeds(quiet, capsys, tmp_path, monkeypatch):
    (tmp_path / "pairs.csv").write_text("source,driving\na.png,b.mp4\nc.png,b.mp4\n")
    monkeypatch.setattr(animate, "load", lambda *_: None)
    monkeypatch.setattr(animate, "animate_pair", lambda *_: 7)
    line = ["animate-set", "--pairs", tmp_path / "pairs.csv", "--data", tmp_path, "--out", tmp_path / "out"]
    assert cli.main([*map(str, line), *["--quiet"] * quiet]) == 0
    expected = [f"{number}/2 {tmp_path}/out/{name}--b.mp4: 7 frames" for number, name in ((1, "a"), (2, "c"))]
    assert capsys.readouterr().out.splitlines() == ([] if quiet else expected)

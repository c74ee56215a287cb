"""`fomm animate-set --runner`: the same bytes as on this machine, counters, dead letters."""

import drawn_heads
import object_store  # noqa: F401  Beam finds its subclasses of `FileSystem`
import pytest
from square_videos import read_contents

from fomm_tf import cli

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Two pairs that can be animated, one whose driving video is damaged and one whose source is missing."""
    folder = tmp_path_factory.mktemp("pairs")
    drawn_heads.write_inputs(folder, 64, 6, "driving.mp4")
    drawn_heads.write_inputs(folder, 48, 4, "other.mp4")
    (folder / "bad.mp4").write_bytes((folder / "driving.mp4").read_bytes()[:600])
    rows = ("source.png,driving.mp4", "source.png,bad.mp4", "none.png,driving.mp4", "source.png,other.mp4")
    (folder / "pairs.csv").write_text("\n".join(["source,driving", *rows, ""]))
    return folder


@pytest.fixture
def animate(pairs, small_files, tmp_path, capsys):
    """Runs the command; gives its exit code, what it printed, and the directory that it wrote."""

    def run(name, *arguments):
        out = tmp_path / name
        line = ["--run", small_files("run"), "--pairs", pairs / "pairs.csv", "--data", pairs, "--out", out]
        capsys.readouterr()
        code = cli.main([*map(str, ["animate-set", *line, "--crop", "off"]), *arguments])
        return code, capsys.readouterr(), out

    return run


def test_animate_set_with_two_workers_equals_the_local_run(animate, two_workers, dead_letters):
    code, printed, out = animate("local")
    assert code == 2
    expected = read_contents(out)
    assert set(expected) == {"source--driving.mp4", "source--other.mp4"}
    code, on_beam, out = animate("beam", *two_workers)
    assert code == 2
    assert on_beam.err.splitlines()[-1] == printed.err.splitlines()[-1]
    contents = read_contents(out)
    assert contents.pop("dead-letters.csv")
    assert contents == expected
    assert set(dead_letters(out)) == {"source.png by bad.mp4", "none.png by driving.mp4"}
    for count in ("read 4", "pairs kept 2", "frames kept 10", "dropped 2", "dropped: UnreadableError 2"):
        assert count in on_beam.out


def test_animate_set_from_and_to_an_object_store(pairs, small_files, animate, tmp_path, monkeypatch, direct, capsys):
    monkeypatch.setenv("STORE", str(tmp_path))
    (tmp_path / "bucket").symlink_to(pairs)
    _, _, out = animate("local", "--quiet")
    line = ["--run", small_files("run"), "--pairs", pairs / "pairs.csv", "--data", "store://bucket"]
    line += ["--out", "store://results", "--crop", "off", *direct]
    assert cli.main(list(map(str, ["animate-set", *line]))) == 2
    contents = read_contents(tmp_path / "results")
    assert contents.pop("dead-letters.csv")
    assert contents == read_contents(out)
    assert "none.png by driving.mp4: store://bucket/none.png does not exist" in capsys.readouterr().err

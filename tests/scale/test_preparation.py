"""`fomm prepare --runner`: the same bytes as on this machine, counters, dead letters."""

import os

import pytest
from square_videos import draw_frames, prepare, read_contents, write_parts


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Four people with a video each, one of which is too short, and two faulty files."""
    root = tmp_path_factory.mktemp("people")
    for number, (name, count) in enumerate({"ann": 20, "bob": 20, "cid": 5, "dan": 20}.items()):
        write_parts(root / f"{name}.mp4", draw_frames(count, scene=number, left=24 + 16 * number))
    (root / "eve.mp4").write_bytes((root / "ann.mp4").read_bytes()[:700])
    (root / "fay.mp4").write_bytes(bytes(4096))
    return root


@pytest.fixture(scope="module")
def local(people, tmp_path_factory):
    out = tmp_path_factory.mktemp("local") / "set"
    assert prepare(out, people, "--jobs", "1", "--format", "mp4") == 0
    return read_contents(out)


@pytest.mark.slow
def test_prepare_with_two_workers_equals_the_local_run(people, local, tmp_path, two_workers):
    out = tmp_path / "set"
    assert prepare(out, people, "--format", "mp4", *two_workers) == 0
    contents = read_contents(out)
    assert contents.pop("dead-letters.csv")
    assert contents == local


def test_prepare_counts_and_lists_dead_letters(people, local, tmp_path, direct, dead_letters, capsys):
    out = tmp_path / "set"
    assert prepare(out, people, "--format", "mp4", *direct) == 0
    printed = capsys.readouterr()
    for count in (
        "read 6",
        "clips kept 3",
        "segments dropped 1",
        "segments dropped: fewer than 8 1",
        "videos dropped 2",
    ):
        assert count in printed.out
    assert {os.path.basename(name) for name in dead_letters(out)} == {"eve.mp4", "fay.mp4"}
    assert printed.err.count("fomm: warning:") == 2
    contents = read_contents(out)
    letters = contents.pop("dead-letters.csv")
    assert contents == local
    assert not list(out.rglob(".fomm-*"))
    # Nothing is left to do, and nothing changes.
    assert prepare(out, people, "--format", "mp4", *direct) == 0
    assert "counters" not in capsys.readouterr().out
    assert read_contents(out) == local | {"dead-letters.csv": letters}

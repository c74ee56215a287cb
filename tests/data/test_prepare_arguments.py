"""`fomm prepare`: arguments, videos and directories that it rejects."""

import pytest
from square_videos import list_clips, prepare, read_contents

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--preset", "portrait"],
            "--preset must be one of vox, nemo, taichi, bair, mgif, fashion, faces, bodies; got 'portrait'",
        ),
        (["--size", "8"], "--size must be at least 16; got 8"),
        (["--size", "33", "--format", "mp4"], "--size must be even for mp4; got 33"),
        (["--size", "x"], "argument --size: invalid int value: 'x'"),
        (["--margin", "0.5"], "--margin must be at least 1; got 0.5"),
        (["--margin", "nan"], "--margin must be at least 1; got nan"),
        (["--edge-margin", "0.5"], "--edge-margin must be at least -1 and below 0.5; got 0.5"),
        (["--min-side", "0"], "--min-side must be at least 1; got 0"),
        (["--min-frames", "1"], "--min-frames must be at least 2, for a training pair; got 1"),
        (["--max-frames", "7"], "--max-frames must be at least --min-frames, 8; got 7"),
        (["--min-iou", "1"], "--min-iou must be at least 0 and below 1; got 1.0"),
        (["--fps", "0"], "--fps must be above 0 and at most 1000; got 0.0"),
        (["--test-share", "1"], "--test-share must be at least 0 and below 1; got 1.0"),
        (["--test-identities", "zoe"], "--test-identities must be some of ann, bob, cid, dan; got zoe"),
        (["--identity", "("], "--identity must be a regular expression; got '('"),
        (["--identity", "a"], "a regular expression with a group, (...), for the identity; got"),
        (["--jobs", "0"], "--jobs must be at least 1; got 0"),
        (["--crop", "hand"], "There is no detector 'hand' of this kind"),
        (["--crop", "finders:nothing"], "finders has no callable 'nothing'"),
        (["--crop", "finders:find_invalid"], "The detector finders:find_invalid must return"),
        (["--crop", "finders:die", "--jobs", "1"], "ann: out of memory, killed, or a file that crashes the decoder"),
        (["--format", "gif"], "argument --format: invalid choice: 'gif'"),
    ],
)
def test_prepare_rejects_invalid_arguments_in_one_line(people, tmp_path, capsys, arguments, message):
    assert prepare(tmp_path / "set", people, *arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("fomm: ")
    assert message in error[-1]
    assert list_clips(tmp_path / "set") == []
    # Where nothing was done, other settings are welcome.
    assert not (tmp_path / "set" / "prepare.json").exists() or prepare(tmp_path / "set", people) == 0


def test_prepare_rejects_missing_videos_and_used_directories(people, tmp_path, capsys):
    def error_of(*arguments):
        assert prepare(*arguments) == 2
        return capsys.readouterr().err

    assert "no videos; give files or directories, or one of --preset faces and bodies" in error_of(tmp_path / "set")
    assert "nowhere does not exist" in error_of(tmp_path / "set", tmp_path / "nowhere")
    (tmp_path / "file").write_text("text")
    assert "is a file; give a directory" in error_of(tmp_path / "file", people)
    assert "cannot write to" in error_of(tmp_path / "file" / "below", people)
    assert "is a directory that contains the input" in error_of(tmp_path, people)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.txt").write_text("mine")
    assert "is not empty and was not made by fomm prepare" in error_of(tmp_path / "used", people)
    assert not (tmp_path / "set").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "people", "used"]
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["thesis.txt"]


def test_prepare_rejects_other_settings_in_same_directory(people, tmp_path, capsys):
    assert prepare(tmp_path / "set", people) == 0
    before = read_contents(tmp_path / "set")
    assert prepare(tmp_path / "set", people, "--margin", "2", "--fps", "10") == 2
    error = capsys.readouterr().err
    assert "(margin was 1.5 and is 2.0; fps was None and is 10.0); give the same, or another --out" in error
    assert read_contents(tmp_path / "set") == before


def test_prepare_warns_about_empty_split(people, tmp_path, capsys):
    assert prepare(tmp_path / "set", people, "--split", "time") == 0
    assert "has no test clip; training needs both splits: see --split and --test-share" in capsys.readouterr().err

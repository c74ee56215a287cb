"""`fomm shards`, and `fomm train` on what it writes."""

import pytest
from square_videos import draw_frames, write_parts

from fomm_tf import cli


@pytest.fixture
def out(tmp_path, capsys):
    for split, count in (("train", 3), ("test", 1)):
        for number in range(count):
            write_parts(tmp_path / "clips" / split / f"{number}", draw_frames(4, scene=number))
    line = ["shards", tmp_path / "clips", "--for", "tiny", "--out", tmp_path / "out", "--shards", "2"]
    assert cli.main([*map(str, line)]) == 0
    printed = capsys.readouterr().out
    assert "3 clips in 2 shards to train" in printed and "1 clips in 1 shards to test" in printed
    return tmp_path / "out"


def test_shards_command_writes_the_documented_files(out):
    names = ["test-00000", "train-00000", "train-00001"]
    expected = [f"{name}.{suffix}" for name in names for suffix in ("npz", "tar")]
    assert sorted(path.name for path in out.iterdir()) == sorted([*expected, "shards.json"])


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_train_names_damaged_shard_in_one_line(damage, out, tmp_path, capsys):
    shard = out / "train-00001.tar"
    if damage == "missing":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:1000])
    assert cli.main(["train", "tiny", f"data.root={out}", "--run", str(tmp_path / "run")]) == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith(f"fomm: {shard} ") and stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_shards_command_rejects_missing_directory_and_recipe(tmp_path, capsys):
    out = str(tmp_path / "out")
    assert cli.main(["shards", str(tmp_path / "absent"), "--for", "tiny", "--out", out]) == 2
    assert "absent is not a directory" in capsys.readouterr().err
    assert cli.main(["shards", str(tmp_path), "--for", "tiny", "--out", out, "--shards", "0"]) == 2
    assert "--shards must be at least 1; got 0" in capsys.readouterr().err

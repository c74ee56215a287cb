"""`python -m fomm_tf.data.puppets --transfers`: pairs with true animations."""

import csv

import numpy as np
import pytest

from fomm_tf import video
from fomm_tf.data import puppets
from fomm_tf.data.puppets import __main__ as command
from fomm_tf.data.puppets import dataset


def run(out, *extra):
    return command.main(["--out", str(out), "--transfers", "2", "--frames", "3", "--size", "32", *map(str, extra)])


def read(path):
    return np.stack(list(video.open_video(path)))


def test_write_transfers_draws_true_animations(tmp_path, capsys):
    out = tmp_path / "pairs"
    assert run(out, "--portraits") == 0
    assert capsys.readouterr().out.strip() == f"{out}: 2 pairs with their true animations, 3 frames of 32x32 each"
    assert sorted(path.name for path in out.iterdir()) == ["driving", "pairs.csv", "sources", "test"]
    with (out / "pairs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        identity, driving, poses = dataset.sample_transfer(number, 3, portraits=True)
        truth = [puppets.draw(identity, pose, (32, 32)) for pose in poses]
        np.testing.assert_array_equal(video.read_image(out / row["source"]), truth[0])
        np.testing.assert_array_equal(read(out / row["driving"]), [puppets.draw(driving, pose, 32) for pose in poses])
        np.testing.assert_array_equal(read(out / row["truth"]), truth)
    assert len(rows) == 2


def test_write_transfers_depends_on_the_seed(tmp_path):
    assert run(tmp_path / "zero") == 0 and run(tmp_path / "one", "--seed", 1) == 0
    first, second = (read(tmp_path / name / "test" / "00000") for name in ("zero", "one"))
    assert (first != second).any()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--transfers", "0"], "--transfers must be at least 1; got 0"),
        (["--transfers", "1000001"], "--transfers must be at most 1000000; got 1000001"),
        (["--frames", "1"], "--frames must be at least 2; got 1"),
        (["--size", "16"], "--size must be at least 32x32 for a puppet; got 16x16"),
    ],
)
def test_write_transfers_rejects_invalid_arguments(tmp_path, capsys, extra, message):
    assert run(tmp_path / "pairs", *extra) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "pairs").exists()


def test_write_transfers_rejects_non_empty_directory(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert run(tmp_path) == 2
    assert "is not empty" in capsys.readouterr().err

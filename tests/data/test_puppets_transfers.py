"""`python -m fomm_tf.data.puppets --transfers`: pairs whose true animation is known."""

import csv

import numpy as np
import pytest

from fomm_tf import video
from fomm_tf.data import puppets
from fomm_tf.data.puppets import command, transfers


def run(out, *extra):
    return command.main(["--out", str(out), "--transfers", "2", "--frames", "3", "--size", "32", *map(str, extra)])


def read(path):
    return np.stack(list(video.open_video(path)))


def test_a_pair_is_a_true_transfer_of_test_seeds(tmp_path, capsys):
    out = tmp_path / "pairs"
    assert run(out, "--portraits") == 0
    assert capsys.readouterr().out.strip() == f"{out}: 2 pairs with their true animations, 3 frames of 32x32 each"
    assert sorted(path.name for path in out.iterdir()) == ["driving", "pairs.csv", "sources", "test"]
    with (out / "pairs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        expected = puppets.draw_transfer(*transfers.cast(number, 3, portraits=True), (32, 32))
        np.testing.assert_array_equal(video.read_image(out / row["source"]), expected.source)
        np.testing.assert_array_equal(read(out / row["driving"]), expected.driving)
        np.testing.assert_array_equal(read(out / row["truth"]), expected.expected)
    assert len(rows) == 2


def test_another_seed_is_another_set(tmp_path):
    assert run(tmp_path / "zero") == 0 and run(tmp_path / "one", "--seed", 1) == 0
    first, second = (read(tmp_path / name / "test" / "00000") for name in ("zero", "one"))
    assert (first != second).any()


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--transfers", "0"], "--transfers must be at least 1; got 0"),
        (["--frames", "1"], "--frames must be at least 2; got 1"),
        (["--size", "16"], "--size must be at least 32x32 for a puppet; got 16x16"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(tmp_path, capsys, extra, words):
    assert run(tmp_path / "pairs", *extra) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "pairs").exists()


def test_a_folder_with_something_in_it_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert run(tmp_path) == 2
    assert "is not empty" in capsys.readouterr().err

"""Lists of pairs: their columns, their names."""

import pytest

from fomm_tf import errors
from fomm_tf.data import pairlist


def test_rows_are_read_and_other_columns_passed_over(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("driving,note,source\nclips/a.mp4,x,me.jpg\nb,,you.png\n")
    pairs = pairlist.read(path)
    assert pairs == [("me.jpg", "clips/a.mp4", ""), ("you.png", "b", "")]
    assert [pair.name for pair in pairs] == ["me--a", "you--b"]


def test_the_truth_is_read_where_there_is_one(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("source,driving,truth\na.png,b,c\nd.png,e,\n")
    assert [pair.truth for pair in pairlist.read(path)] == ["c", ""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns source and driving and a row below; it has nothing"),
        ("source,target\na,b\n", "it has source, target"),
        ("source,driving\n", "a row below"),
        ("source,driving\na/x.png,c.mp4\nb/x.png,c.mp4\n", "two pairs for x--c.mp4"),
    ],
)
def test_a_list_that_will_not_do_is_refused(tmp_path, text, message):
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(errors.UserError, match=message):
        pairlist.read(path)


def test_a_list_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(errors.UserError, match="Cannot read the pairs"):
        pairlist.read(tmp_path / "pairs.csv")

"""Lists of pairs: their columns, their names."""

import pytest

from fomm_tf import errors
from fomm_tf.data import pairlist


def test_read_ignores_other_columns(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("driving,note,source\nclips/a.mp4,x,me.jpg\nb,,you.png\n")
    pairs = pairlist.read(path)
    assert pairs == [("me.jpg", "clips/a.mp4", ""), ("you.png", "b", "")]
    assert [pair.name for pair in pairs] == ["me--a", "you--b"]


def test_read_includes_truth_if_present(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("source,driving,truth\na.png,b,c\nd.png,e,\n")
    assert [pair.truth for pair in pairlist.read(path)] == ["c", ""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns source and driving and at least one row; got nothing"),
        ("source,target\na,b\n", "got source, target"),
        ("source,driving\n", "at least one row"),
        ("source,driving\na/x.png,c.mp4\nb/x.png,c.mp4\n", "two pairs with the result x--c.mp4"),
    ],
)
def test_read_rejects_invalid_list(tmp_path, text, message):
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(errors.UserError, match=message):
        pairlist.read(path)


def test_read_rejects_missing_file(tmp_path):
    with pytest.raises(errors.UserError, match="cannot read the pairs"):
        pairlist.read(tmp_path / "pairs.csv")

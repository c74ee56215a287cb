"""Clips in directories of all layouts; lists of pairs to animate: columns, names, and errors."""

import pytest
from PIL import Image

from fomm_tf import errors
from fomm_tf.data import layout


def _write_images(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(root / name)


def _touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    ("images", "others", "clips", "passed_over"),
    [
        (["ann/0.png", "ann/1.png"], ["bob.mp4"], ["ann", "bob.mp4"], []),
        (["ann/cover.jpg"], ["ann/1.mp4", "ann/2.mp4"], ["ann/1.mp4", "ann/2.mp4"], ["cover.jpg"]),
        (["cover.jpg"], ["1.mp4"], ["1.mp4"], ["cover.jpg"]),
        (["IMG_1.jpg"], ["IMG_1.mov"], ["IMG_1.mov"], ["IMG_1.jpg"]),
        (["ann/cover.jpg", "ann/1/0.png", "ann/1/1.png"], [], ["ann/1"], ["cover.jpg"]),
        (["run/samples/0.png"], ["run/config.yaml", "a.mp4"], ["a.mp4"], ["run"]),
        ([], ["broken.png", "notes.txt", ".hidden.mp4"], ["broken.png"], ["notes.txt"]),
        ([], ["train/ann/deep/1.mp4"], ["train/ann/deep/1.mp4"], []),
    ],
)
def test_find_clips_tells_clips_from_other_files(tmp_path, images, others, clips, passed_over):
    _write_images(tmp_path, *images)
    _touch(tmp_path, *others)
    found = layout.find_clips(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in found.paths] == clips
    assert [path.name for path in found.passed_over] == passed_over


def test_find_clips_takes_animation_after_cover(tmp_path):
    _write_images(tmp_path, "ann/a-cover.jpg")
    blue = Image.new("RGB", (8, 6), "blue")
    Image.new("RGB", (8, 6)).save(tmp_path / "ann" / "b.webp", save_all=True, append_images=[blue])
    found = layout.find_clips(tmp_path)
    assert ([path.name for path in found.paths], [path.name for path in found.passed_over]) == (
        ["b.webp"],
        ["a-cover.jpg"],
    )


def test_find_clips_follows_links_but_no_loops(tmp_path):
    _touch(tmp_path, "data/ann/1.mp4", "other/2.mp4")
    (tmp_path / "data" / "bob").symlink_to(tmp_path / "other")
    (tmp_path / "data" / "ann" / "again").symlink_to("..")
    (tmp_path / "link").symlink_to("data")
    found = layout.find_clips(tmp_path / "link")
    assert [str(path.relative_to(tmp_path / "link")) for path in found.paths] == ["ann/1.mp4", "bob/2.mp4"]
    assert [found.identity(path) for path in found.paths] == ["ann", "bob"]
    assert [path.name for path in found.passed_over] == ["again"]


def test_find_clips_keeps_empty_and_excludes_output_directory(tmp_path):
    _touch(tmp_path, "out/1.mp4")
    (tmp_path / "empty").mkdir()
    assert [path.name for path in layout.find_clips(tmp_path, tmp_path / "out").paths] == ["empty"]


def test_find_clips_rejects_missing_directory(tmp_path):
    with pytest.raises(errors.UserError, match="missing cannot be read"):
        layout.find_clips(tmp_path / "missing")


def test_read_pairs_ignores_other_columns(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("driving,note,source\nclips/a.mp4,x,me.jpg\nb,,you.png\n")
    pairs = layout.read_pairs(path)
    assert pairs == [("me.jpg", "clips/a.mp4", ""), ("you.png", "b", "")]
    assert [pair.name for pair in pairs] == ["me--a", "you--b"]


def test_read_pairs_includes_truth_if_present(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("source,driving,truth\na.png,b,c\nd.png,e,\n")
    assert [pair.truth for pair in layout.read_pairs(path)] == ["c", ""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns source and driving and at least one row; got nothing"),
        ("source,target\na,b\n", "got source, target"),
        ("source,driving\n", "at least one row"),
        ("source,driving\na/x.png,c.mp4\nb/x.png,c.mp4\n", "two pairs with the result x--c.mp4"),
    ],
)
def test_read_pairs_rejects_invalid_list(tmp_path, text, message):
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(errors.UserError, match=message):
        layout.read_pairs(path)


def test_read_pairs_rejects_missing_file(tmp_path):
    with pytest.raises(errors.UserError, match="cannot read the pairs"):
        layout.read_pairs(tmp_path / "pairs.csv")

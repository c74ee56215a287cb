"""Which videos are found, what they are called, and whom they are for."""

import pytest

from fomm_tf import errors
from fomm_tf.data.prepare import settings, sources
from fomm_tf.data.prepare.settings import Settings


def _touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def _find(root, **given):
    return sources.find([root], Settings(**given), root / "out")


def test_names_tell_the_identity_and_are_unlike_each_other(tmp_path):
    _touch(tmp_path, "ann.mp4", "bob#1.mov", "cid/a.mp4", "cid/deep/b.webm", "dan/00001.png", "dan/00002.png")
    _touch(tmp_path, "notes.txt", ".hidden.mp4", "out/train/ann#1.mp4")
    found = {source.name: (source.identity, source.split) for source in _find(tmp_path)}
    assert found == {
        "ann": ("ann", None),
        "bob#1": ("bob", None),
        "cid#a": ("cid", None),
        "cid#deep#b": ("cid", None),
        "dan": ("dan", None),
    }


def test_train_and_test_below_the_folder_are_kept_apart_and_no_part_of_the_name(tmp_path):
    _touch(tmp_path, "train/ann#1.gif", "train/bob/x.mp4", "test/cid/00001.png", "test/stacked.png")
    found = {source.name: source.split for source in _find(tmp_path)}
    assert found == {"ann#1": "train", "bob#x": "train", "cid": "test", "stacked": "test"}


def test_a_folder_of_frames_may_be_named_itself(tmp_path):
    _touch(tmp_path, "ann/00001.png", "ann/00002.png")
    (source,) = _find(tmp_path / "ann")
    assert source == (tmp_path / "ann", "ann", None)


def test_a_pattern_finds_the_identity(tmp_path):
    _touch(tmp_path, "001_smile_2.mp4", "001_smile_1.mp4", "017_posed.mp4", "other.mp4", "a/002_x.mp4")
    found = _find(tmp_path, identity=settings.PRESETS["nemo"]["identity"])
    assert [(source.name, source.identity) for source in found] == [
        ("001#001_smile_1", "001"),
        ("001#001_smile_2", "001"),
        ("002#a#002_x", "002"),
        ("017#017_posed", "017"),
        ("other", "other"),
    ]


def test_a_file_may_be_named_whatever_its_suffix_and_twice(tmp_path):
    _touch(tmp_path, "loop.ffconcat")
    file = tmp_path / "loop.ffconcat"
    assert [source.name for source in sources.find([file, file], Settings(), tmp_path / "out")] == ["loop"]


@pytest.mark.parametrize(
    ("names", "given", "message"),
    [
        (["notes.txt"], {}, "holds no videos"),
        (["a.mp4", "a.mov"], {}, "would both be called 'a'; rename one"),
        (["a.mp4"], {"identity": "(.*)"}, None),
        (["deep/a.mp4"], {"identity": "(.*)"}, "it must find a name without / and #"),
    ],
)
def test_what_cannot_be_named_is_refused(tmp_path, names, given, message):
    _touch(tmp_path, *names)
    if message is None:
        assert [source.identity for source in _find(tmp_path, **given)] == ["a.mp4"]
        return
    with pytest.raises(errors.UserError, match=message.replace("(", r"\(")):
        _find(tmp_path, **given)


def test_some_identities_are_for_testing_the_same_each_time_and_as_many_as_asked_for(tmp_path):
    _touch(tmp_path, *(f"{name}/{clip}.mp4" for name in "abcdefghij" for clip in range(3)))
    found = _find(tmp_path)
    chosen = sources.choose_test(found, Settings(test_share=0.3))
    assert len(chosen) == 3
    assert chosen == sources.choose_test(found[::-1], Settings(test_share=0.3))
    assert len(sources.choose_test(found, Settings(test_share=0.01))) == 1
    assert sources.choose_test(found, Settings(test_share=0.0)) == []
    assert sources.choose_test(found, Settings(test_identities=("b", "a"))) == ["a", "b"]
    assert sources.choose_test(found, Settings(split="time")) == []


def test_a_set_that_cannot_be_divided_is_refused(tmp_path):
    _touch(tmp_path, "ann/a.mp4", "ann/b.mp4")
    found = _find(tmp_path)
    with pytest.raises(errors.UserError, match=r"show one identity, 'ann'.*give --split time"):
        sources.choose_test(found, Settings())
    with pytest.raises(errors.UserError, match="no video shows bob, but ann"):
        sources.choose_test(found, Settings(test_identities=("bob",)))
    _touch(tmp_path, "train/x.mp4", "test/y.mp4")
    assert sources.choose_test(_find(tmp_path / "train"), Settings(split="time")) == []
    given = [source._replace(split="train") for source in found]
    assert sources.choose_test(given, Settings()) == []

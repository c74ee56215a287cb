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


def test_find_names_are_unique_and_contain_identity(tmp_path):
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


def test_find_keeps_train_and_test_directories_apart(tmp_path):
    _touch(tmp_path, "train/ann#1.gif", "train/bob/x.mp4", "test/cid/00001.png", "test/stacked.png")
    found = {source.name: source.split for source in _find(tmp_path)}
    assert found == {"ann#1": "train", "bob#x": "train", "cid": "test", "stacked": "test"}


def test_find_accepts_directory_of_frames(tmp_path):
    _touch(tmp_path, "ann/00001.png", "ann/00002.png")
    (source,) = _find(tmp_path / "ann")
    assert source == (tmp_path / "ann", "ann", None)


def test_find_extracts_identity_by_pattern(tmp_path):
    _touch(tmp_path, "001_smile_2.mp4", "001_smile_1.mp4", "017_posed.mp4", "other.mp4", "a/002_x.mp4")
    found = _find(tmp_path, identity=settings.PRESETS["nemo"]["identity"])
    assert [(source.name, source.identity) for source in found] == [
        ("001#001_smile_1", "001"),
        ("001#001_smile_2", "001"),
        ("002#a#002_x", "002"),
        ("017#017_posed", "017"),
        ("other", "other"),
    ]


def test_find_accepts_any_suffix_and_duplicates(tmp_path):
    _touch(tmp_path, "loop.ffconcat")
    file = tmp_path / "loop.ffconcat"
    assert [source.name for source in sources.find([file, file], Settings(), tmp_path / "out")] == ["loop"]


@pytest.mark.parametrize(
    ("names", "given", "message"),
    [
        (["notes.txt"], {}, "has no videos"),
        (["a.mp4", "a.mov"], {}, "would both be named 'a'; rename one"),
        (["a.mp4"], {"identity": "(.*)"}, None),
        (["deep/a.mp4"], {"identity": "(.*)"}, "it must match a name without / and #"),
    ],
)
def test_find_rejects_ambiguous_names(tmp_path, names, given, message):
    _touch(tmp_path, *names)
    if message is None:
        assert [source.identity for source in _find(tmp_path, **given)] == ["a.mp4"]
        return
    with pytest.raises(errors.UserError, match=message.replace("(", r"\(")):
        _find(tmp_path, **given)


def test_choose_test_is_deterministic(tmp_path):
    _touch(tmp_path, *(f"{name}/{clip}.mp4" for name in "abcdefghij" for clip in range(3)))
    found = _find(tmp_path)
    chosen = sources.choose_test(found, Settings(test_share=0.3))
    assert len(chosen) == 3
    assert chosen == sources.choose_test(found[::-1], Settings(test_share=0.3))
    assert len(sources.choose_test(found, Settings(test_share=0.01))) == 1
    assert sources.choose_test(found, Settings(test_share=0.0)) == []
    assert sources.choose_test(found, Settings(test_identities=("b", "a"))) == ["a", "b"]
    assert sources.choose_test(found, Settings(split="time")) == []


def test_choose_test_rejects_single_identity(tmp_path):
    _touch(tmp_path, "ann/a.mp4", "ann/b.mp4")
    found = _find(tmp_path)
    with pytest.raises(errors.UserError, match=r"have one identity, 'ann'.*give `split` time"):
        sources.choose_test(found, Settings())
    with pytest.raises(errors.UserError, match="`test_identities` must be some of ann; got bob"):
        sources.choose_test(found, Settings(test_identities=("bob",)))
    _touch(tmp_path, "train/x.mp4", "test/y.mp4")
    assert sources.choose_test(_find(tmp_path / "train"), Settings(split="time")) == []
    given = [source._replace(split="train") for source in found]
    assert sources.choose_test(given, Settings()) == []

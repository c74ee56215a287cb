"""Discovery of videos: names, identities, splits."""

import pytest
from PIL import Image

from fomm_tf import errors, video
from fomm_tf.data.prepare import run, settings
from fomm_tf.data.prepare.settings import Settings


def _touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def _find(root, **assigned):
    return run.find_sources([root], Settings(**assigned), root / "out")


def test_find_sources_names_are_unique_and_contain_identity(tmp_path):
    _touch(tmp_path, "ann.mp4", "bob#1.mov", "cid/a.mp4", "cid/deep/b.webm", "dan/00001.png", "dan/00002.png")
    _touch(tmp_path, "notes.txt", "cid/cover.jpg", ".hidden.mp4", "out/train/ann#1.mp4")
    with pytest.warns(video.VideoNote, match=r"passed over 2 files \(cover\.jpg, notes\.txt\)"):
        videos = {source.name: (source.identity, source.split) for source in _find(tmp_path)}
    assert videos == {
        "ann": ("ann", None),
        "bob#1": ("bob", None),
        "cid#a": ("cid", None),
        "cid#deep#b": ("cid", None),
        "dan": ("dan", None),
    }


@pytest.mark.parametrize(
    "suffix", ["3gp", "MTS", "m2ts", "ogv", "vob", "wmv", "flv", "ts", "mpg", "mkv", "avi", "m4v", "gif", "webm"]
)
def test_find_sources_accepts_suffixes_that_ffmpeg_reads(tmp_path, suffix):
    _touch(tmp_path, f"ann.{suffix}")
    assert [source.name for source in _find(tmp_path)] == ["ann"]


@pytest.mark.parametrize("suffix", ["bmp", "webp", "tif", "tiff", "avif", "heic", "HEIC", "jpeg", "jpg", "png"])
def test_find_sources_accepts_directories_of_any_images(tmp_path, suffix):
    _touch(tmp_path, f"ann/1.{suffix}", f"ann/2.{suffix}")
    assert [source.name for source in _find(tmp_path)] == ["ann"]


def test_find_sources_takes_animated_images_for_videos(tmp_path):
    images = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    for name in ("ann/a.webp", "ann/b.png", "bob.webp"):
        _touch(tmp_path, name)
        images[0].save(tmp_path / name, save_all=True, append_images=images[1:])
    assert [source.name for source in _find(tmp_path)] == ["ann#a", "ann#b", "bob"]


def test_find_sources_ignores_still_beside_its_video(tmp_path):
    _touch(tmp_path, "train/IMG_1.HEIC", "train/IMG_1.MOV", "ann/IMG_2.HEIC", "ann/IMG_2.MOV")
    with pytest.warns(video.VideoNote, match=r"passed over 2 files \(IMG_2\.HEIC, IMG_1\.HEIC\)"):
        assert [source.name for source in _find(tmp_path)] == ["IMG_1", "ann#IMG_2"]


def test_find_sources_keeps_train_and_test_directories_apart(tmp_path):
    _touch(tmp_path, "train/ann#1.gif", "train/bob/x.mp4", "test/cid/00001.png", "test/stacked.png")
    videos = {source.name: source.split for source in _find(tmp_path)}
    assert videos == {"ann#1": "train", "bob#x": "train", "cid": "test", "stacked": "test"}


def test_find_sources_accepts_directory_of_frames(tmp_path):
    _touch(tmp_path, "ann/00001.png", "ann/00002.png")
    (source,) = _find(tmp_path / "ann")
    assert source == (tmp_path / "ann", "ann", None)


def test_find_sources_extracts_identity_by_pattern(tmp_path):
    _touch(tmp_path, "001_smile_2.mp4", "001_smile_1.mp4", "017_posed.mp4", "other.mp4", "a/002_x.mp4", "003/003_y.mp4")
    videos = _find(tmp_path, identity=settings.PRESETS["nemo"]["identity"])
    assert [(source.name, source.identity) for source in videos] == [
        ("001#001_smile_1", "001"),
        ("001#001_smile_2", "001"),
        ("002#a#002_x", "002"),
        ("003#003_y", "003"),
        ("017#017_posed", "017"),
        ("other", "other"),
    ]


def test_find_sources_accepts_any_suffix_and_duplicates(tmp_path):
    _touch(tmp_path, "loop.ffconcat")
    file = tmp_path / "loop.ffconcat"
    assert [source.name for source in run.find_sources([file, file], Settings(), tmp_path / "out")] == ["loop"]


@pytest.mark.parametrize(
    ("names", "assigned", "message"),
    [
        (["notes.txt"], {}, "holds no clips; accepted layouts: ROOT/train/CLIP"),
        (["a.mp4", "a.mov"], {}, "would both be named 'a'; rename one"),
        (["a.mp4"], {"identity": "(.*)"}, None),
        (["deep/a.mp4"], {"identity": "(.*)"}, "it must match a name without / and #"),
    ],
)
def test_find_sources_rejects_ambiguous_names(tmp_path, names, assigned, message):
    _touch(tmp_path, *names)
    if message is None:
        assert [source.identity for source in _find(tmp_path, **assigned)] == ["a.mp4"]
        return
    with pytest.raises(errors.UserError, match=message.replace("(", r"\(")):
        _find(tmp_path, **assigned)


def test_choose_test_identities_is_deterministic(tmp_path):
    _touch(tmp_path, *(f"{name}/{clip}.mp4" for name in "abcdefghij" for clip in range(3)))
    videos = _find(tmp_path)
    chosen = run.choose_test_identities(videos, Settings(test_share=0.3))
    assert len(chosen) == 3
    assert chosen == run.choose_test_identities(videos[::-1], Settings(test_share=0.3))
    assert len(run.choose_test_identities(videos, Settings(test_share=0.01))) == 1
    assert run.choose_test_identities(videos, Settings(test_share=0.0)) == []
    assert run.choose_test_identities(videos, Settings(test_identities=("b", "a"))) == ["a", "b"]
    assert run.choose_test_identities(videos, Settings(split="time")) == []


def test_choose_test_identities_rejects_single_identity(tmp_path):
    _touch(tmp_path, "ann/a.mp4", "ann/b.mp4")
    videos = _find(tmp_path)
    with pytest.raises(errors.UserError, match=r"have one identity, 'ann'.*give `split` time"):
        run.choose_test_identities(videos, Settings())
    with pytest.raises(errors.UserError, match="`test_identities` must be some of ann; got bob"):
        run.choose_test_identities(videos, Settings(test_identities=("bob",)))
    _touch(tmp_path, "train/x.mp4", "test/y.mp4")
    assert run.choose_test_identities(_find(tmp_path / "train"), Settings(split="time")) == []
    assigned = [source._replace(split="train") for source in videos]
    assert run.choose_test_identities(assigned, Settings()) == []

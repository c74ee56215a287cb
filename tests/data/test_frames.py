"""The index of videos: what is found, split, skipped and reported."""

import os
import re
import warnings

import numpy as np
import pytest

from fomm_tf import errors, video
from fomm_tf.data import frames, layout

SIZE = (48, 48)


def names(index):
    return [clip.path.name for clip in index.clips]


def kept_files(root):
    return [path for path in root.rglob("*") if path.is_file() and ".fomm-" in str(path)]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov", "clip.webm", "clip.gif", "clip"])
def test_load_reads_every_kind_of_video(tmp_path, write_clip, name):
    write_clip(tmp_path / "train" / name)
    index = frames.load(tmp_path, "train", SIZE)
    assert names(index) == [name] and len(index.clips[0]) == 8 and not index.skipped
    for number, frame in enumerate(video.open_video(tmp_path / "train" / name)):
        kept = index.clips[0].frame(number)
        assert kept.dtype == np.uint8 and kept.shape == (*SIZE, 3)
        assert np.abs(kept.astype(int) - frame).mean() < 3  # the gif's dots are the hardest


def test_load_reads_stacked_image(tmp_path):
    stacked = np.concatenate([np.full([48, 48, 3], 50 * number, np.uint8) for number in range(4)], axis=1)
    video.write_image(tmp_path / "train" / "clip.png", stacked)
    clip = frames.load(tmp_path, "train", SIZE).clips[0]
    assert [int(clip.frame(number).mean()) for number in range(len(clip))] == [0, 50, 100, 150]


def test_load_caches_drawings_losslessly(tmp_path):
    image = np.full([*SIZE, 3], 200, np.uint8)
    image[10:20, 13:37] = [255, 0, 40]
    with video.write_video(tmp_path / "train" / "clip", 25) as writer:
        writer.write(image)
        writer.write(image[::-1])
    clip = frames.load(tmp_path, "train", SIZE).clips[0]
    assert np.array_equal(clip.frame(0), image) and np.array_equal(clip.frame(1), image[::-1])


def test_load_caches_natural_video_within_two_gray_levels(tmp_path):
    rng = np.random.default_rng(0)
    image = video.resize(rng.integers(0, 256, [8, 8, 3], np.uint8), (128, 128)).astype(float)
    shown = [np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8) for _ in range(3)]
    with video.write_video(tmp_path / "train" / "clip", 25) as writer:
        for frame in shown:
            writer.write(frame)
    clip = frames.load(tmp_path, "train", (128, 128)).clips[0]
    assert os.stat(clip.file).st_size < 3 * 128 * 128 * 3 / 4
    assert np.abs(clip.frame(1).astype(int) - shown[1]).mean() < 2


def test_load_center_crops_frames(tmp_path, write_clip):
    write_clip(tmp_path / "train" / "clip", size=(64, 96))
    clip = frames.load(tmp_path, "train", (32, 40)).clips[0]
    first = next(iter(video.open_video(tmp_path / "train" / "clip")))
    assert np.abs(clip.frame(0).astype(int) - video.resize(first, (32, 40))).mean() < 2


def test_load_uses_train_and_test_directories(tmp_path, write_clip):
    write_clip(tmp_path / "train" / "a", count=2)
    write_clip(tmp_path / "test" / "b", count=2)
    assert names(frames.load(tmp_path, "train", SIZE)) == ["a"]
    assert names(frames.load(tmp_path, "test", SIZE)) == ["b"]


def test_load_split_keeps_identities_together_and_depends_on_seed(tmp_path, write_clip):
    for identity in range(10):
        for clip in range(2):
            write_clip(tmp_path / f"id{identity}#{clip}", count=2, size=(8, 8))
    tested = {seed: set(names(frames.load(tmp_path, "test", (8, 8), test_share=0.3, seed=seed))) for seed in range(4)}
    for seed, test in tested.items():
        train = set(names(frames.load(tmp_path, "train", (8, 8), test_share=0.3, seed=seed)))
        assert len(test) == 6 and len(train) == 14 and not test & train
        assert not {name.split("#")[0] for name in test} & {name.split("#")[0] for name in train}
    assert len(set(map(frozenset, tested.values()))) > 1


def test_load_splits_clips_of_a_single_identity(tmp_path, write_clip):
    for clip in range(3):
        write_clip(tmp_path / f"id#{clip}", count=2, size=(8, 8))
    parts = [names(frames.load(tmp_path, part, (8, 8))) for part in layout.SPLITS]
    assert [len(part) for part in parts] == [2, 1] and len({*parts[0], *parts[1]}) == 3


def test_load_uses_single_clip_for_training(tmp_path, write_clip):
    write_clip(tmp_path / "only", count=2)
    assert names(frames.load(tmp_path, "train", SIZE)) == ["only"]
    with pytest.raises(errors.UserError, match="no usable test clip"):
        frames.load(tmp_path, "test", SIZE)


def test_identity_of_is_name_before_first_hash(index):
    assert index.by_identity() == ((0, 1, 2), (3,), (4, 5))


@pytest.mark.parametrize("splits", [("train", "test"), ("Train", "TEST")])
def test_load_reads_directories_of_identities(tmp_path, write_clip, splits):
    for hue, name in enumerate(("ann/1.mp4", "ann/2.mp4", "bob/1", "cid#1", "dan/v1/1.mp4", "dan/v2/1.mp4")):
        write_clip(tmp_path / splits[0] / name, hue=hue)
    write_clip(tmp_path / splits[1] / "ann" / "3.mp4", hue=9)
    video.write_image(tmp_path / splits[0] / "ann" / "cover.png", np.zeros([48, 96, 3]))
    with pytest.warns(video.VideoNote, match=r"passed over 1 file \(cover\.png\)"):
        index = frames.load(tmp_path, "train", SIZE)
    assert [clip.identity for clip in index.clips] == ["ann", "ann", "bob", "cid", "dan", "dan"]
    assert index.by_identity() == ((0, 1), (2,), (3,), (4, 5))
    assert len({clip.file for clip in index.clips}) == 6
    assert [clip.identity for clip in frames.load(tmp_path, "test", SIZE).clips] == ["ann"]


def test_load_splits_directories_of_identities(tmp_path, write_clip):
    for hue, name in enumerate(("ann/1.mp4", "ann/2.mp4", "bob/1.mp4", "cid/1.mp4")):
        write_clip(tmp_path / name, hue=hue)
    identities = [{clip.identity for clip in frames.load(tmp_path, split, SIZE).clips} for split in layout.SPLITS]
    assert [len(group) for group in identities] == [2, 1] and set.union(*identities) == {"ann", "bob", "cid"}


def test_load_names_copies(tmp_path, write_clip):
    for name in ("train/a.mp4", "train/b.mp4", "test/c.mp4", "test/d.mp4"):
        write_clip(tmp_path / name, hue=50 * (name == "test/d.mp4"))
    (tmp_path / "test" / "link.mp4").symlink_to("d.mp4")
    for split, lines in (
        ("train", [r"b\.mp4 is a copy of .*train/a\.mp4: it counts"]),
        (
            "test",
            [r"c\.mp4 is a copy of .*train/a\.mp4: the training split", r"link\.mp4 is .* .*test/d\.mp4: it counts"],
        ),
    ):
        with pytest.warns(video.VideoNote) as caught:
            assert len(frames.load(tmp_path, split, SIZE)) == (2 if split == "train" else 3)
        assert len(caught) == len(lines)
        for warning, line in zip(caught, lines, strict=True):
            assert re.search(line, str(warning.message))


def test_find_splits_rejects_directory_of_data_sets(tmp_path):
    (tmp_path / "faces" / "train").mkdir(parents=True)
    (tmp_path / "faces" / "train" / "a.mp4").touch()
    with pytest.raises(errors.UserError, match=r"holds a data set, .*/faces; give that directory instead"):
        frames.find_splits(tmp_path)


def test_load_skips_and_reports_bad_clips(tmp_path, write_clip):
    train = tmp_path / "train"
    for name in ("a", "z.mp4"):
        write_clip(train / name)
    (train / "broken.mp4").write_bytes(b"no video")
    (train / "empty.mp4").write_bytes(b"")
    (train / "no frames").mkdir()
    write_clip(train / "still", count=1)
    write_clip(train / "damaged")
    (train / "damaged" / "00004.png").write_bytes((train / "damaged" / "00004.png").read_bytes()[:90])
    (train / "nowhere.mp4").symlink_to(tmp_path / "gone.mp4")
    (train / "notes.txt").write_text("not a clip")
    (train / ".hidden.mp4").write_bytes(b"x")
    with pytest.warns(UserWarning, match="skipped") as caught:
        index = frames.load(tmp_path, "train", SIZE)
    assert names(index) == ["a", "damaged", "z.mp4"]
    assert len(index.clips[1]) == len(index.clips[0]) - 1
    assert len(index.skipped) == 5
    for name in ("damaged: left out 1 file (00004.png)", "train: passed over 1 file (notes.txt)"):
        assert any(name in str(warning.message) for warning in caught), name
    for name in ("broken.mp4", "empty.mp4", "no frames", "still", "nowhere"):
        assert any(name in str(warning.message) for warning in caught), name
        assert any(name in line for line in index.skipped), name
    assert any("still has one frame; a pair needs two" in line for line in index.skipped)
    assert not [path for path in kept_files(tmp_path) if path.name.startswith("broken")]


def test_load_uses_truncated_video_and_warns(tmp_path, write_clip):
    write_clip(tmp_path / "train" / "a.webm", count=100)
    path = tmp_path / "train" / "a.webm"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.warns(UserWarning, match=r"a\.webm is damaged or truncated"):
        index = frames.load(tmp_path, "train", SIZE)
    assert 2 <= len(index.clips[0]) < 100


def test_load_rejects_empty_data_set_with_supported_formats(tmp_path):
    with pytest.raises(errors.UserError, match=r"missing is not a directory.*ROOT/train/IDENTITY/CLIP.*\.mp4"):
        frames.load(tmp_path / "missing", "train", SIZE)
    (tmp_path / "test").mkdir()
    with pytest.raises(
        errors.UserError,
        match=r"no usable train clip: 0 found.*ROOT/train/IDENTITY/CLIP.*ROOT/CLIP.*\.mp4.*directory of frames",
    ):
        frames.load(tmp_path, "train", SIZE)
    (tmp_path / "test" / "a.mp4").write_bytes(b"no video")
    with (
        pytest.warns(UserWarning, match=r"a\.mp4"),
        pytest.raises(errors.UserError, match=r"1 found, 1 skipped \(.*a\.mp4"),
    ):
        frames.load(tmp_path, "test", SIZE)


def test_load_is_silent_on_success(tmp_path, write_clip, capfd):
    write_clip(tmp_path / "train" / "a")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames.load(tmp_path, "train", SIZE)
    assert not os.isatty(2) and capfd.readouterr() == ("", "")


def test_load_rejects_an_unknown_split(tmp_path):
    with pytest.raises(ValueError, match=r"^split must be one of train, test; got 'val'\.$"):
        frames.load(tmp_path, "val", (48, 48))

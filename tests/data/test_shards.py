"""Shards: the same batches as from files, what is resumed, and what is named when it is missing or damaged."""

import hashlib
import itertools
import json
import pathlib
import shutil
import tarfile
import threading
import warnings

import fsspec
import numpy as np
import pytest

from fomm_tf import config, errors
from fomm_tf.data import frames, layout, pairs, sharding, storage

SIZE = (48, 48)
JITTERED = config.DataConfig(
    sample_by_identity=True, augment=config.AugmentConfig(brightness=0.1, hue=0.1, resize=(0.9, 1.1), crop=True)
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory, index):
    """The clips of `index`, and a data set of three people that is not split."""
    root = tmp_path_factory.mktemp("clips") / "all"
    shutil.copytree(index.clips[0].path.parent, root)
    return root


def write(root, out, count=2, size=SIZE, data_config=JITTERED):
    return sharding.write(root, out, size, count, data_config)


@pytest.fixture(scope="module")
def sharded(clips, tmp_path_factory):
    out = tmp_path_factory.mktemp("shards") / "out"
    write(clips, out)
    return out


@pytest.fixture
def copied(sharded, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(sharded, tmp_path / "copy")


@pytest.fixture(params=["directory", "URL"])
def root(request, sharded):
    if request.param == "directory":
        yield sharded
        return
    system = fsspec.filesystem("memory")
    for path in sharded.iterdir():
        system.pipe(f"/bucket/{path.name}", path.read_bytes())
    yield "memory://bucket"
    system.rm("/bucket", recursive=True)


def contents(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def batches(index, start=0, count=4):
    dataset = pairs.make_dataset(index, JITTERED, 3, seed=5, start_step=start)
    return [{name: value.numpy() for name, value in batch.items()} for batch in itertools.islice(dataset, count)]


@pytest.mark.parametrize("split", layout.SPLITS)
def test_load_finds_the_same_clips_as_in_files(clips, root, split):
    from_files, from_shards = frames.load(clips, split, SIZE), frames.load(root, split, SIZE)
    for one, other in zip(from_files.clips, from_shards.clips, strict=True):
        assert (one.path.relative_to(clips), one.identity) == (other.path.relative_to(root), other.identity)
        encoded = [storage.read_ranges([clip.locate(i) for i in range(len(clip))]) for clip in (one, other)]
        assert encoded[0] == encoded[1]
    assert from_shards.by_identity() == from_files.by_identity()


def test_batches_are_those_of_the_files_at_any_step(clips, root):
    from_files, from_shards = frames.load(clips, "train", SIZE), frames.load(root, "train", SIZE)
    expected = batches(from_files)
    for actual, start in ((batches(from_shards), 0), (batches(from_shards, start=2, count=2), 2)):
        for one, other in zip(actual, expected[start:], strict=True):
            assert all(np.array_equal(one[name], other[name]) for name in ("source", "driving"))


def test_number_of_shards_does_not_change_batches(clips, sharded, tmp_path):
    write(clips, tmp_path / "one", count=1)
    one, two = (batches(frames.load(folder, "train", SIZE), count=2) for folder in (tmp_path / "one", sharded))
    assert all(np.array_equal(a[name], b[name]) for a, b in zip(one, two, strict=True) for name in a)


def test_shard_is_a_tar_file_of_the_frames(sharded):
    index = frames.load(sharded, "train", SIZE)
    members = {}
    for path in sorted(sharded.glob("train-*.tar")):
        with tarfile.open(path) as tar:
            members |= {member.name: tar.extractfile(member).read() for member in tar}
    clip = index.clips[0]
    name = f"{clip.path.relative_to(sharded).as_posix()}/000001"
    content = members.get(f"{name}.jpg") or members[f"{name}.png"]
    assert [content] == storage.read_ranges([clip.locate(1)])
    assert len(members) == sum(map(len, index.clips))


def test_write_skips_what_files_skip(tmp_path, write_clip):
    root = tmp_path / "data"
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        write_clip(root / "train" / name)
    write_clip(root / "train" / "single", count=1)
    (root / "train" / "b.mp4").write_bytes((root / "train" / "b.mp4").read_bytes()[:-500] + bytes(10))
    (root / "train" / "broken.mp4").write_bytes(b"no video")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(root, tmp_path / "out", count=1)
        expected = frames.load(root, "train", SIZE)
        # A broken clip between others leaves nothing in the tar file.
        again = write(root, tmp_path / "out", count=1)
    actual = frames.load(tmp_path / "out", "train", SIZE)
    assert actual.skipped == expected.skipped and len(actual.skipped) >= 2
    assert [clip.path.name for clip in actual.clips] == [clip.path.name for clip in expected.clips]
    assert f"{len(actual)} clips in 1 shards to train" in again


def test_write_drops_frames_of_a_clip_that_breaks_in_the_middle(tmp_path, write_clip, monkeypatch):
    for name in ("a", "b", "c"):
        write_clip(tmp_path / "data" / "train" / name)
    write(tmp_path / "data", tmp_path / "whole", count=1)
    honest = frames.encode_frames

    def encode_frames(path, *arguments):
        for number, encoded in enumerate(honest(path, *arguments)):
            if path.name == "b" and number == 3:
                raise errors.UnreadableError(f"{path} is broken")
            yield encoded

    monkeypatch.setattr(frames, "encode_frames", encode_frames)
    with pytest.warns(UserWarning, match="b is broken; it is skipped"):
        write(tmp_path / "data", tmp_path / "out", count=1)
    actual = frames.load(tmp_path / "out", "train", SIZE)
    expected = [clip for clip in frames.load(tmp_path / "whole", "train", SIZE).clips if clip.path.name != "b"]
    for one, other in zip(actual.clips, expected, strict=True):
        assert np.array_equal(one.frame(2), other.frame(2))
    with tarfile.open(tmp_path / "out" / "train-00000.tar") as tar:
        assert not [name for name in tar.getnames() if name.startswith("train/b/")]


def test_write_resumes_with_the_same_bytes(clips, copied, monkeypatch):
    before = contents(copied)
    for name in ("train-00001.npz", "shards.json"):
        (copied / name).unlink()
    written, honest = [], frames.encode_frames
    monkeypatch.setattr(frames, "encode_frames", lambda path, *rest: written.append(path) or honest(path, *rest))
    write(clips, copied)
    assert contents(copied) == before
    names = [clip.path.name for clip in frames.load(copied, "train", SIZE).clips]
    assert written == [clips / name for name in names[len(names) // 2 :]]


def test_write_removes_shards_of_an_earlier_number(clips, copied):
    write(clips, copied, count=1)
    names = {f"{split}-00000.{suffix}" for split in layout.SPLITS for suffix in ("tar", "npz")}
    assert set(contents(copied)) == {*names, "shards.json"}


def test_write_updates_shard_of_a_changed_clip(tmp_path, write_clip):
    for name in ("a", "b"):
        write_clip(tmp_path / "data" / "train" / name)
    write(tmp_path / "data", tmp_path / "out")
    before = contents(tmp_path / "out")
    write_clip(tmp_path / "data" / "train" / "b", count=5)
    write(tmp_path / "data", tmp_path / "out")
    changed = {name for name, digest in contents(tmp_path / "out").items() if before[name] != digest}
    assert changed == {"train-00001.tar", "train-00001.npz", "shards.json"}
    assert [len(clip) for clip in frames.load(tmp_path / "out", "train", SIZE).clips] == [8, 5]


def test_write_refuses_other_outputs(clips, tmp_path):
    (tmp_path / "notes.txt").write_text("text")
    for out, message in (
        (tmp_path, "holds notes.txt, which is no shard"),
        (tmp_path / "notes.txt", "is a file"),
        (clips, "is the same"),
        (clips / "new", "lies in the input"),
    ):
        with pytest.raises(errors.UserError, match=message):
            write(clips, out)
    with pytest.raises(errors.UserError, match="`shards` must be at least 1; got 0"):
        write(clips, tmp_path / "out", count=0)


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def raise_version(path):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 9}))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("train-00001.tar", truncate, "is truncated: "),
        ("test-00000.tar", truncate, "is truncated: "),
        ("train-00000.tar", pathlib.Path.unlink, "does not exist; copy it again"),
        ("train-00001.npz", pathlib.Path.unlink, "does not exist; copy it again"),
        ("train-00001.npz", truncate, "is damaged; copy it again"),
        ("train-00001.npz", lambda path: shutil.copy(path.with_name("test-00000.npz"), path), "does not belong to"),
        ("shards.json", truncate, "is not a list of shards"),
        ("shards.json", raise_version, "has version 9; expected 1"),
    ],
)
def test_load_names_damaged_file(copied, name, damage, message):
    damage(copied / name)
    with pytest.raises(errors.UserError) as caught:
        frames.load(copied, "train", SIZE)
    assert str(copied / name) in str(caught.value) and message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_load_rejects_another_frame_size(sharded):
    with pytest.raises(errors.UserError, match=r"has frames of \[48, 48\]; model\.frame_size is \[32, 32\]"):
        frames.load(sharded, "train", (32, 32))


@pytest.mark.parametrize("damage", [truncate, pathlib.Path.unlink])
def test_shard_damaged_after_loading_is_named(copied, damage):
    index = frames.load(copied, "test", SIZE)
    last = index.clips[-1]
    damage(pathlib.Path(last.file))
    with pytest.raises(errors.UserError, match=r"test-0000\d\.tar (is truncated|does not exist)"):
        last.frame(len(last) - 1)
    dataset = pairs.make_dataset(index, JITTERED, 64, seed=0)
    with pytest.raises(errors.UserError, match=r"test-0000\d\.tar (is truncated|does not exist).*\.$"):
        list(itertools.islice(pairs.unwrap_errors(iter(dataset)), 4))


@pytest.mark.parametrize("url", ["nosuch://bucket", "memory://nothing"])
def test_load_names_url_that_cannot_be_read(url):
    with pytest.raises(errors.UserError, match=url) as caught:
        frames.load(url, "train", SIZE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [(["test/a"], "has no clip to train on"), (["train/broken.mp4", "test/a"], "has no usable clip to train on")],
)
def test_write_refuses_a_data_set_without_a_usable_clip_to_train_on(names, message, tmp_path, write_clip):
    for name in names:
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        write_clip(tmp_path / "data" / name)
        if name.endswith(".mp4"):
            (tmp_path / "data" / name).write_bytes(b"no video")
    with pytest.raises(errors.UserError, match=message), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(tmp_path / "data", tmp_path / "out")
    assert not (tmp_path / "out" / "shards.json").exists()


def test_load_names_a_split_without_clips(tmp_path, write_clip):
    write_clip(tmp_path / "data" / "train" / "a")
    write(tmp_path / "data", tmp_path / "out")
    with pytest.raises(
        errors.UserError, match=r"out has no test clip; write shards with a test split by fomm shards\.$"
    ):
        frames.load(tmp_path / "out", "test", SIZE)


def test_write_clips_drops_no_clip_because_it_was_stopped(clips, tmp_path, monkeypatch):
    """A reading that is interrupted is no fault of the clip."""
    stop = threading.Event()

    def encode_frames(path, size, stop):
        stop.set()
        raise errors.UnreadableError(f"{path} was not read")
        yield

    monkeypatch.setattr(frames, "encode_frames", encode_frames)
    path = next(path for path in clips.iterdir() if not path.name.startswith("."))
    with open(tmp_path / "a.tar", "wb") as file, pytest.raises(errors.UnreadableError, match="was not read"):
        shard = sharding._Shard(tmp_path / "a", [path], ["a"])
        sharding._write_clips(sharding.shards.Writer(file), shard, clips, SIZE, stop)


def test_read_ranges_names_the_object_that_is_gone(sharded):
    system = fsspec.filesystem("memory")
    system.pipe("/bucket/a", b"0123456789")
    ranges = [storage.Range("memory://bucket/a", 2, 3), storage.Range("memory://bucket/b", 0, 4)]
    try:
        assert storage.read_ranges(ranges[:1]) == [b"234"]
        with pytest.raises(errors.UserError, match=r"^memory://bucket/b does not exist; copy it again"):
            storage.read_ranges(ranges)
        with pytest.raises(errors.UserError, match=r"^memory://bucket/a is truncated or was replaced"):
            storage.read_ranges([storage.Range("memory://bucket/a", 8, 3)])
    finally:
        system.rm("/bucket", recursive=True)

"""Motion files: keypoints of a clip without its video."""

import pickle
import zipfile
from fractions import Fraction

import numpy as np
import pytest

from fomm_tf import errors
from fomm_tf.inference import motion_files
from fomm_tf.structures import Keypoints

MODEL, OTHER = "ab" * 32, "cd" * 32


def make(frames=6, points=4, jacobian=True, starts=(0, 3)):
    rng = np.random.default_rng(0)
    value = rng.normal(size=[frames, points, 2]).astype(np.float32)
    matrices = rng.normal(size=[frames, points, 2, 2]).astype(np.float32) if jacobian else None
    return motion_files.Motion(value, matrices, starts, Fraction(30000, 1001), MODEL)


def write_arrays(path, **changes):
    """A motion file with arrays replaced, or left out if None."""
    motion_files.write_motion(path, make())
    with np.load(path) as stored:
        arrays = {**stored, **changes}
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


@pytest.mark.parametrize("jacobian", [True, False])
def test_motion_file_round_trip_is_exact(tmp_path, jacobian):
    path, motion = tmp_path / "deep" / "motion.npz", make(jacobian=jacobian)
    motion_files.write_motion(path, motion)
    read = motion_files.read_motion(path, MODEL)
    np.testing.assert_array_equal(read.value, motion.value)
    assert read.value.dtype == np.float32
    if jacobian:
        np.testing.assert_array_equal(read.jacobian, motion.jacobian)
    else:
        assert read.jacobian is None
    assert read[2:] == motion[2:]
    assert [entry.name for entry in path.parent.iterdir()] == ["motion.npz"]


def test_motion_file_keeps_frames_without_object(tmp_path):
    recorder = motion_files.MotionRecorder(Fraction(25), MODEL)
    recorder.add(Keypoints(make(5).value, None))
    found = np.array([True, False, True, True, False, True, True])  # of the whole video
    motion_files.write_motion(tmp_path / "motion.npz", recorder.motion([0, 2, 6], found))
    read = motion_files.read_motion(tmp_path / "motion.npz")
    assert (read.starts, read.found.tolist()) == ((0, 2), found[:5].tolist())
    assert read.first_scene().found.tolist() == [True, False]


def test_motion_file_has_same_bytes_each_time(tmp_path):
    for name in ("a.npz", "b.npz"):
        motion_files.write_motion(tmp_path / name, make())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_motion_recorder_joins_batches():
    motion = make(frames=7)
    recorder = motion_files.MotionRecorder(motion.fps, MODEL)
    for part in (slice(0, 3), slice(3, 6), slice(6, 7)):
        recorder.add(Keypoints(motion.value[part], motion.jacobian[part]))
    recorded = recorder.motion(starts=[0, 3])
    np.testing.assert_array_equal(recorded.value, motion.value)
    np.testing.assert_array_equal(recorded.jacobian, motion.jacobian)
    assert recorded[2:] == motion[2:]
    recorder = motion_files.MotionRecorder(motion.fps, MODEL)
    recorder.add(Keypoints(motion.value, None))
    assert recorder.motion().jacobian is None


def test_motion_batches_and_first_scene():
    motion = make(frames=7, starts=(0, 5))
    recorder = motion_files.MotionRecorder(motion.fps, MODEL)
    sizes = []
    for batch in motion.batches(3):
        sizes.append(len(batch[0]))
        recorder.add(batch)
    assert sizes == [3, 3, 1]
    np.testing.assert_array_equal(recorder.motion().jacobian, motion.jacobian)
    scene = motion.first_scene()
    np.testing.assert_array_equal(scene.value, motion.value[:5])
    assert len(scene.jacobian) == 5 and scene.starts == (0,)
    assert len(make(starts=(0,)).first_scene().value) == 6


def test_read_motion_rejects_other_model(tmp_path):
    path = tmp_path / "motion.npz"
    motion_files.write_motion(path, make())
    assert motion_files.read_motion(path).model == MODEL
    with pytest.raises(errors.UserError, match=r"motion of another model \(abababababab...; this one is cdcdcdcdcdcd"):
        motion_files.read_motion(path, OTHER)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"value": None}, "value is missing"),
        ({"fps": None}, "fps is missing"),
        ({"version": np.int64(2)}, "version is 2; this program reads version 1"),
        ({"version": np.float64(1)}, "version must be"),
        ({"value": np.zeros([6, 4], np.float32)}, r"value must be \[N, K, 2\] float32; got \[6, 4\] float32"),
        ({"value": np.zeros([6, 4, 3], np.float32)}, r"value must be \[N, K, 2\]"),
        ({"value": np.zeros([6, 4, 2])}, r"value must be \[N, K, 2\] float32; got \[6, 4, 2\] float64"),
        ({"value": np.zeros([0, 4, 2], np.float32)}, "value must not be empty"),
        ({"value": np.full([6, 4, 2], np.nan, np.float32)}, "value holds NaN or infinite values"),
        ({"jacobian": np.zeros([5, 4, 2, 2], np.float32)}, r"jacobian must be \[6, 4, 2, 2\]"),
        ({"jacobian": np.full([6, 4, 2, 2], np.inf, np.float32)}, "jacobian holds NaN"),
        ({"starts": np.array([1, 3])}, "starts must rise from 0 and be below 6"),
        ({"starts": np.array([0, 3, 3])}, "starts must rise"),
        ({"starts": np.array([0, 6])}, "starts must rise"),
        ({"starts": np.zeros([0], np.int64)}, "starts must rise"),
        ({"fps": np.array([30, 0])}, "fps must be above 0"),
        ({"fps": np.array([-30, 1])}, "fps must be above 0"),
        ({"fps": np.array([30.0, 1.0])}, "fps must be"),
        ({"model": np.array(b"abc")}, "model must be a text"),
        ({"found": np.ones(5, bool)}, r"found must be \[6\] bool; got \[5\] bool"),
        ({"found": np.ones(6)}, r"found must be \[6\] bool"),
    ],
)
def test_read_motion_rejects_invalid_values(tmp_path, changes, reason):
    path = write_arrays(tmp_path / "motion.npz", **changes)
    with pytest.raises(errors.UnreadableError, match=f"is not a motion file, or is damaged: {reason}"):
        motion_files.read_motion(path, MODEL)


def test_read_motion_loads_no_pickle(tmp_path):
    path = tmp_path / "motion.npz"
    write_arrays(path, value=np.array([{"a": 1}], object))
    with pytest.raises(errors.UnreadableError, match="damaged"):
        motion_files.read_motion(path)
    path.write_bytes(pickle.dumps({"value": 1}))
    with pytest.raises(errors.UnreadableError, match="damaged"):
        motion_files.read_motion(path)


def test_read_motion_rejects_files_of_other_kinds(tmp_path):
    path = tmp_path / "motion.npz"
    with pytest.raises(errors.UnreadableError, match="does not exist"):
        motion_files.read_motion(path)
    path.write_bytes(b"")
    with pytest.raises(errors.UnreadableError, match="is empty"):
        motion_files.read_motion(path)
    for content in (b"PK\x03\x04 and then nothing", b"text"):
        path.write_bytes(content)
        with pytest.raises(errors.UnreadableError, match="damaged"):
            motion_files.read_motion(path)
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "a.npy").rename(path)
    with pytest.raises(errors.UnreadableError, match="damaged"):
        motion_files.read_motion(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("version", "value", "starts", "fps", "model"):
            archive.writestr(name, "no array")
    with pytest.raises(errors.UnreadableError, match="version is not an array"):
        motion_files.read_motion(path)


def test_read_motion_rejects_damaged_files(tmp_path):
    """Cut or changed anywhere, a file is read completely or refused in one line."""
    path = tmp_path / "motion.npz"
    motion_files.write_motion(path, make())
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for length in rng.integers(1, len(whole), 30):
        path.write_bytes(whole[:length])
        with pytest.raises(errors.UnreadableError, match="damaged"):
            motion_files.read_motion(path)
    for place, value in zip(rng.integers(0, len(whole), 60), rng.integers(1, 256, 60), strict=True):
        changed = bytearray(whole)
        changed[place] ^= value
        path.write_bytes(changed)
        try:
            motion_files.read_motion(path, MODEL)
        except errors.UserError as error:
            assert "\n" not in str(error)


def test_read_motion_rejects_zip_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(motion_files, "_MAX_BYTES", 1000)
    path = tmp_path / "motion.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("value.npy", bytes(5000))
    with pytest.raises(errors.UnreadableError, match="it declares 5,000 bytes, more than 1,000"):
        motion_files.read_motion(path)


def test_write_motion_rejects_other_suffix(tmp_path):
    with pytest.raises(errors.UserError, match=r"the suffix of a motion file must be .npz; got '.txt'"):
        motion_files.write_motion(tmp_path / "motion.txt", make())
    assert motion_files.is_motion_name("a/B.NPZ") and not motion_files.is_motion_name("a/b.mp4")

"""Landmarks of rendered people as keypoints: canonical face, local affine maps, mirroring, errors."""

import json
import shutil

import numpy as np
import pytest

from fomm_tf import errors
from fomm_tf.data import frames
from fomm_tf.data.people import dataset, landmarks

SWAP = [1, 0, 2, 4, 3, 5, 6]
MIRROR = np.diag([-1.0, 1.0])


@pytest.fixture(scope="module")
def faces():
    """A symmetric face in many poses, with expressions."""
    random = np.random.default_rng(0)
    face = np.array([[-1, -1], [1, -1], [0, 0], [-0.5, 1], [0.5, 1], [0, 1.5], [0, -2]])
    angles, scales = random.uniform(-0.5, 0.5, 200), random.uniform(0.2, 0.4, 200)
    rotations = np.moveaxis(np.array([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]]), -1, 0)
    moved = (face + random.normal(0, 0.05, [200, 7, 2])) @ np.swapaxes(rotations, 1, 2) * scales[:, None, None]
    return moved + random.uniform(-0.3, 0.3, [200, 1, 2])


@pytest.fixture(scope="module")
def people_set(tmp_path_factory):
    root = tmp_path_factory.mktemp("landmarks") / "set"
    dataset.write(root, identities=2, test_identities=1, clips_per_identity=1, frames=3, frame_step=5, size=32, seed=0)
    return root


def test_canonical_face_is_symmetric_and_centered(faces):
    face = landmarks.canonical_face(faces, SWAP)
    np.testing.assert_allclose(face, face[SWAP] * (-1, 1), atol=1e-12)
    np.testing.assert_allclose(face.mean(axis=0), 0, atol=1e-12)
    assert face[5, 1] > face[2, 1] > face[6, 1]  # chin, nose, forehead: y points down


def test_affine_frames_of_a_rotated_and_scaled_face_are_rotated_and_scaled(faces):
    turn = 0.7 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    both = np.concatenate([faces, faces @ turn.T + 0.1])
    before, after = np.split(landmarks.affine_frames(both, SWAP), 2)
    np.testing.assert_allclose(after, turn @ before, atol=1e-5)


def test_affine_frames_follow_a_stretched_face(faces):
    stretch = np.diag([0.6, 1.0])
    both = np.concatenate([faces, faces @ stretch])
    before, after = np.split(landmarks.affine_frames(both, SWAP), 2)
    change = after @ np.linalg.inv(before)
    # The ridge keeps a part of the whole face's similarity.
    assert np.abs(change - stretch).mean() < 0.1
    assert np.linalg.det(after).min() > 0


def test_affine_frames_of_mirrored_faces_are_mirrored(faces):
    mirrored = faces[:, SWAP] * (-1, 1)
    both = np.concatenate([faces, mirrored])
    before, after = np.split(landmarks.affine_frames(both, SWAP), 2)
    np.testing.assert_allclose(after, MIRROR @ before[:, SWAP] @ MIRROR, atol=1e-5)


def test_load_gives_the_keypoints_of_each_frame(people_set):
    index = frames.load(people_set, "train", (32, 32))
    loaded = landmarks.load(index, people_set)
    assert loaded.images.shape == (6, 32, 32, 3) and loaded.images.dtype == np.uint8
    assert loaded.keypoints.shape == (6, len(landmarks.KEYPOINTS), 2)
    assert loaded.jacobians.shape == (6, len(landmarks.KEYPOINTS), 2, 2)
    truth = json.loads((people_set / dataset.TRUTH).read_text())
    name = index.clips[1].path.relative_to(people_set).as_posix()
    chin = truth["landmark_names"].index("chin")
    expected = truth["clips"][name]["landmarks"][2][chin]
    np.testing.assert_allclose(loaded.keypoints[5, landmarks.KEYPOINTS.index("chin")], expected, atol=1e-6)


def test_load_swaps_sides(people_set):
    swap = landmarks.load(frames.load(people_set, "test", (32, 32)), people_set).swap
    names = np.array(landmarks.KEYPOINTS)
    assert names[swap][names.tolist().index("left_ear")] == "right_ear"
    assert names[swap][names.tolist().index("chin")] == "chin"
    np.testing.assert_array_equal(swap[swap], np.arange(len(names)))


def test_load_rejects_sets_without_landmarks(people_set, tmp_path):
    root = shutil.copytree(people_set, tmp_path / "set")
    index = frames.load(root, "train", (32, 32))
    truth = json.loads((root / dataset.TRUTH).read_text())
    del truth["clips"][index.clips[0].path.relative_to(root).as_posix()]
    (root / dataset.TRUTH).write_text(json.dumps(truth))
    with pytest.raises(errors.UserError, match="draw the set again"):
        landmarks.load(index, root)
    (root / dataset.TRUTH).write_text("{")
    with pytest.raises(errors.UserError, match="Cannot read"):
        landmarks.load(index, root)
    (root / dataset.TRUTH).unlink()
    with pytest.raises(errors.UserError, match="rendered people only"):
        landmarks.load(index, root)

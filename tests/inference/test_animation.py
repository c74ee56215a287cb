"""Animations of drawn scenes, with a model whose answer is known: crops, faces, cuts, best frame."""

import numpy as np
import pytest
from disc_scenes import HEIGHT, RADIUS, SIDE, WIDTH, center, centers, clip, run, walk
from drawn_discs import draw
from shifting_model import ShiftingModel

from fomm_tf import detectors
from fomm_tf.video import VideoNote

pytestmark = pytest.mark.usefixtures("discs")


def test_animation_crops_source_and_driving_video_to_the_object():
    source = draw((HEIGHT, WIDTH), (250, 60, 24))[0]
    lines = []
    _, frames = run(source, clip(walk()), report=lines.append)
    assert len(frames) == 12 and frames[0].result.shape == (SIDE, SIDE, 3)
    assert (
        len(lines) == 2 and lines[0].startswith("a.jpg: cropped to ") and lines[1].startswith("clip.mp4: cropped to ")
    )
    ways = np.diff(centers(frames), axis=0)
    side = int(lines[1].split()[3])  # one square for the whole clip
    np.testing.assert_allclose(ways[:, 0], 3 * SIDE / side, atol=0.3)
    np.testing.assert_allclose(ways[:, 1], 0, atol=0.1)


def test_animation_of_all_faces_moves_each_and_keeps_the_rest():
    source, boxes = draw((240, 480), *((60 + 90 * index, 120 - 20 * (index % 2), 30) for index in range(5)))
    source[::2, ::2, 2] = 40
    _, frames = run(source, clip(walk(6)), face="all", paste_back=True)
    first, last = frames[0].result, frames[-1].result
    assert last.shape == source.shape
    for left, top, right, bottom in boxes:
        region = slice(top - 12, bottom + 12), slice(max(0, left - 20), right + 20)
        assert center(last[region])[0] > center(first[region])[0] + 4
    outside = np.ones(source.shape[:2], bool)
    for square in frames[0].moment.squares:
        outside[max(square.top, 0) : square.top + square.side, max(square.left, 0) : square.left + square.side] = False
    assert outside.mean() > 0.3
    for frame in frames:
        np.testing.assert_array_equal(frame.result[outside], source[outside])


def test_animation_chooses_face_by_number():
    source, _ = draw((240, 480), (80, 120, 30), (300, 120, 40))
    (square,), (other,) = (run(source, clip(walk(2)), face=number)[1][0].moment.squares for number in "12")
    assert square.left < 80 < square.left + square.side < other.left < 300


def test_animation_of_small_face_in_4k_photo():
    source, ((left, top, right, bottom),) = draw((2160, 3840), (3000, 1500, 60))
    _, frames = run(source, clip(walk(2)), paste_back=True)
    (square,) = frames[0].moment.squares
    assert square.left <= left and square.top <= top and square.left + square.side >= right
    assert square.top + square.side >= bottom and square.side < 4 * (right - left)
    assert frames[0].result.shape == source.shape


def test_animation_of_face_at_the_edge_pads_by_reflection():
    source, _ = draw((HEIGHT, WIDTH), (32, 34, 30))
    _, frames = run(source, clip(walk(3)), paste_back=True)
    (square,) = frames[0].moment.squares
    assert square.left < 0 and square.top < 0
    assert np.abs(frames[0].result.astype(int) - source).mean() < 3


def test_animation_without_face_uses_the_center_and_says_so():
    source = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    with pytest.warns(VideoNote, match=r"a.jpg shows no face that is found, so the center of the image is used"):
        _, frames = run(source, clip(walk(3)))
    assert not frames[0].moment.squares


def test_animation_without_detectors_warns_once(monkeypatch):
    monkeypatch.setattr(detectors, "are_installed", lambda: False)
    with pytest.warns(VideoNote, match="the detector of the face is not installed") as caught:
        _, frames = run(draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0], clip(walk(2)))
    assert len(caught) == 1 and not frames[0].moment.squares


def test_animation_holds_motion_where_the_object_is_missing():
    images = walk(9)
    images[4] = images[5] = np.zeros_like(images[4])
    lines = []
    source = draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0]
    _, frames = run(source, clip(images), on_cut="continue", report=lines.append)
    places = centers(frames)
    np.testing.assert_array_equal(places[4], places[3])
    np.testing.assert_array_equal(places[5], places[3])
    assert places[6, 0] > places[3, 0] + 2
    assert lines[-1] == "clip.mp4: 2 of 9 frames show no face; motion holds the last good frame there"


def test_animation_restarts_motion_at_cut():
    second = [60 + draw((HEIGHT, WIDTH), (220 - 3 * index, 70, 40))[0] // 4 * 3 for index in range(5)]
    lines = []
    source = draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0]
    _, frames = run(source, clip(walk(5) + second), report=lines.append)
    places = centers(frames)
    np.testing.assert_allclose(places[5], places[0], atol=0.2)
    assert places[4, 0] > places[0, 0] + 2 and places[9, 0] < places[5, 0] - 1
    assert lines[-1] == "clip.mp4: a cut at frame 5; relative motion restarts there"


def test_animation_finds_best_frame():
    """Discs of the model's keypoints differ in nothing but size and place: the first comparable frame is the best."""
    images = [np.zeros((HEIGHT, WIDTH, 3), np.uint8), *walk(5)]
    lines = []
    source = draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0]
    performance, _ = run(source, clip(images), best_frame="auto", on_cut="continue", report=lines.append)
    assert performance.best >= 1
    assert "1 of 6 frames without visible keypoints were skipped" in lines[2]


class Landmarks:
    """Landmarks of each disc by its gray level, a pose; or none at all."""

    shapes = np.random.default_rng(5).normal(size=[3, 20, 2])

    def __init__(self, hidden=False):
        self.hidden = hidden

    def __call__(self, frames):
        poses = [int(frame.max() > 210) + int(frame.max() > 235) for frame in frames]
        value = np.full([len(frames), 20, 2], np.nan) if self.hidden else self.shapes[poses]
        return detectors.Points(np.float32(value), np.ones([len(frames), 20], np.float32))


@pytest.mark.parametrize("hidden", [False, True])
def test_animation_finds_best_frame_by_landmarks(monkeypatch, hidden):
    """Where the source shows none, the model's keypoints decide."""
    monkeypatch.setitem(detectors.POINTS, "face-points", lambda threads: Landmarks(hidden))
    images = walk(6)
    images[:3], images[4:] = [image // 255 * 200 for image in images[:3]], [image // 255 * 200 for image in images[4:]]
    lines = []
    performance, _ = run(walk(1)[0], clip(images), best_frame="auto", report=lines.append)
    (line,) = [line for line in lines if line.startswith("best frame")]
    assert ("face points" in line) is not hidden and ("keypoints" in line) is hidden
    assert hidden or performance.best == 3


def test_animation_starts_from_the_first_frame_where_no_pose_can_be_compared(monkeypatch):
    monkeypatch.setattr(ShiftingModel, "_detect", lambda self, frame: np.array([[0, 0], [0.1, 0.1], [0.2, 0.2]]))
    lines = []
    performance, _ = run(walk(1)[0], clip(walk(4)), best_frame="auto", report=lines.append)
    assert performance.best == 0 and not [line for line in lines if line.startswith("best frame")]

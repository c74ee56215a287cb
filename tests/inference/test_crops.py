"""Squares around the object to animate."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from fomm_tf import detectors, errors
from fomm_tf.data.prepare import segments
from fomm_tf.inference import crops
from fomm_tf.inference.crops import Square

SIZE = (240, 320)
FPS = 25
FACE = crops.margins("face")


def box_at(x, y, side=40):
    return np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2])


def as_box(square):
    return np.array([square.left, square.top, square.left + square.side, square.top + square.side], float)


def iou(square, truth):
    return segments.boxes.iou(as_box(square), truth[np.newaxis])[0]


def walk(frames=60):
    """Boxes of an object that circles in the frame."""
    angles = np.linspace(0, 2 * np.pi, frames)
    return [box_at(160 + 60 * np.cos(angle), 120 + 30 * np.sin(angle)) for angle in angles]


def detect_from(per_frame):
    """A detector that returns boxes from a list of lists, and dummy frames to call it with."""
    remaining = iter(per_frame)

    def detect(frames):
        boxes = [np.reshape(next(remaining), [-1, 4]) for _ in frames]
        return [detectors.Boxes(np.ones(len(box)), box, np.zeros([len(box), 0, 2])) for box in boxes]

    return detect, [np.zeros([2, 2, 3], np.uint8)] * len(per_frame)


def find(per_frame, **options):
    detect, frames = detect_from(per_frame)
    return crops.find_squares(frames, SIZE, FPS, "face", detect, **options)


@pytest.mark.parametrize("word", ["auto", "off", "face", "body", "my.module:detect"])
def test_parse_crop_accepts_words(word):
    assert crops.parse_crop(word) == word


def test_parse_crop_encloses_rectangle():
    assert crops.parse_crop("10,20,64,64") == Square(10, 20, 64)
    assert crops.parse_crop("10, 20, 64, 32") == Square(10, 4, 64)
    assert crops.parse_crop("-5,0,20,40") == Square(-15, 0, 40)


@pytest.mark.parametrize("text", ["head", "", "1,2,3", "1,2,3,x", "1,2,0,5", "1,2,-3,5", "1.5,2,3,4", "../a:b"])
def test_parse_crop_rejects_others(text):
    with pytest.raises(errors.UserError, match=r"`crop` must be .*; got"):
        crops.parse_crop(text)


def test_check_square_rejects_center_outside_frame():
    crops.check_square(Square(-30, -30, 64), SIZE, "a.jpg")
    with pytest.raises(errors.UserError, match=r"outside a.jpg, which is 320 x 240; got 64 x 64 at \(300, 0\)"):
        crops.check_square(Square(300, 0, 64), SIZE, "a.jpg")


def test_place_square_has_margin_of_training_clips():
    box = box_at(160, 120)
    assert crops.place_square(box, SIZE, FACE) == segments.place_crop(box, SIZE, FACE) == Square(126, 86, 68)
    assert crops.place_square(box, SIZE, crops.margins("body")) == Square(140, 100, 40)


def test_place_square_at_edge_keeps_object_from_its_border():
    """A face at the edge: the square is moved into the frame, but only until the face is a tenth from its border."""
    square = crops.place_square(box_at(18, 120), SIZE, FACE)
    assert segments.place_crop(box_at(18, 120), SIZE, FACE).left == 0
    assert square.left == -9  # box from -2, a tenth of 68 further
    inner = crops.place_square(box_at(29, 120), SIZE, FACE)
    assert inner.left == 0  # moved into the frame


def test_place_square_larger_than_frame_extends_beyond_it():
    square = crops.place_square(box_at(160, 120, 200), SIZE, FACE)
    assert square.side == 340 and square.top < 0 and square.top + square.side > SIZE[0]


def test_crop_pads_by_reflection_and_fits_model_size():
    frame = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    cropped = crops.crop(frame, Square(-8, 40, 64), (64, 64))
    np.testing.assert_array_equal(cropped[:, 8:], frame[40:104, :56])
    np.testing.assert_array_equal(cropped[:, :8], frame[40:104, 8:0:-1])
    assert crops.crop(frame, Square(20, 20, 100), (64, 32)).shape == (64, 32, 3)


def test_tracker_follows_largest_object_until_lost():
    tracker = crops.Tracker()
    large, small, other = box_at(100, 100, 50), box_at(200, 100, 30), box_at(260, 60, 60)
    tracker.add([small, large])
    tracker.add([other, small, large + 4])  # a larger object appears
    tracker.add([other])
    tracker.add([])
    tracker.add([other, large])
    assert [None if box is None else box[0] for box in tracker.boxes] == [75, 79, None, None, 75]
    for _ in range(13):
        tracker.add([other])
    assert tracker.boxes[-2] is None and (tracker.boxes[-1] == other).all()
    tracker.add([small, large], is_cut=True)
    assert (tracker.boxes[-1] == large).all()
    tracker.add([other])
    assert tracker.boxes[-1] is None


def test_find_squares_holds_object_in_every_frame():
    boxes = walk()
    found = find([[box, box_at(20, 20, 12)] for box in boxes])
    assert len(set(found.squares)) == 1 and found.found.all()
    (square,) = set(found.squares)
    union = np.concatenate([np.min(boxes, axis=0)[:2], np.max(boxes, axis=0)[2:]])
    truth = box_at(*(union[:2] + union[2:]) / 2, 1.7 * 160)
    assert iou(square, truth) >= 0.8
    assert segments.edge_distance(union, square) >= 0.1 - 0.5 / square.side


def test_find_squares_has_one_square_per_scene():
    first, second = [box_at(80, 120)] * 5, [box_at(240, 120, 60)] * 4
    found = find([[box] for box in first + second], starts=[0, 5])
    assert set(found.squares[:5]) == {crops.place_square(first[0], SIZE, FACE)}
    assert set(found.squares[5:]) == {crops.place_square(second[0], SIZE, FACE)}


def test_find_squares_reports_missing_frames():
    found = find([[], [box_at(80, 120)], [], [box_at(84, 120)], []], follow=True)
    assert found.found.tolist() == [False, True, False, True, False]
    assert found.squares[0] == found.squares[1] and len(found.squares) == 5
    assert find([[], []]) is None
    assert find([]) is None


@pytest.mark.parametrize("follow", [False, True])
def test_find_squares_fills_scenes_without_object(follow):
    found = find([[], [], [box_at(80, 120)], [], [box_at(240, 120)]], starts=[0, 2, 3, 4], follow=follow)
    squares = [crops.place_square(box_at(x, 120), SIZE, FACE) for x in (80, 240)]
    assert found.squares == [squares[0]] * 4 + [squares[1]]


def test_moving_squares_follow_smoothly():
    rng = np.random.default_rng(0)
    boxes = [box + rng.normal(0, 1.5, 4) for box in walk(100)]
    squares = np.array([as_box(square) for square in crops.moving_squares(boxes, SIZE, FPS, FACE)])
    sides, lengths = squares[:, 2] - squares[:, 0], [(box[2:] - box[:2]).max() for box in boxes]
    assert np.abs(np.diff(sides)).mean() < 0.5 * 1.7 * np.abs(np.diff(lengths)).mean()
    assert np.abs((squares[:, :2] + squares[:, 2:]) / 2 - [box.reshape(2, 2).mean(axis=0) for box in boxes]).max() < 8
    assert squares[:, 0].min() < 80 and squares[:, 0].max() > 170  # it has moved


@hypothesis.given(
    st.lists(st.tuples(st.integers(30, 290), st.integers(30, 210), st.integers(8, 120)), min_size=1, max_size=12),
    st.sampled_from(["face", "body"]),
)
def test_squares_contain_boxes_within_frame(places, crop):
    boxes, settings = [box_at(*place) for place in places], crops.margins(crop)
    for place in (crops.fixed_squares, crops.moving_squares):
        squares = place(boxes, SIZE, FPS, settings)
        for box, square in zip(boxes, squares, strict=True):
            visible = np.clip(box, 0, [*SIZE[::-1], *SIZE[::-1]])
            assert (as_box(square)[:2] <= visible[:2] + 1).all() and (as_box(square)[2:] >= visible[2:] - 1).all()


def test_squares_are_empty_without_boxes():
    assert crops.fixed_squares([None, None], SIZE, FPS, FACE) == []
    assert crops.moving_squares([None], SIZE, FPS, FACE) == []

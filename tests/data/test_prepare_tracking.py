"""Where a video is divided, and where its frames are cut."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from fomm_tf.data.prepare import cropping, tracking
from fomm_tf.data.prepare.settings import Settings, choose

SIZE = (100, 200)


def _box(x, y, side=20):
    return [x, y, x + side, y + side]


def _divide(per_frame, cuts=(), **given):
    """Stretches of frames that each have a list of boxes."""
    settings = Settings(**{"margin": 1.5, "min_frames": 2, "max_frames": 1000, **given})
    looks = [
        tracking.Look(np.array(found, float).reshape(-1, 4), number in cuts) for number, found in enumerate(per_frame)
    ]
    return list(tracking.divide(looks, SIZE, settings))


def _summary(stretches):
    return [(stretch.first, stretch.frames, stretch.end) for stretch in stretches]


def test_a_box_is_followed_to_the_end_and_the_union_holds_all_of_them():
    (stretch,) = _divide([[_box(50 + step, 40 - step)] for step in range(8)])
    assert _summary([stretch]) == [(0, 8, "end of the video")]
    np.testing.assert_array_equal(stretch.box, [50, 33, 77, 60])


def test_a_box_too_far_from_the_first_one_begins_the_next_stretch_though_no_step_was_large():
    stretches = _divide([[_box(40 + 2 * step, 40)] for step in range(20)], min_iou=0.25)
    # 20 wide, shifted by d they share (20 - d) / (20 + d): below a quarter from d = 14 on, at the 7th step.
    assert _summary(stretches) == [
        (0, 7, "too far from its first place"),
        (7, 7, "too far from its first place"),
        (14, 6, "end of the video"),
    ]
    np.testing.assert_array_equal(stretches[1].box, [54, 40, 86, 60])


def test_a_long_stretch_is_divided_and_the_pieces_follow_each_other():
    stretches = _divide([[_box(50, 40)]] * 10, max_frames=4)
    assert _summary(stretches) == [(0, 4, "long enough"), (4, 4, "long enough"), (8, 2, "end of the video")]


def test_frames_without_an_object_are_told():
    stretches = _divide([[], [], [_box(50, 40)], [_box(50, 40)], [], [_box(50, 40)]])
    assert _summary(stretches) == [
        (0, 2, "nothing found"),
        (2, 2, "lost"),
        (4, 1, "nothing found"),
        (5, 1, "end of the video"),
    ]
    assert [stretch.box is None for stretch in stretches] == [True, False, True, False]
    assert _summary(_divide([[]] * 3)) == [(0, 3, "nothing found")]
    assert _divide([]) == []


def test_a_cut_divides_though_the_box_stays_where_it_is():
    stretches = _divide([[_box(50, 40)]] * 6, cuts={2})
    assert _summary(stretches) == [(0, 2, "cut"), (2, 4, "end of the video")]


def test_a_box_that_jumps_is_another_object():
    stretches = _divide([[_box(40, 40)], [_box(40, 40)], [_box(120, 40)]])
    assert _summary(stretches) == [(0, 2, "lost"), (2, 1, "end of the video")]


def test_the_largest_object_is_followed_and_not_left_for_a_larger_one():
    small, large = _box(120, 40, 16), _box(60, 40, 24)
    (stretch,) = _divide([[small, large], [large], [small, large], [_box(10, 20, 60), large]])
    np.testing.assert_array_equal(stretch.box, large)


def test_a_box_near_the_frames_edge_ends_the_stretch_and_begins_none():
    boxes = [[_box(200 - 40 + 4 * step, 40)] for step in range(6)]
    stretches = _divide(boxes, edge_margin=0.1)
    # With a margin of 1.5 the square measures 30 for one box, so a tenth of it is 3 pixels: 160 to 180 and 164 to 184
    # have room, 172 to 192 and 176 to 196 too, 180 to 200 has none.
    assert stretches[-1].end == "too near the frame's edge"
    assert stretches[-1].box is None
    assert stretches[-1].first + stretches[-1].frames == 6
    assert stretches[-1].frames == 1
    assert all(stretch.box is not None for stretch in stretches[:-1])
    assert _summary(_divide(boxes, edge_margin=-1.0, min_iou=0.0)) == [(0, 6, "end of the video")]


def test_of_two_objects_the_one_with_room_around_it_is_taken():
    (stretch,) = _divide([[_box(0, 0, 30), _box(90, 40)]] * 3)
    np.testing.assert_array_equal(stretch.box, _box(90, 40))


@hypothesis.given(
    st.lists(
        st.lists(st.tuples(st.integers(-10, 190), st.integers(-10, 90), st.integers(5, 60)), max_size=3), max_size=40
    ),
    st.sets(st.integers(0, 39)),
    st.integers(2, 9),
    st.sampled_from([-1.0, 0.0, 0.1]),
)
def test_stretches_lie_end_to_end_and_keep_what_they_promise(per_frame, cuts, longest, edge_margin):
    found = [[_box(*box) for box in boxes] for boxes in per_frame]
    settings = Settings(margin=1.5, min_frames=2, max_frames=longest, edge_margin=edge_margin)
    stretches = _divide(found, cuts, max_frames=longest, edge_margin=edge_margin)
    place = 0
    for stretch in stretches:
        assert stretch.first == place
        assert stretch.frames >= 1
        place += stretch.frames
        if stretch.box is None:
            continue
        assert stretch.frames <= longest
        assert not cuts & set(range(stretch.first + 1, place))
        square = cropping.place(stretch.box, SIZE, settings)
        assert cropping.edge_distance(stretch.box, square) >= edge_margin
        for boxes in found[stretch.first : place]:
            assert any((stretch.box[:2] <= box[:2]).all() and (stretch.box[2:] >= box[2:]).all() for box in boxes)
    assert place == len(per_frame)


def _scene(seed):
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 256, (6, 10, 3)), np.ones((20, 20, 1))).astype(np.uint8)


def test_a_cut_is_found_behind_an_object_that_stays_and_noise_and_motion_are_none():
    rng = np.random.default_rng(0)
    frames = [_scene(1)] * 30 + [_scene(2)] * 30
    finder, found = tracking.CutFinder(), []
    for number, scene in enumerate(frames):
        frame = np.clip(scene + rng.normal(0, 8, scene.shape), 0, 255).astype(np.uint8)
        frame[40:80, 60 + number % 20 : 100 + number % 20] = 255
        if finder(frame):
            found.append(number)
    assert found == [30]


def test_what_changes_always_is_not_cut_at_every_frame():
    wide = np.concatenate([_scene(3)] * 4, axis=1)
    finder = tracking.CutFinder()
    found = [number for number in range(50) if finder(wide[:, 9 * number : 9 * number + 200])]
    assert found == [1]  # there was nothing to compare the first change with


def test_a_cut_to_a_livelier_scene_is_one_cut():
    wide = np.concatenate([_scene(3)] * 4, axis=1)
    finder = tracking.CutFinder()
    still, lively = [_scene(1)] * 30, [wide[:, 9 * number : 9 * number + 200] for number in range(40)]
    assert [number for number, frame in enumerate(still + lively) if finder(frame)] == [30]


def test_a_square_is_moved_into_the_frame():
    settings = Settings(margin=2.0)
    assert cropping.place(np.array([90.0, 40, 110, 50]), SIZE, settings) == (80, 25, 40)
    assert cropping.place(np.array([5.0, 40, 25, 50]), SIZE, settings) == (0, 25, 40)
    assert cropping.place(np.array([190.0, 90, 200, 100]), SIZE, settings) == (180, 80, 20)


def test_a_square_larger_than_the_frame_shrinks_or_reaches_beyond_it():
    box = np.array([60.0, 0, 140, 100])
    assert cropping.place(box, SIZE, Settings(margin=1.2)) == (50, 0, 100)
    assert cropping.place(box, SIZE, Settings(margin=1.2, border="repeat")) == (40, -10, 120)
    # Where the frame is narrower than the square, all of it is shown.
    assert cropping.place(np.array([0.0, 0, 200, 100]), SIZE, Settings(margin=1.5, border="repeat")) == (-50, -100, 300)


@pytest.mark.parametrize("square", [(10, 20, 40), (-6, -9, 64), (70, 40, 30), (-20, -20, 120)])
def test_cutting_repeats_the_edge_of_the_frame(square):
    frame = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    left, top, side = square
    expected = np.empty((side, side, 3), np.uint8)
    for row in range(side):
        for column in range(side):
            expected[row, column] = frame[min(max(top + row, 0), 59), min(max(left + column, 0), 79)]
    np.testing.assert_array_equal(cropping.cut(frame, cropping.Square(*square), side), expected)


def test_cutting_shrinks_by_area():
    frame = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    means = frame[8:40, 16:48].reshape(8, 4, 8, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(cropping.cut(frame, cropping.Square(16, 8, 32), 8), means, atol=0.51)


def test_clearance_is_a_share_of_the_squares_side():
    square = cropping.Square(10, 10, 50)
    assert cropping.edge_distance(np.array([20.0, 15, 40, 30]), square) == pytest.approx(0.1)
    assert cropping.edge_distance(np.array([20.0, 15, 65, 30]), square) == pytest.approx(-0.1)


def test_the_defaults_depend_on_the_crop_and_what_is_given_overrides_the_preset():
    assert choose(None, {}).edge_margin == 0.1
    assert choose(None, {"crop": "body"}).edge_margin == -1
    assert choose(None, {"crop": "finders:find_white"}).margin == 1
    assert choose("taichi", {"size": 128}) == Settings("body", 128, margin=1.0, edge_margin=-1.0, min_frames=128)
    assert choose("taichi", {"crop": "face"}).margin == 1.7

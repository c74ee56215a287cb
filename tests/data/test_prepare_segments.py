"""Segments of a video, scene cuts and crops."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from fomm_tf.data.prepare import segments
from fomm_tf.data.prepare.settings import Settings, choose

SIZE = (100, 200)


def _box(x, y, side=20):
    return [x, y, x + side, y + side]


def _split(per_frame, cuts=(), **given):
    """Splits frames that each have a list of boxes."""
    settings = Settings(**{"margin": 1.5, "min_frames": 2, "max_frames": 1000, **given})
    detections = [
        segments.FrameDetections(np.array(detected, float).reshape(-1, 4), number in cuts)
        for number, detected in enumerate(per_frame)
    ]
    return list(segments.split(detections, SIZE, settings))


def _summary(parts):
    return [(segment.first, segment.frames, segment.end) for segment in parts]


def test_split_tracks_box_and_returns_union():
    (segment,) = _split([[_box(50 + step, 40 - step)] for step in range(8)])
    assert _summary([segment]) == [(0, 8, "end of video")]
    np.testing.assert_array_equal(segment.box, [50, 33, 77, 60])


def test_split_starts_new_segment_after_slow_drift():
    parts = _split([[_box(40 + 2 * step, 40)] for step in range(20)], min_iou=0.25)
    # 20 wide, shifted by d they share (20 - d) / (20 + d): below a quarter from d = 14 on, at the 7th step.
    assert _summary(parts) == [
        (0, 7, "moved too far"),
        (7, 7, "moved too far"),
        (14, 6, "end of video"),
    ]
    np.testing.assert_array_equal(parts[1].box, [54, 40, 86, 60])


def test_split_divides_long_segment():
    parts = _split([[_box(50, 40)]] * 10, max_frames=4)
    assert _summary(parts) == [(0, 4, "max_frames reached"), (4, 4, "max_frames reached"), (8, 2, "end of video")]


def test_split_reports_frames_without_object():
    parts = _split([[], [], [_box(50, 40)], [_box(50, 40)], [], [_box(50, 40)]])
    assert _summary(parts) == [
        (0, 2, "no detection"),
        (2, 2, "lost"),
        (4, 1, "no detection"),
        (5, 1, "end of video"),
    ]
    assert [segment.box is None for segment in parts] == [True, False, True, False]
    assert _summary(_split([[]] * 3)) == [(0, 3, "no detection")]
    assert _split([]) == []


def test_split_at_scene_cut_of_static_box():
    parts = _split([[_box(50, 40)]] * 6, cuts={2})
    assert _summary(parts) == [(0, 2, "cut"), (2, 4, "end of video")]


def test_split_treats_jumping_box_as_another_object():
    parts = _split([[_box(40, 40)], [_box(40, 40)], [_box(120, 40)]])
    assert _summary(parts) == [(0, 2, "lost"), (2, 1, "end of video")]


def test_split_tracks_largest_object_until_lost():
    small, large = _box(120, 40, 16), _box(60, 40, 24)
    (segment,) = _split([[small, large], [large], [small, large], [_box(10, 20, 60), large]])
    np.testing.assert_array_equal(segment.box, large)


def test_split_ends_segment_near_frame_edge():
    boxes = [[_box(200 - 40 + 4 * step, 40)] for step in range(6)]
    parts = _split(boxes, edge_margin=0.1)
    # With a margin of 1.5 the square measures 30 for one box, so a tenth of it is 3 pixels: 160 to 180 and 164 to 184
    # have margins, also 172 to 192 and 176 to 196; 180 to 200 has none.
    assert parts[-1].end == "too near the frame's edge"
    assert parts[-1].box is None
    assert parts[-1].first + parts[-1].frames == 6
    assert parts[-1].frames == 1
    assert all(segment.box is not None for segment in parts[:-1])
    assert _summary(_split(boxes, edge_margin=-1.0, min_iou=0.0)) == [(0, 6, "end of video")]


def test_split_prefers_object_with_margin():
    (segment,) = _split([[_box(0, 0, 30), _box(90, 40)]] * 3)
    np.testing.assert_array_equal(segment.box, _box(90, 40))


@hypothesis.given(
    st.lists(
        st.lists(st.tuples(st.integers(-10, 190), st.integers(-10, 90), st.integers(5, 60)), max_size=3), max_size=40
    ),
    st.sets(st.integers(0, 39)),
    st.integers(2, 9),
    st.sampled_from([-1.0, 0.0, 0.1]),
)
def test_split_parts_cover_all_frames_and_meet_limits(per_frame, cuts, longest, edge_margin):
    detected = [[_box(*box) for box in boxes] for boxes in per_frame]
    settings = Settings(margin=1.5, min_frames=2, max_frames=longest, edge_margin=edge_margin)
    parts = _split(detected, cuts, max_frames=longest, edge_margin=edge_margin)
    place = 0
    for segment in parts:
        assert segment.first == place
        assert segment.frames >= 1
        place += segment.frames
        if segment.box is None:
            continue
        assert segment.frames <= longest
        assert not cuts & set(range(segment.first + 1, place))
        square = segments.place_crop(segment.box, SIZE, settings)
        assert segments.edge_distance(segment.box, square) >= edge_margin
        for boxes in detected[segment.first : place]:
            assert any((segment.box[:2] <= box[:2]).all() and (segment.box[2:] >= box[2:]).all() for box in boxes)
    assert place == len(per_frame)


def _scene(seed):
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 256, (6, 10, 3)), np.ones((20, 20, 1))).astype(np.uint8)


def test_cut_detector_ignores_noise_and_motion():
    rng = np.random.default_rng(0)
    frames = [_scene(1)] * 30 + [_scene(2)] * 30
    finder, detected = segments.CutDetector(), []
    for number, scene in enumerate(frames):
        frame = np.clip(scene + rng.normal(0, 8, scene.shape), 0, 255).astype(np.uint8)
        frame[40:80, 60 + number % 20 : 100 + number % 20] = 255
        if finder(frame):
            detected.append(number)
    assert detected == [30]


def test_cut_detector_ignores_constant_change():
    wide = np.concatenate([_scene(3)] * 4, axis=1)
    finder = segments.CutDetector()
    detected = [number for number in range(50) if finder(wide[:, 9 * number : 9 * number + 200])]
    assert detected == [1]  # the first change has no previous one to compare with


def test_cut_detector_reports_one_cut_to_livelier_scene():
    wide = np.concatenate([_scene(3)] * 4, axis=1)
    finder = segments.CutDetector()
    still, lively = [_scene(1)] * 30, [wide[:, 9 * number : 9 * number + 200] for number in range(40)]
    assert [number for number, frame in enumerate(still + lively) if finder(frame)] == [30]


def test_place_crop_moves_square_into_frame():
    settings = Settings(margin=2.0)
    assert segments.place_crop(np.array([90.0, 40, 110, 50]), SIZE, settings) == (80, 25, 40)
    assert segments.place_crop(np.array([5.0, 40, 25, 50]), SIZE, settings) == (0, 25, 40)
    assert segments.place_crop(np.array([190.0, 90, 200, 100]), SIZE, settings) == (180, 80, 20)


def test_place_crop_shrinks_or_extends_beyond_frame():
    box = np.array([60.0, 0, 140, 100])
    assert segments.place_crop(box, SIZE, Settings(margin=1.2)) == (50, 0, 100)
    assert segments.place_crop(box, SIZE, Settings(margin=1.2, border="repeat")) == (40, -10, 120)
    # Where the frame is narrower than the square, all of it is shown.
    assert segments.place_crop(np.array([0.0, 0, 200, 100]), SIZE, Settings(margin=1.5, border="repeat")) == (
        -50,
        -100,
        300,
    )


@pytest.mark.parametrize("square", [(10, 20, 40), (-6, -9, 64), (70, 40, 30), (-20, -20, 120)])
def test_crop_repeats_frame_edge(square):
    frame = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    left, top, side = square
    expected = np.empty((side, side, 3), np.uint8)
    for row in range(side):
        for column in range(side):
            expected[row, column] = frame[min(max(top + row, 0), 59), min(max(left + column, 0), 79)]
    np.testing.assert_array_equal(segments.crop(frame, segments.Square(*square), side), expected)


@pytest.mark.parametrize("square", [(10, 20, 40), (-6, -9, 64), (70, 40, 30), (-100, -20, 240)])
def test_crop_reflects_frame(square):
    frame = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    left, top, side = square
    padded = np.pad(frame, [(200, 200), (200, 200), (0, 0)], mode="reflect")
    expected = padded[200 + top : 200 + top + side, 200 + left : 200 + left + side]
    np.testing.assert_array_equal(segments.crop(frame, segments.Square(*square), side, reflect=True), expected)
    if (np.array(square) < 1).any():
        assert not np.array_equal(segments.crop(frame, segments.Square(*square), side), expected)


def test_crop_averages_areas():
    frame = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    means = frame[8:40, 16:48].reshape(8, 4, 8, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(segments.crop(frame, segments.Square(16, 8, 32), 8), means, atol=0.51)


def test_edge_distance_is_fraction_of_side():
    square = segments.Square(10, 10, 50)
    assert segments.edge_distance(np.array([20.0, 15, 40, 30]), square) == pytest.approx(0.1)
    assert segments.edge_distance(np.array([20.0, 15, 65, 30]), square) == pytest.approx(-0.1)


def test_choose_defaults_depend_on_crop_and_overrides_win():
    assert choose(None, {}).edge_margin == 0.1
    assert choose(None, {"crop": "body"}).edge_margin == -1
    assert choose(None, {"crop": "finders:find_white"}).margin == 1
    assert choose("taichi", {"size": 128}) == Settings("body", 128, margin=1.0, edge_margin=-1.0, min_frames=128)
    assert choose("taichi", {"crop": "face"}).margin == 1.7

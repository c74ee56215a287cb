"""Scenes of a driving video: cuts, where motion starts, frames without the object."""

import numpy as np
import pytest

from fomm_tf import errors, motion_filters
from fomm_tf.inference import scenes
from fomm_tf.structures import Keypoints


def draw_video(*lengths):
    """Noisy frames of several scenes."""
    rng = np.random.default_rng(0)
    for length in lengths:
        scene = np.kron(rng.integers(0, 256, (6, 10, 3)), np.ones((8, 8, 1)))
        for _ in range(length):
            yield np.clip(scene + rng.normal(0, 6, scene.shape), 0, 255).astype(np.uint8)


def numbered(count, jacobian=True):
    """Keypoints whose values are the frame's number."""
    frames = np.arange(count, dtype=np.float32)
    matrices = frames[:, None, None, None] + np.eye(2, dtype=np.float32) if jacobian else None
    return Keypoints(np.broadcast_to(frames[:, None, None], [count, 3, 2]), matrices)


def advance(stream, count, batch=4):
    """The driving and initial frame numbers of a clip."""
    keypoints, driving, initial = numbered(count), [], []
    for start in range(0, count, batch):
        part = Keypoints(*(part[start : start + batch] for part in keypoints))
        held, starts = stream.advance(part)
        assert held.value.dtype == starts.value.dtype == np.float32
        np.testing.assert_allclose(held.value[:, 0, 0], held.jacobian[:, 0, 0, 1], atol=0.1)
        driving += held.value[:, 0, 0].tolist()
        initial += np.broadcast_to(starts.value[:, 0, 0], len(held.value)).tolist()
    return driving, initial


def found(text):
    """`.##.` to booleans."""
    return np.array([letter == "#" for letter in text])


def test_scenes_watch_finds_cuts():
    stream = scenes.Scenes()
    video = list(draw_video(20, 15, 10))
    passed = list(stream.watch(video))
    assert all(frame is original for frame, original in zip(passed, video, strict=True))
    assert stream.starts == [0, 20, 35]
    assert stream.describe_cuts("a.mp4") == "a.mp4: 2 cuts, at frames 20, 35; relative motion restarts there"
    assert list(stream.watch(video[:5])) and stream.starts == [0]
    assert stream.describe_cuts("a.mp4") is None


def test_scenes_watch_stops_or_continues():
    stream = scenes.Scenes("stop")
    assert len(list(stream.watch(draw_video(20, 15)))) == 20
    assert stream.starts == [0]
    assert stream.describe_cuts("a.mp4") == "a.mp4: stopped before the cut at frame 20"
    stream = scenes.Scenes("continue", starts=[0, 7])
    assert len(list(stream.watch(draw_video(20, 15)))) == 35
    assert stream.starts == [0]


def test_scenes_watch_needs_no_frames_ahead():
    stream, read = scenes.Scenes(), []

    def frames():
        for number, frame in enumerate(draw_video(12, 5)):
            read.append(number)
            yield frame

    for number, _ in enumerate(stream.watch(frames())):
        assert read[-1] == number


def test_scenes_restart_motion_at_cuts():
    assert advance(scenes.Scenes(starts=[0, 3, 6]), 8) == (list(range(8)), [0, 0, 0, 3, 3, 3, 6, 6])
    assert advance(scenes.Scenes("continue", starts=[0, 3]), 5) == (list(range(5)), [0] * 5)


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_scenes_do_not_depend_on_batches(batch):
    def clip(size):
        stream = scenes.Scenes(starts=[0, 3, 6], found=found(".#.#..#."))
        return advance(stream, 8, size)

    assert clip(batch) == clip(4)


def test_scenes_return_one_initial_frame_if_all_have_the_same():
    stream = scenes.Scenes(starts=[0, 6])
    assert stream.advance(numbered(4))[1].value.shape == (1, 3, 2)
    assert stream.advance(numbered(4))[1].value.shape == (4, 3, 2)
    assert scenes.Scenes().advance(numbered(4, jacobian=False))[1].jacobian is None


def test_scenes_start_at_best_frame_of_its_scene():
    stream = scenes.Scenes(starts=[0, 3, 6])
    stream.set_best(Keypoints(*(part[5:6] for part in numbered(8))), 5, [0, 3])
    assert advance(stream, 8) == (list(range(8)), [0, 0, 0, 5, 5, 5, 6, 6])
    stream = scenes.Scenes("continue")
    stream.set_best(Keypoints(*(part[5:6] for part in numbered(8))), 5, [0, 3])
    assert advance(stream, 8)[1] == [5] * 8


def test_scenes_hold_last_good_frame():
    stream = scenes.Scenes(found=found("##..#."))
    assert advance(stream, 7) == ([0, 1, 1, 1, 4, 4, 6], [0] * 7)
    assert stream.missing == 3
    text = "a.mp4: 3 of 7 frames show no face; motion holds the last good frame there"
    assert stream.describe_missing("a.mp4", "face") == text
    assert scenes.Scenes().describe_missing("a.mp4", "face") is None


def test_scenes_keep_pose_of_source_before_first_good_frame():
    """Each frame is its own start then, so that relative motion is zero; motion starts at the first good frame."""
    driving, initial = advance(scenes.Scenes(starts=[0, 4], found=found("..##.##")), 7)
    assert driving == [0, 1, 2, 3, 4, 5, 6]
    assert initial == [0, 1, 2, 2, 4, 5, 5]
    stream = scenes.Scenes(found=found(".###"))
    stream.set_best(Keypoints(*(part[2:3] for part in numbered(4))), 2)
    assert advance(stream, 4) == ([2, 1, 2, 3], [2] * 4)


def test_scenes_smooth_each_scene_from_its_first_good_frame():
    smooth = motion_filters.KeypointSmoother(1, 25)
    driving, initial = advance(scenes.Scenes(starts=[0, 4], found=found("#####.##"), smooth=smooth), 8)
    assert driving[0] == initial[0] == 0 and driving[4] == initial[4] == 4
    assert 0 < driving[3] < 3 and 4 < driving[7] < 7
    smooth = motion_filters.KeypointSmoother(1, 25)
    driving, initial = advance(scenes.Scenes(found=found("..##"), smooth=smooth), 4)
    assert driving[2] == initial[2] == initial[3] == 2
    assert driving[:2] == initial[:2]


def test_scenes_reject_unknown_choice():
    with pytest.raises(errors.UserError, match="`on_cut` must be restart, continue or stop; got 'skip'"):
        scenes.Scenes("skip")


@pytest.mark.parametrize("batch", [1, 3, 4, 10])
@pytest.mark.parametrize(
    ("count", "loop", "ping_pong"), [(7, 2, False), (7, 1, True), (7, 3, True), (2, 2, True), (1, 2, True)]
)
def test_repeat_motion_orders_frames(batch, count, loop, ping_pong):
    keypoints = numbered(count)
    batches = [
        (Keypoints(*(part[start : start + batch] for part in keypoints)), Keypoints(*(part[:1] for part in keypoints)))
        for start in range(0, count, batch)
    ]
    order = list(range(count)) + (list(range(count - 2, 0, -1)) if ping_pong else [])
    driving, lengths = [], []
    for part, initial in scenes.repeat_motion(batches, loop, ping_pong):
        assert len(initial.value) in (1, len(part.value)) and not initial.value.any()
        np.testing.assert_array_equal(part.jacobian[:, 0, 0, 1], part.value[:, 0, 0])
        driving += part.value[:, 0, 0].tolist()
        lengths.append(len(part.value))
    assert driving == loop * order and max(lengths) <= batch
    assert scenes.count_frames(count, loop, ping_pong) == len(driving)


def test_repeat_motion_reverses_initial_frames():
    keypoints = numbered(5)
    forward, backward = scenes.repeat_motion([(keypoints, keypoints)], 1, True)
    np.testing.assert_array_equal(backward[1].value[:, 0, 0], [3, 2, 1])
    driving, initial = scenes.cut_batch(*forward, 2)
    assert len(driving.value) == len(initial.value) == 2
    with pytest.raises(errors.UserError, match="`loop` must be 0 or more; got -1"):
        scenes.check_loop(-1, True)

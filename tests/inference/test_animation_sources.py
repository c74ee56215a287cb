"""Animations of drawn scenes: videos as source, loops, poses, motion files, and what is read how often."""

import dataclasses
import itertools
import json
import os
import pathlib
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from disc_scenes import HEIGHT, RADIUS, SIDE, WIDTH, center, centers, clip, run, walk
from drawn_discs import draw
from shifting_model import ShiftingModel

from fomm_tf import errors, video
from fomm_tf.inference import animation, framing, motion_files

pytestmark = pytest.mark.usefixtures("discs")


def test_animation_of_source_video_poses_each_frame():
    """The source moves down while the driving disc moves to the right: the result does both, as long as both last."""
    source = clip([draw((HEIGHT, WIDTH), (160, 60 + 4 * index, RADIUS))[0] for index in range(8)], "source.mp4")
    _, frames = run(source, clip(walk()), paste_back=True)
    assert len(frames) == 8
    places = centers(frames)
    assert places[-1, 0] - places[0, 0] > 10
    np.testing.assert_allclose(places[:, 1], 60 + 4 * np.arange(8), atol=1.5)
    still = np.all([frame.moment.original == 0 for frame in frames], axis=0).all(axis=-1)
    assert all((frame.result[still] == 0).mean() > 0.97 for frame in frames)


def test_animation_of_source_video_follows_the_object():
    source = [draw((HEIGHT, WIDTH), (50 + 9 * index, 90, 26))[0] for index in range(24)]
    _, frames = run(clip(source, "source.mp4"), clip(walk(24, 0)), follow=True, paste_back=True)
    assert len({frame.moment.squares[0] for frame in frames}) > 12
    for index, frame in enumerate(frames):
        np.testing.assert_allclose(center(frame.result), [50 + 9 * index, 90], atol=2.5)


def test_animation_of_source_video_needs_one_face():
    with pytest.raises(errors.UserError, match=r"`face` all needs an image as source; got the video clip.mp4"):
        run(clip(walk(3)), clip(walk(3)), face="all", paste_back=True)


def test_animation_loops_until_the_source_ends():
    source = clip([draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0]] * 11, "source.mp4")
    performance, frames = run(source, clip(walk(4)), loop=0)
    assert performance.frame_count == len(frames) == 11
    places = centers(frames)
    np.testing.assert_array_equal(places[:4], places[4:8])
    with pytest.raises(errors.UserError, match="`loop` 0 repeats the motion until the source video ends"):
        run(draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0], clip(walk(4)), loop=0)


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_animation_plays_ping_pong(count):
    source = draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0]
    performance, frames = run(source, clip(walk(count)), loop=2, ping_pong=True, smooth=1.0)
    forward = list(range(count))
    order = 2 * (forward + forward[-2:0:-1])
    assert performance.frame_count == len(frames) == len(order)
    for frame, index in zip(frames, order, strict=True):
        np.testing.assert_array_equal(frame.result, frames[index].result)


def test_animation_by_one_pose_puts_the_object_there():
    driving, ((left, _, right, _),) = draw((200, 200), (120, 100, 40))
    source = draw((200, 200), (80, 100, 40))[0]
    _, (frame,) = run(source, clip([driving]), mode="absolute", crop="none")
    np.testing.assert_allclose(center(frame.result)[0], (left + right) / 2 * SIDE / 200 - 0.5, atol=0.7)


def test_animation_of_motion_file_is_that_of_its_video():
    """With missing frames, a cut, crops, smoothing and strength."""
    second = [60 + draw((HEIGHT, WIDTH), (220 - 3 * index, 70, 40))[0] // 4 * 3 for index in range(5)]
    images = walk(6) + second
    images[3] = np.zeros_like(images[3])
    source = draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0]
    options = {"smooth": 1.0, "strength": 1.5, "paste_back": True, "best_frame": 1, "loop": 2}
    model, chosen = ShiftingModel(), framing.Framing(paste_back=True)
    performance = animation.Animation(
        model,
        source,
        "a.jpg",
        clip(images),
        model.config.animate,
        animation.MotionOptions(best_frame=1, smooth=1.0, strength=1.5, loop=2),
        chosen,
        4,
    )
    recorder = motion_files.MotionRecorder(Fraction(25), model.weights_sha256())
    expected = [frame.result for frame in performance.frames(recorder)]
    motion = performance.finish_motion(recorder)
    assert motion.found.tolist() == [index != 3 for index in range(11)] and len(motion.starts) > 1
    _, frames = run(source, motion, **options)
    assert len(frames) == len(expected) == 22
    for frame, same in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.result, same)


def test_animation_reads_each_driving_frame_once_more_per_choice():
    """Crops, best frame and its keypoints take a pass each, and the animation one."""
    passes = itertools.count()
    images = walk(6)

    def read():
        next(passes)
        return iter(images)

    driving = video.Video(pathlib.Path("clip.mp4"), Fraction(25), (HEIGHT, WIDTH), 6, False, read)
    source = draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0]
    run(source, driving, best_frame=2)
    assert next(passes) == 3


@pytest.mark.slow
def test_animation_memory_is_flat_with_all_options():
    script = pathlib.Path(__file__).with_name("measure_memory.py")
    path = os.pathsep.join([str(script.parents[2]), str(script.parents[1])])
    done = subprocess.run(
        [sys.executable, str(script), "4800"], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["frames"] == 4800
    # Crops, best frame and animation.
    assert len(measured["passes"]) >= 3
    for resident in measured["passes"]:
        if len(resident) < 20:  # up to the best frame
            continue
        assert max(resident[6:]) - resident[5] < 30, resident


def record(images):
    """The motion file of a clip."""
    model = ShiftingModel()
    recorder = motion_files.MotionRecorder(Fraction(25), model.weights_sha256())
    performance = animation.Animation(
        model, draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0], "a.jpg", clip(images), model.config.animate
    )
    list(performance.frames(recorder))
    return performance.finish_motion(recorder)


@pytest.mark.parametrize(("found", "best"), [(None, 1), ([True, False, True, True], 2)])
def test_animation_finds_the_best_frame_of_a_motion_file(found, best):
    """By its keypoints; those of a frame without the object do not count."""
    motion, lines = record(walk(4)), []
    value = motion.value * np.float32([[[1, 2]], [[1, 1]], [[1, 1.2]], [[1, 3]]])
    motion = motion._replace(value=value, found=None if found is None else np.array(found))
    performance, _ = run(draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0], motion, best_frame="auto", report=lines.append)
    assert performance.best == best
    assert lines[1].startswith(f"best frame: {best}, whose keypoints are closest to the source's")


def test_animation_rejects_a_best_frame_behind_the_motion_file():
    with pytest.raises(
        errors.UserError, match="best_frame is 4, counted from 0, but the motion file has 4 frames; give a smaller"
    ):
        run(draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0], record(walk(4)), best_frame=4)


@pytest.mark.parametrize(("loop", "length", "expected"), [(1, None, None), (1, 3, None), (0, 3, 3)])
def test_frame_count_of_a_driving_video_of_unknown_length(loop, length, expected):
    """It is known only where the motion is repeated until the source video ends."""
    driving = dataclasses.replace(clip(walk(4)), frame_count=None)
    still = draw((HEIGHT, WIDTH), (160, 90, RADIUS))[0]
    source = still if length is None else clip([still] * length, "source.mp4")
    performance, frames = run(source, driving, loop=loop)
    assert performance.frame_count == expected
    assert len(frames) == (length or 4)


def test_animation_pastes_back_with_the_colors_of_each_scene():
    """The second scene of the source is pasted as if it were the only one: no mean of colors lasts over the cut."""
    first, second = ([shade + draw((HEIGHT, WIDTH), (x, 90, RADIUS))[0] // 2] * 3 for shade, x in ((0, 60), (90, 240)))
    _, both = run(clip(first + second, "source.mp4"), clip(walk(6, 0)), follow=True, paste_back=True)
    assert [frame.moment.scene for frame in both] == [0, 0, 0, 1, 1, 1]
    _, alone = run(clip(second, "source.mp4"), clip(walk(3, 0)), follow=True, paste_back=True)
    np.testing.assert_array_equal(both[3].result, alone[0].result)

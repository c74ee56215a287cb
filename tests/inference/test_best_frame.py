"""The driving frame whose pose is closest to the source's."""

import numpy as np
import pytest
import scipy.spatial

from fomm_tf import detectors, errors
from fomm_tf.inference import quality

POINTS = np.random.default_rng(3).normal(size=[68, 2])


def pose(angle, stretch=1.0, scale=1.0, offset=0.0):
    """The points, turned and stretched as by a nod, at some place and size."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * (POINTS * [1, stretch]) @ turn.T + offset


def draw_clip(frames=90):
    """Poses over time at changing places and sizes."""
    seconds = np.arange(frames) / 25
    return np.stack([pose(0.5 * np.sin(3 * t), 1 + 0.2 * np.cos(2 * t), 40 + 9 * t, 100 + 20 * t) for t in seconds])


def reference_distance(source, driving):
    """The reference's `find_best_frame`, with its sum of squares."""
    shapes = []
    for points in (source, driving):
        points = points - points.mean(axis=0, keepdims=True)
        shapes.append(points / np.sqrt(scipy.spatial.ConvexHull(points).volume))
    return ((shapes[0] - shapes[1]) ** 2).sum()


def search(source, driving, in_source=None, in_driving=None):
    finder = quality.BestFrameSearch(source, in_source)
    finder.add(driving, in_driving)
    return finder.result("clip.mp4")


def test_best_frame_is_that_of_reference():
    source, clip = pose(0.3, 0.9), draw_clip()
    distances = np.array([reference_distance(source, driving) for driving in clip])
    found = search(source, clip)
    assert found.index == distances.argmin()
    np.testing.assert_allclose(found.distance, np.sqrt(distances.min() / len(POINTS)), rtol=1e-5)
    np.testing.assert_allclose(found.first, np.sqrt(distances[0] / len(POINTS)), rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_best_frame_from_noisy_landmarks_is_close_to_best(seed):
    """Landmarks with errors of 1 % of the object find a frame whose true distance is within 5 % of the best one's."""
    rng = np.random.default_rng(seed)
    source, clip = pose(rng.uniform(-0.4, 0.4), rng.uniform(0.9, 1.3)), draw_clip()
    true = np.array([np.sqrt(reference_distance(source, driving)) for driving in clip])
    noise = rng.normal(0, 0.01, clip.shape) * np.ptp(clip, axis=(1, 2), keepdims=True) / 2
    assert true[search(source, clip + noise).index] <= 1.05 * true.min()


def test_best_frame_ignores_place_and_size():
    clip = np.stack([pose(0.4), pose(0.1, 1, 7, -3), pose(-0.4)])
    found = search(pose(0.1), clip)
    assert found.index == 1 and found.distance == pytest.approx(0, abs=1e-6)


def test_best_frame_skips_frames_without_object():
    clip = np.stack([pose(0.2), pose(0.2), pose(0.4), pose(0.25)])
    clip[0] = np.nan
    visibility = np.ones(clip.shape[:2])
    visibility[1] = 0.2
    found = search(pose(0.2), clip, in_driving=visibility)
    assert (found.index, found.skipped, found.frames) == (3, 2, 4)
    assert np.isnan(found.first)
    text = found.describe("face landmarks")
    assert text.startswith("best frame: 3, whose face landmarks are closest to the source's (distance 0.0")
    assert text.endswith("); 2 of 4 frames without visible face landmarks were skipped")


def test_best_frame_compares_points_visible_in_both():
    visible = np.ones(len(POINTS))
    visible[:20] = 0
    source = pose(0.2)
    source[:20] = 1e3
    assert search(source, np.stack([pose(0.5), pose(0.2)]), in_source=visible).distance == pytest.approx(0, abs=1e-6)
    few = np.zeros([1, len(POINTS)])
    few[0, 20:40] = 1
    with pytest.raises(errors.UserError):  # less than half of what the source shows
        search(source, pose(0.2)[np.newaxis], in_source=visible, in_driving=few)


def test_best_frame_does_not_depend_on_batches():
    clip = draw_clip(20)
    finder = quality.BestFrameSearch(pose(0.3))
    for start in range(0, 20, 7):
        finder.add(clip[start : start + 7])
    assert finder.result() == search(pose(0.3), clip)


def test_find_best_frame_reads_clip_once():
    """Frames are stand-ins that hold the index of their pose."""
    poses = [pose(0.2), *draw_clip(20)]
    seen = []

    def detect(frames):
        seen.extend(int(frame[0, 0, 0]) for frame in frames)
        value = np.stack([poses[int(frame[0, 0, 0])] for frame in frames])
        return detectors.Points(value, np.ones(value.shape[:2]))

    images = [np.full([1, 1, 3], index, np.uint8) for index in range(21)]
    found = quality.find_best_frame(images[0], iter(images[1:]), detect)
    assert found == search(poses[0], np.stack(poses[1:]))
    assert seen == list(range(21))
    poses[0] = np.full_like(POINTS, np.nan)
    assert quality.find_best_frame(images[0], iter(images[1:]), detect) is None


def test_best_frame_describes_first_frame_and_others():
    clip = np.stack([pose(0.4), pose(0.1)])
    assert "; frame 0: " in search(pose(0.1), clip).describe("keypoints")
    assert search(pose(0.4), clip).describe("keypoints").endswith("(distance 0.000)")


def test_best_frame_rejects_clip_without_object():
    with pytest.raises(errors.UserError, match=r"`best_frame` auto: none of the 3 frames of clip.mp4 shows the object"):
        search(pose(0), np.full([3, *POINTS.shape], np.nan))
    with pytest.raises(errors.UserError, match="none of the 0 frames"):
        quality.BestFrameSearch(pose(0)).result()


@pytest.mark.parametrize(
    "source", [np.full([5, 2], np.nan), np.zeros([5, 2]), np.arange(5)[:, np.newaxis] * [1.0, 2.0], POINTS[:2]]
)
def test_best_frame_needs_points_of_source(source):
    finder = quality.BestFrameSearch(source)
    assert not finder.is_possible
    finder.add(np.broadcast_to(source, [2, *source.shape]))
    with pytest.raises(errors.UserError):
        finder.result()
    assert quality.BestFrameSearch(POINTS).is_possible

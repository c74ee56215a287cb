"""Filters of keypoints: jitter, lag, scenes, strength of motion."""

import numpy as np
import pytest

from fomm_tf import errors, motion_filters
from fomm_tf.structures import Keypoints

FPS = 25


def draw_motion(frames=250, points=10):
    """Keypoints that nod, turn and rest, and their Jacobians that rotate."""
    seconds = np.arange(frames)[:, np.newaxis] / FPS
    phase = np.linspace(0, 3, points)
    moving = np.clip(np.sin(0.5 * seconds) * 3, 0, 1)  # rests of several seconds
    angle = moving * 0.4 * np.sin(3 * seconds + phase)
    value = np.stack([angle, 0.5 * angle + 0.1 * phase], axis=-1)
    cosine, sine = np.cos(angle), np.sin(angle)
    jacobian = np.stack([np.stack([cosine, -sine], axis=-1), np.stack([sine, cosine], axis=-1)], axis=-2)
    return Keypoints(value.astype(np.float32), jacobian.astype(np.float32))


def add_noise(keypoints, deviation=0.01):
    rng = np.random.default_rng(0)
    return Keypoints(*((part + rng.normal(0, deviation, part.shape)).astype(np.float32) for part in keypoints))


def measure_jitter(part, truth):
    """Root mean square of the change from frame to frame that is not in the true motion."""
    return np.sqrt(np.square(np.diff(part - truth, axis=0)).mean())


def measure_lag(part, truth, most=6):
    """The delay in frames at which the true motion is closest to `part`."""
    delayed = {lag: part[most:] - truth[most - lag : len(truth) - lag] for lag in range(most)}
    return min(delayed, key=lambda lag: np.square(delayed[lag]).sum())


def test_keypoint_smoother_halves_jitter_with_little_lag():
    truth = draw_motion()
    noisy = add_noise(truth)
    smooth = motion_filters.KeypointSmoother(1, FPS)(noisy)
    for part, before, true in zip(smooth, noisy, truth, strict=True):
        assert measure_jitter(part, true) <= 0.5 * measure_jitter(before, true)
        assert measure_lag(part, true) <= 2


def test_keypoint_smoother_lags_little_in_fast_motion():
    seconds = np.arange(100)[:, np.newaxis, np.newaxis] / FPS
    truth = 0.5 * np.sin(2 * np.pi * seconds) * np.ones([1, 4, 2])
    smooth = motion_filters.KeypointSmoother(1, FPS)(Keypoints(truth, None))
    assert measure_lag(smooth.value, truth) <= 1
    assert smooth.jacobian is None


def test_keypoint_smoother_is_causal_and_independent_of_batches():
    noisy = add_noise(draw_motion(40))
    whole = motion_filters.KeypointSmoother(2, FPS)(noisy)
    smoother = motion_filters.KeypointSmoother(2, FPS)
    for start, stop in ((0, 1), (1, 8), (8, 9), (9, 30)):  # the last ten frames are not read
        batch = smoother(Keypoints(*(part[start:stop] for part in noisy)))
        for part, expected in zip(batch, whole, strict=True):
            np.testing.assert_array_equal(part, expected[start:stop])


def test_keypoint_smoother_restarts_at_scene():
    noisy = add_noise(draw_motion(20))
    smooth = motion_filters.KeypointSmoother(1, FPS)(noisy, starts=[12])
    alone = motion_filters.KeypointSmoother(1, FPS)(Keypoints(*(part[12:] for part in noisy)))
    np.testing.assert_array_equal(smooth.value[12:], alone.value)
    np.testing.assert_array_equal(smooth.jacobian[12], noisy.jacobian[12])


def test_keypoint_smoother_of_higher_strength_smooths_more():
    truth = Keypoints(np.zeros([100, 3, 2], np.float32), np.zeros([100, 3, 2, 2], np.float32))
    noisy = add_noise(truth)
    jitter = [
        measure_jitter(motion_filters.KeypointSmoother(strength, FPS)(noisy).value, 0) for strength in (0.2, 1, 5)
    ]
    assert jitter[0] > 1.5 * jitter[1] and jitter[1] > 1.5 * jitter[2]


def test_one_euro_filter_matches_algorithm_1():
    rng = np.random.default_rng(1)
    samples = rng.normal(size=30).cumsum()
    filter_ = motion_filters.OneEuroFilter(60, 1.3, 0.7)
    value, speed = samples[0], 0.0
    assert filter_(samples[:1]) == value
    for sample in samples[1:]:
        step = 1 / 60
        change = (sample - value) / step
        weight = 1 / (1 + (1 / (2 * np.pi * 2.0)) / step)
        speed = weight * change + (1 - weight) * speed
        weight = 1 / (1 + (1 / (2 * np.pi * (1.3 + 0.7 * abs(speed)))) / step)
        value = weight * sample + (1 - weight) * value
        np.testing.assert_allclose(filter_([sample]), [value], rtol=1e-12)


def test_one_euro_filter_keeps_direction():
    line = np.linspace(0, 1, 20)[:, np.newaxis] * [3.0, 4.0]
    filter_ = motion_filters.OneEuroFilter(FPS)
    filtered = np.array([filter_(point) for point in line])
    np.testing.assert_allclose(filtered[:, 0] * 4, filtered[:, 1] * 3, atol=1e-12)


@pytest.mark.parametrize("strength", [0, -1, 11, float("nan")])
def test_keypoint_smoother_rejects_strength(strength):
    with pytest.raises(errors.UserError, match="`smooth` must be above 0 and at most 10; got"):
        motion_filters.KeypointSmoother(strength, FPS)


def test_scale_motion_interpolates_and_extrapolates():
    source = Keypoints(np.zeros([1, 2, 2]), np.eye(2) * np.ones([1, 2, 1, 1]))
    moved = Keypoints(np.full([3, 2, 2], 0.2), 1.5 * np.eye(2) * np.ones([3, 2, 1, 1]))
    assert motion_filters.scale_motion(source, moved, 1) is moved
    still, strong = (motion_filters.scale_motion(source, moved, strength) for strength in (0, 2))
    np.testing.assert_array_equal(still.value, 0 * moved.value)
    np.testing.assert_allclose(strong.value, 0.4)
    np.testing.assert_allclose(strong.jacobian, 2 * np.eye(2) * np.ones([3, 2, 1, 1]))
    assert motion_filters.scale_motion(Keypoints(source.value, None), Keypoints(moved.value, None), 2).jacobian is None


@pytest.mark.parametrize("strength", [-0.1, float("inf"), float("nan")])
def test_scale_motion_rejects_strength(strength):
    keypoints = draw_motion(2)
    with pytest.raises(errors.UserError, match="`motion_strength` must be 0 or more; got"):
        motion_filters.scale_motion(keypoints, keypoints, strength)

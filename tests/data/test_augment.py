"""How pairs are varied: what is drawn, and what it does."""

import colorsys

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import config
from fomm_tf.data import augment

ALL = config.AugmentConfig(
    brightness=0.4, contrast=0.3, saturation=0.2, hue=0.1, resize=(0.8, 1.3), crop=True, time_flip=False
)
NOTHING = augment.AugmentParams(0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.5, 0.5)
DRAWS = 10_000


def drawn(**changes):
    numbers = np.random.default_rng(0).random([DRAWS, augment.NUM_UNIFORMS])
    return augment.sample(config.AugmentConfig(**changes), numbers)


def image(height=24, width=32, seed=0):
    return np.random.default_rng(seed).random([height, width, 3], np.float32)


def applied(frame, settings=ALL, **changes):
    variation = augment.AugmentParams(*(tf.constant(value, tf.float32) for value in NOTHING._replace(**changes)))
    return augment.apply(settings, variation, tf.constant(frame)).numpy()


def close_to(share):
    """Within four standard deviations of a share of `DRAWS`."""
    return pytest.approx(share, abs=4 * np.sqrt(0.25 / DRAWS))


def test_sample_both_flips_are_exclusive():
    params = drawn()
    assert params.reverse.mean() == close_to(0.5)
    assert params.mirror.mean() == close_to(0.25)
    assert not (params.reverse * params.mirror).any()


@pytest.mark.parametrize(
    ("flips", "shares"), [((True, False), (0.5, 0)), ((False, True), (0, 0.5)), ((False, False), (0, 0))]
)
def test_sample_single_flip_has_probability_half(flips, shares):
    params = drawn(time_flip=flips[0], horizontal_flip=flips[1])
    assert params.reverse.mean() == close_to(shares[0])
    assert params.mirror.mean() == close_to(shares[1])


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize(("most", "low", "high"), [(0.1, 0.9, 1.1), (1.5, 0.0, 2.5), (0.0, 1.0, 1.0)])
def test_sample_factors_are_uniform_and_nonnegative(name, most, low, high):
    assert_uniform(getattr(drawn(**{name: most}), name), low, high)


@pytest.mark.parametrize("most", [0.0, 0.1, 0.5])
def test_sample_hue_is_uniform_around_zero(most):
    assert_uniform(drawn(hue=most).hue, -most, most)


def test_sample_scale_and_crop_are_uniform_or_fixed():
    params = drawn(resize=(0.9, 1.1), crop=True)
    assert_uniform(params.scale, 0.9, 1.1)
    assert_uniform(params.top, 0, 1)
    assert_uniform(params.left, 0, 1)
    fixed = drawn()
    assert set(fixed.scale) == {1} and set(fixed.top) == set(fixed.left) == {0.5}


def assert_uniform(values, low, high):
    assert values.min() >= np.float32(low) and values.max() <= np.float32(high)
    shares = np.sort(values) if high == low else (np.sort(values) - low) / (high - low)
    if high > low:  # Kolmogorov-Smirnov at 1e-4
        assert np.abs(shares - np.linspace(0, 1, DRAWS)).max() < 2.2 / np.sqrt(DRAWS)


def test_sample_values_are_independent():
    params = drawn(time_flip=False, brightness=0.1, contrast=0.1, saturation=0.1, hue=0.1, resize=(0.9, 1.1), crop=True)
    correlation = np.corrcoef(np.stack(params[1:]))
    assert np.abs(correlation - np.eye(len(correlation))).max() < 4.5 / np.sqrt(DRAWS)


def test_sample_enabling_one_does_not_change_others():
    plain, more = drawn(brightness=0.1), drawn(brightness=0.1, hue=0.2, resize=(0.9, 1.1), crop=True)
    assert np.array_equal(plain.brightness, more.brightness) and np.array_equal(plain.mirror, more.mirror)


def test_apply_identity_params_keeps_frame():
    frame = image()
    np.testing.assert_allclose(applied(frame), frame, atol=2e-6)
    assert np.array_equal(applied(frame, config.AugmentConfig()), frame)


def test_apply_mirror_flips_frame():
    frame = image()
    assert np.array_equal(applied(frame, config.AugmentConfig(), mirror=1.0), frame[:, ::-1])


@pytest.mark.parametrize("factor", [0.3, 1.4])
def test_apply_jitter_matches_torchvision(factor):
    frame = image()
    gray = frame @ np.array([0.299, 0.587, 0.114])
    cases = {
        "brightness": frame * factor,
        "contrast": gray.mean() + factor * (frame - gray.mean()),
        "saturation": gray[..., None] + factor * (frame - gray[..., None]),
    }
    for name, expected in cases.items():
        got = applied(frame, config.AugmentConfig(**{name: 0.5}), **{name: factor})
        np.testing.assert_allclose(got, np.clip(expected, 0, 1), atol=2e-6, err_msg=name)


@pytest.mark.parametrize("shift", [-0.5, -0.1, 0.3])
def test_apply_hue_rotates_color_circle(shift):
    frame = image(6, 5)
    expected = np.zeros_like(frame)
    for place in np.ndindex(frame.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*frame[place])
        expected[place] = colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value)
    np.testing.assert_allclose(applied(frame, config.AugmentConfig(hue=0.5), hue=shift), expected, atol=1e-5)


@pytest.mark.parametrize(("top", "left"), [(0.0, 0.0), (1.0, 0.0), (0.5, 1.0)])
def test_apply_scale_crops_or_pads_with_edge(top, left):
    frame = image()
    settings = config.AugmentConfig(resize=(0.5, 2), crop=True)
    large = tf.image.resize(frame, [48, 64], antialias=True).numpy()
    row, column = int(24 * top), int(32 * left)
    got = applied(frame, settings, scale=2.0, top=top, left=left)
    np.testing.assert_allclose(got, large[row : row + 24, column : column + 32], atol=1e-6)
    small = tf.image.resize(frame, [12, 16], antialias=True).numpy()
    above, before = 12 - int(12 * (1 - top)), 16 - int(16 * (1 - left))
    padded = np.pad(small, [(above, 12 - above), (before, 16 - before), (0, 0)], mode="edge")
    np.testing.assert_allclose(applied(frame, settings, scale=0.5, top=top, left=left), padded, atol=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_apply_any_params_yield_valid_frames(seed):
    settings = config.AugmentConfig(
        brightness=2.0, contrast=2.0, saturation=2.0, hue=0.5, resize=(0.3, 3.0), crop=bool(seed % 2)
    )
    variation = augment.sample(settings, np.random.default_rng(seed).random(augment.NUM_UNIFORMS))
    for frame in (image(seed=seed), np.zeros([24, 32, 3], np.float32), np.ones([24, 32, 3], np.float32)):
        result = augment.apply(
            settings, augment.AugmentParams(*map(tf.constant, variation)), tf.constant(frame)
        ).numpy()
        assert result.shape == frame.shape and result.dtype == np.float32
        assert np.isfinite(result).all() and result.min() >= 0 and result.max() <= 1


def test_apply_of_disabled_augmentations_keeps_the_frame_whatever_the_params():
    frame, nothing = image(), config.AugmentConfig(horizontal_flip=False, time_flip=False)
    assert np.array_equal(applied(frame, nothing, mirror=1.0, brightness=0.5, hue=0.3, scale=0.7, top=1.0), frame)

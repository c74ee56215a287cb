"""Image metrics against scikit-image; coverage of the bootstrap intervals."""

import numpy as np
import pytest
import skimage.metrics

from fomm_tf.evaluation import metrics


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    expected = rng.uniform(size=[3, 24, 32, 3]).astype(np.float32)
    return np.clip(expected + rng.normal(0, 0.1, expected.shape), 0, 1).astype(np.float32), expected


def test_l1_is_the_mean_absolute_difference():
    expected = np.zeros([2, 2, 2, 3])
    predicted = expected.copy()
    predicted[1, 0, 0] = [1.0, 0.5, 0.0]
    np.testing.assert_allclose(metrics.l1(predicted, expected), [0.0, 1.5 / 12])


def test_psnr_and_ssim_match_scikit_image(frames):
    predicted, expected = frames
    for number, (one, other) in enumerate(zip(predicted, expected, strict=True)):
        peak = skimage.metrics.peak_signal_noise_ratio(other, one, data_range=1.0)
        assert metrics.psnr(predicted, expected)[number] == pytest.approx(peak, abs=1e-5)
        # TensorFlow's mean leaves the pixels out whose window reaches beyond the frame, as Wang et al. do.
        gaussian = {"gaussian_weights": True, "use_sample_covariance": False}
        _, places = skimage.metrics.structural_similarity(
            other, one, data_range=1.0, channel_axis=2, full=True, **gaussian
        )
        assert metrics.ssim(predicted, expected)[number] == pytest.approx(places[5:-5, 5:-5].mean(), abs=1e-5)


def test_metrics_of_equal_frames(frames):
    _, expected = frames
    assert metrics.l1(expected, expected).max() == 0
    assert np.isinf(metrics.psnr(expected, expected)).all()
    np.testing.assert_allclose(metrics.ssim(expected, expected), 1.0, rtol=1e-6)


def test_bootstrap_interval_covers_the_mean():
    rng = np.random.default_rng(1)
    found = [metrics.bootstrap(rng.normal(5, 1, 40)) for _ in range(200)]
    assert 0.88 <= np.mean([interval.low <= 5 <= interval.high for interval in found]) <= 0.98
    widths = [interval.high - interval.low for interval in found]
    assert np.mean(widths) == pytest.approx(2 * 1.96 / 40**0.5, rel=0.1)


def test_bootstrap_ratio_is_a_ratio_of_means():
    errors, baseline = np.array([1.0, 4.0]), np.array([2.0, 8.0])
    assert metrics.bootstrap(errors, baseline) == pytest.approx((0.5, 0.5, 0.5))
    assert metrics.bootstrap(np.array([1.0, 1.0]), np.array([1.0, 3.0])).value == pytest.approx(0.5)


def test_bootstrap_rejects_no_clip():
    with pytest.raises(ValueError, match="at least one clip"):
        metrics.bootstrap(np.zeros(0))
    assert f"{metrics.Interval(0.51234, 0.5, 0.6):.2f}" == "0.51 (0.50 to 0.60)"

"""Validation on unseen clips, and sample grids."""

import numpy as np
import pytest

from fomm_tf import checkpoint, visualize
from fomm_tf.data import frames
from fomm_tf.inference import animator
from fomm_tf.training import samples

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def index(puppets):
    return frames.load(puppets, "train", (32, 32))


@pytest.fixture(scope="module")
def run(make_config):
    return checkpoint.build(make_config())


def expected(run, clips, numbers):
    """The score by the animator, frame by frame."""
    shown, l1, source_copy = animator.Animator(run.model, run.config), [], []
    for clip in clips:
        source = shown.encode_source(clip.frame(0))
        for number in numbers:
            driving = clip.frame(number)
            prediction = shown.render(source, shown.detect(driving[np.newaxis])).prediction[0].numpy()
            l1.append(np.abs(prediction - driving / 255).mean())
            source_copy.append(np.abs(clip.frame(0) / 255 - driving / 255).mean())
    return np.mean(l1), np.mean(source_copy)


@pytest.mark.parametrize(
    ("count", "clips", "numbers"),
    [(1000, range(6), range(1, 6)), (12, range(6), (1, 5)), (1, (0,), (1,)), (2, (0, 5), (1,))],
)
def test_validator_score_equals_the_animator_frame_by_frame(count, clips, numbers, index, run):
    score = samples.Validator(run.model, index, count)()
    chosen = [index.clips[number] for number in clips]
    np.testing.assert_allclose(score, expected(run, chosen, numbers), rtol=1e-5)


def test_validator_is_deterministic(index, run):
    validator = samples.Validator(run.model, index, 12)
    assert validator() == validator() == samples.Validator(run.model, index, 12)()


def test_sample_grid_has_a_row_per_clip(index, run):
    grid = samples.SampleGrid(run.model, index).draw()
    assert grid.shape == (4 * 32, 6 * 32, 3) and grid.dtype == np.uint8
    shown = animator.Animator(run.model, run.config)
    clip = index.clips[5]
    source, driving = clip.frame(0), clip.frame(4)
    row = grid[-32:]
    keypoints = shown.detect(np.stack([source, driving]))
    assert np.array_equal(row[:, :32], visualize.draw_keypoints(source, *keypoints.frame(0)))
    assert np.array_equal(row[:, 32:64], visualize.draw_keypoints(driving, *keypoints.frame(1)))
    prediction = shown.render(shown.encode_source(source), keypoints).prediction[1].numpy()
    np.testing.assert_allclose(row[:, 64:96], prediction * 255, atol=0.6)


def test_sample_grid_without_occlusion_has_five_panels(index, make_config):
    model = checkpoint.build(make_config("model.occlusion=false", "model.jacobian=false")).model
    assert samples.SampleGrid(model, index).draw().shape == (4 * 32, 5 * 32, 3)

"""Ground truth of puppets: the dense flow, what is disoccluded, true transfer, and how hard the default set is."""

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf.data import puppets
from fomm_tf.data.puppets import figure, truth
from fomm_tf.ops import grid as grid_ops
from fomm_tf.ops import warp

pytestmark = pytest.mark.slow


def _pairs(count, start=0):
    """Identities with two random moments of a clip of each."""
    generator = np.random.default_rng(start)
    for seed in range(start, start + count):
        poses = puppets.sample_motion(seed, 64)
        yield puppets.sample_identity(seed), *(poses[i] for i in generator.choice(64, 2, replace=False))


def _warp(frame, grid):
    return warp.backward_warp(frame[None].astype(np.float32), grid[None], padding="border")[0].numpy()


@pytest.mark.parametrize(("size", "count", "most_at_edges"), [(64, 60, 0.21), (128, 30, 0.15), ((64, 96), 20, 0.21)])
def test_a_frame_warped_by_the_true_flow_is_the_other_frame_outside_disoccluded_pixels(size, count, most_at_edges):
    errors, unwarped, at_edges = [], [], []
    for identity, first, second in _pairs(count):
        flow = puppets.flow(identity, first, second, size)
        before, after = (puppets.draw(identity, pose, size) for pose in (first, second))
        kept = flow.visible & ~flow.edge
        errors.append(np.abs(_warp(before, flow.grid) - after)[kept].mean())
        unwarped.append(np.abs(before.astype(float) - after)[kept].mean())
        at_edges.append((flow.visible & flow.edge).mean())
    assert np.mean(errors) < 1.0
    assert np.max(errors) < 4.0
    assert np.mean(unwarped) > 5 * np.mean(errors)
    assert np.mean(at_edges) < most_at_edges


def test_the_error_stays_small_with_the_edges_and_large_where_pixels_are_disoccluded():
    seen, hidden = [], []
    for identity, first, second in _pairs(30):
        flow = puppets.flow(identity, first, second, 128)
        before, after = (puppets.draw(identity, pose, 128) for pose in (first, second))
        error = np.abs(_warp(before, flow.grid) - after).mean(axis=-1)
        seen.append(error[flow.visible].mean())
        hidden.append(error[~flow.visible].mean())
    assert np.mean(seen) < 3
    assert np.mean(hidden) > 20


@pytest.mark.parametrize("size", [48, (40, 72)])
def test_the_flow_of_a_frame_to_itself_is_the_identity_grid_and_hides_nothing(size):
    height, width = (size, size) if isinstance(size, int) else size
    for identity, pose, _ in _pairs(6):
        flow = puppets.flow(identity, pose, pose, size)
        np.testing.assert_allclose(flow.grid, grid_ops.identity_grid(height, width), atol=1e-6)
        assert flow.visible.all()
        assert not flow.edge.any()


def test_the_flow_of_a_background_that_pans_and_zooms_is_that_map_and_what_was_out_of_the_frame_is_disoccluded():
    away = puppets.Pose(x=9.0)
    flow = puppets.flow(puppets.sample_identity(0), away, away._replace(pan_x=0.1, pan_y=-0.05, zoom=1.25), (32, 64))
    edges = grid_ops.identity_grid(32, 64).numpy() * np.array([63 / 64, 31 / 32])  # -1 and 1 at the frame's edges
    expected = (edges - (0.1, -0.05)) / 1.25
    np.testing.assert_allclose(flow.grid * np.array([63 / 64, 31 / 32]), expected, atol=1e-6)
    np.testing.assert_array_equal(flow.visible, (np.abs(expected) <= 1).all(axis=-1))
    assert not flow.edge.any()
    shifted = puppets.flow(puppets.sample_identity(0), away, away._replace(pan_x=0.1), 64)
    assert shifted.visible.mean() == pytest.approx(1 - 0.1 / 2, abs=0.02)


def test_the_flow_carries_joints_to_where_they_come_from():
    misses = []
    for identity, first, second in _pairs(40):
        flow = puppets.flow(identity, first, second, 128)
        before, after = (puppets.label(identity, pose, 128) for pose in (first, second))
        for name in ("chest", "left_hand", "right_hand", "nose"):
            number = puppets.JOINTS.index(name)
            column, row = np.round((after.value[number] + 1) / 2 * 127).astype(int)
            if after.visible[number] and before.visible[number]:
                offset = flow.grid[row, column] - before.value[number]
                misses.append(np.linalg.norm(offset) / 2)
    assert len(misses) > 60
    assert np.median(misses) < 0.01
    assert np.mean(np.array(misses) < 0.02) > 0.9


def test_what_an_arm_hid_is_disoccluded_when_it_goes_and_not_the_other_way_round():
    identity = puppets.sample_identity(0)
    aside = puppets.Pose(left_shoulder=1.6)
    before = aside._replace(left_shoulder=0.0, left_elbow=-1.9)
    chest = puppets.label(identity, before, 128).value[puppets.JOINTS.index("left_hand")]
    column, row = np.round((chest + 1) / 2 * 127).astype(int)
    assert not puppets.flow(identity, before, aside, 128).visible[row, column]
    assert puppets.flow(identity, aside, aside, 128).visible[row, column]
    # The hand that comes before the chest shows in both frames.
    assert puppets.flow(identity, aside, before, 128).visible[row, column]


def test_turns_are_those_of_tensorflow_graphics_and_an_inverse_undoes_its_map():
    from tensorflow_graphics.geometry.transformation import rotation_matrix_2d  # imports for seconds

    for angle in (-2.5, -0.3, 0.0, 0.7, 3.0):
        turn = figure._turn(angle, 1.5)
        matrix = rotation_matrix_2d.from_euler(tf.constant([angle], tf.float64)).numpy()
        np.testing.assert_allclose([[turn.xx, turn.xy], [turn.yx, turn.yy]], 1.5 * matrix, atol=1e-12)
        moved = figure.Affine(x0=0.2, y0=-3.0).of(turn)
        np.testing.assert_allclose(moved.inverse().of(moved), figure.Affine(), atol=1e-12)
        np.testing.assert_allclose(moved.at(1.0, 2.0), 1.5 * matrix @ (1, 2) + (0.2, -3.0), atol=1e-12)


def test_a_true_transfer_begins_with_the_image_and_goes_on_as_the_driving_clip_does():
    identity, driving = puppets.sample_identity(3), puppets.sample_identity(4)
    poses = puppets.sample_motion(5, 6)
    transfer = puppets.draw_transfer(identity, driving, poses, (40, 48))
    assert transfer.driving.shape == transfer.expected.shape == (6, 40, 48, 3)
    np.testing.assert_array_equal(transfer.source, transfer.expected[0])
    np.testing.assert_array_equal(transfer.source, puppets.draw(identity, poses[0], (40, 48)))
    np.testing.assert_array_equal(transfer.driving[5], puppets.draw(driving, poses[5], (40, 48)))
    np.testing.assert_array_equal(transfer.expected[5], puppets.draw(identity, poses[5], (40, 48)))


@pytest.mark.slow
def test_a_pair_of_the_default_clips_moves_by_eight_percent_and_disoccludes_three_to_fifteen():
    measured = [
        truth.measure_clip(puppets.sample_identity(1000 + seed), puppets.sample_motion(2000 + seed, 64), (64, 64), seed)
        for seed in range(120)
    ]
    motion, disoccluded = np.mean(measured, axis=0)
    assert 0.10 < motion < 0.14
    assert 0.03 < disoccluded < 0.15
    assert np.quantile([one.motion for one in measured], 0.05) > 0.05


@pytest.mark.slow
def test_no_two_of_a_thousand_identities_are_nearer_than_four_gray_levels():
    """Over the whole frame, before the same background."""
    assert truth.measure_nearest(puppets.sample_identity(seed) for seed in range(1000)) > 4


def test_the_distance_of_identities_is_the_mean_difference_of_the_two_most_alike():
    identity = puppets.sample_identity(0)
    twin = identity._replace(colors=identity.colors._replace(emblem=(0.5, 0.5, 0.5)))
    assert truth.measure_nearest([identity, identity, puppets.sample_identity(1)]) == 0
    assert 0 < truth.measure_nearest([identity, twin, puppets.sample_identity(1)]) < 1

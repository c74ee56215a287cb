"""The ops against the reference's outputs (`ops.npz`)."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import ops
from fomm_tf.ops import keypoints, resample, tps, warp

DATA = np.load(pathlib.Path(__file__).parent / "data" / "ops.npz")


def nhwc(array):
    return np.moveaxis(array, 1, -1)


@pytest.mark.parametrize(("height", "width"), [(5, 7), (16, 16), (58, 58)])
def test_identity_grid_matches_reference(height, width):
    np.testing.assert_allclose(ops.identity_grid(height, width), DATA[f"grid_{height}x{width}"], atol=1e-7)


@pytest.mark.parametrize("variance", [0.01, 0.1])
def test_gaussian_heatmaps_match_reference(variance):
    heatmaps = keypoints.gaussian_heatmaps(tf.constant(DATA["kp2gaussian_kp"]), 16, 24, variance)
    np.testing.assert_allclose(heatmaps, nhwc(DATA[f"kp2gaussian_16x24_var{variance}"]), atol=2e-6)


@pytest.mark.parametrize("scale", [0.5, 0.25, 0.125])
def test_antialias_kernel_matches_reference(scale):
    np.testing.assert_allclose(resample.antialias_kernel(scale), DATA[f"aa_kernel_{scale}"][0, 0], atol=1e-8)


@pytest.mark.parametrize("scale", [0.5, 0.25, 0.125])
@pytest.mark.parametrize("size", ["aa", "aa_odd"])
def test_downsample_matches_reference_for_even_and_odd_sizes(scale, size):
    result = resample.downsample(tf.constant(DATA[f"{size}_in"]), scale)
    np.testing.assert_allclose(result, nhwc(DATA[f"{size}_{scale}"]), atol=1e-6)


@pytest.mark.parametrize("padding", warp.PADDINGS)
@pytest.mark.parametrize("align_corners", [True, False])
def test_warp_and_gradients_match_grid_sample(padding, align_corners):
    key = f"gs_{padding}_ac_{str(align_corners).lower()}"
    image, grid_xy = tf.constant(nhwc(DATA["gs_input"])), tf.constant(DATA["gs_grid"])
    with tf.GradientTape() as tape:
        tape.watch([image, grid_xy])
        warped = warp.backward_warp(image, grid_xy, padding, align_corners)
        total = tf.reduce_sum(warped * nhwc(DATA["gs_upstream"]))
    image_gradient, grid_gradient = tape.gradient(total, [image, grid_xy])
    np.testing.assert_allclose(warped, nhwc(DATA[key]), atol=5e-6)
    np.testing.assert_allclose(image_gradient, nhwc(DATA[f"{key}_dinput"]), atol=1e-5)
    np.testing.assert_allclose(grid_gradient, DATA[f"{key}_dgrid"], atol=6e-5)


@pytest.mark.parametrize("sizes", ["16x16_to_64x64", "32x32_to_16x16", "13x10_to_29x37", "29x37_to_13x10"])
def test_resize_matches_reference(sizes):
    height, width = map(int, sizes.split("_to_")[1].split("x"))
    result = resample.resize(tf.constant(nhwc(DATA[f"interp_in_{sizes}"])), height, width)
    np.testing.assert_allclose(result, nhwc(DATA[f"interp_bilinear_{sizes}"]), atol=2e-6)


def transform_of(strength, kind):
    weights = tf.constant(DATA[f"tr_{strength}_control_params"][:, 0]) if kind == "tps" else None
    return tps.Transform(tf.constant(DATA[f"tr_{strength}_theta"]), weights)


@pytest.mark.parametrize("strength", ["weak", "strong"])
@pytest.mark.parametrize("kind", ["tps", "affine"])
def test_equivariance_transform_matches_reference(strength, kind):
    moved = tps.warp_points(transform_of(strength, kind), tf.constant(DATA["tr_coords"]))
    np.testing.assert_allclose(moved, DATA[f"tr_{strength}_{kind}_warp"], atol=1e-6)


@pytest.mark.parametrize("strength", ["weak", "strong"])
def test_equivariance_jacobian_matches_reference(strength):
    result = tps.jacobian(transform_of(strength, "tps"), tf.constant(DATA["tr_coords"]))
    np.testing.assert_allclose(result, DATA[f"tr_{strength}_tps_jacobian"], atol=2e-6)


@pytest.mark.parametrize("strength", ["weak", "strong"])
@pytest.mark.parametrize("kind", ["tps", "affine"])
@pytest.mark.parametrize("align_corners", [True, False])
def test_deformed_frame_matches_reference(strength, kind, align_corners):
    result = tps.warp_image(transform_of(strength, kind), tf.constant(DATA["tr_frame"]), align_corners)
    expected = nhwc(DATA[f"tr_{strength}_{kind}_frame_ac_{str(align_corners).lower()}"])
    np.testing.assert_allclose(result, expected, atol=2e-5)

"""The models on which cross-cutting properties are tested."""

import pytest
import tensorflow as tf

from fomm_tf import config

TINY = {
    "frame_size": [64, 64],
    "num_keypoints": 5,
    "keypoint_detector": {"block_expansion": 8, "max_features": 16, "num_blocks": 3},
    "dense_motion": {"block_expansion": 8, "max_features": 16, "num_blocks": 3},
    "generator": {"block_expansion": 8, "max_features": 32, "num_residual_blocks": 2},
    "discriminator": {"block_expansion": 8, "max_features": 16, "num_blocks": 3},
}


def _changed(**changes):
    tree = {key: dict(value) if isinstance(value, dict) else value for key, value in TINY.items()}
    for key, value in changes.items():
        tree[key] = tree[key] | value if isinstance(value, dict) else value
    return config.parse({"model": tree}).model


MODELS = {
    "tiny": _changed(),
    "align-corners-false": _changed(align_corners=False),
    "tall": _changed(frame_size=[128, 64]),
    "one-keypoint": _changed(num_keypoints=1),
    "zeroth-order": _changed(jacobian=False),
    "no-occlusion": _changed(occlusion=False),
    "zeroth-order-no-occlusion": _changed(jacobian=False, occlusion=False),
    "single-jacobian-map": _changed(keypoint_detector={"single_jacobian_map": True}),
    "padded": _changed(keypoint_detector={"pad": 3}),
    "full-scale": _changed(frame_size=[32, 32], motion_scale=1.0, keypoint_detector={"scale": 1.0}),
    "third-scale": _changed(frame_size=[72, 96], motion_scale=1 / 3, keypoint_detector={"scale": 1 / 3}),
    "uneven-scales": _changed(frame_size=[64, 96], motion_scale=0.5, keypoint_detector={"scale": 0.25}),
    "one-down-block": _changed(generator={"num_down_blocks": 1}),
    "no-residual-blocks": _changed(generator={"num_residual_blocks": 0}),
    "scaled-generator": _changed(
        resize_displacements=True, generator={"blend_source": True, "warp_skips": True, "scale": 0.5}
    ),
    "blend-source": _changed(generator={"blend_source": True}),
    "warp-skips": _changed(generator={"warp_skips": True}),
    "spectral-keypoint-discriminator": _changed(discriminator={"spectral_norm": True, "use_keypoints": True}),
    "two-scale-discriminator": _changed(discriminator={"scales": [1.0, 0.5]}),
    # Several of these at once: what they change is in different networks.
    "zeroth-order-no-occlusion-blend-skips": _changed(
        jacobian=False, occlusion=False, resize_displacements=True, generator={"blend_source": True, "warp_skips": True}
    ),
    "single-jacobian-map-two-scales": _changed(
        keypoint_detector={"single_jacobian_map": True}, discriminator={"scales": [1.0, 0.5]}
    ),
}

BASELINES = {
    "monkey-net": _changed(
        kind="monkey-net", occlusion=False, generator={"warp_skips": True}, discriminator={"use_keypoints": True}
    ),
    "monkey-net-one-variance": _changed(
        kind="monkey-net", occlusion=False, jacobian=False, generator={"warp_skips": True, "num_down_blocks": 0}
    ),
    "x2face": _changed(kind="x2face", occlusion=False, jacobian=False),
    "x2face-full-scale": _changed(
        kind="x2face", frame_size=[32, 64], occlusion=False, jacobian=False, motion_scale=1.0,
        keypoint_detector={"scale": 1.0},
    ),
}  # fmt: skip

# Each property of an architecture once, for `make test`; `make conformance` builds the others.
REPRESENTATIVES = ("tiny", "zeroth-order-no-occlusion-blend-skips", "single-jacobian-map-two-scales")

# The reference's models of `variants.npz`, by the name of their checkpoint, each under one meaning of align_corners; a
# model of the list above meets both.
REFERENCE = {
    f"{name}, align_corners {corners}": (name, corners)
    for name, corners in (("zero-order", False), ("single-jacobian", True), ("wide", False))
}


def parametrize(names=tuple(MODELS), kept=REPRESENTATIVES):
    """Parametrizes a test by `name`; models that are not in `kept` run in `make conformance` only."""
    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=() if name in kept else pytest.mark.conformance) for name in names]
    )


def shake(variables, stddev=0.1):
    """Non-trivial weights: Jacobian heads, norms and statistics differ from their initial values."""
    for number, variable in enumerate(variables):
        if variable.dtype.is_floating and "anti_alias" not in variable.name:
            noise = tf.random.stateless_normal(variable.shape, [7, number], stddev=stddev)
            variable.assign(tf.abs(variable + noise) if "variance" in variable.name else variable + noise)

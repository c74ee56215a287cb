"""Every public op, eagerly, traced with unknown sizes, compiled by XLA, and in TFLite."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import ops, structures
from fomm_tf.ops import conv, keypoints, motion, resample, tps, warp

RANDOM = np.random.default_rng(20)
BATCH, HEIGHT, WIDTH, COUNT = 2, 9, 12, 5

# Public functions without a row below, and why.
EXCEPTIONS = {
    "ops.sizes": "numbers or tensors, as known at trace time",
    "ops.check_shape": "at trace time",
    "ops.at_least_float32": "its dtype is the point",
    "warp.use_resampler_op": "how warps are traced, not an op",
    "tps.sample": "random, for training only; stateless_normal is not a TFLite builtin",
    "resample.stride": "a number from a number, at trace time",
    "conv.transform_kernel": "NumPy, when a model is loaded",
    "resample.antialias_kernel": "NumPy, at trace time",
    "covariances.from_heatmaps": "for Monkey-Net, which has no TFLite export",
    "covariances.clip": "for Monkey-Net, which has no TFLite export",
    "covariances.gaussian_heatmaps": "for Monkey-Net, which has no TFLite export",
}


class Op(NamedTuple):
    """One way to call an op.

    Attributes:
      name: `module.function`, and in brackets the subject of this row.
      call: tensors to tensors, static arguments bound.
      inputs: float32 examples.
      static: for each input the axes that stay known when all the others are unknown.
      tolerance: what float32 allows between two orders of the same sums, relative to values of size 1.
    """

    name: str
    call: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    static: tuple[tuple[int, ...], ...]
    tolerance: float = 2e-6


def uniform(*shape: int, low: float = -1.0, high: float = 1.0) -> np.ndarray:
    return RANDOM.uniform(low, high, shape).astype(np.float32)


def near_identity(*shape: int) -> np.ndarray:
    return (np.eye(2) + RANDOM.uniform(-0.3, 0.3, (*shape, 2, 2))).astype(np.float32)


def probabilities(*shape: int, axis: int | tuple[int, ...]) -> np.ndarray:
    positive = uniform(*shape, low=0.1)
    return positive / positive.sum(axis, keepdims=True)


def sizes_of(image: tf.Tensor) -> list[int | tf.Tensor]:
    return ops.sizes(image)[1:3]


IMAGE = uniform(BATCH, HEIGHT, WIDTH, 3, low=0.0)
MAP = uniform(BATCH, HEIGHT, WIDTH, 1)
SAME_GRID, OTHER_GRID = uniform(BATCH, HEIGHT, WIDTH, 2, low=-1.3, high=1.3), uniform(4, 5, 7, 2, low=-1.3, high=1.3)
HEATMAP = probabilities(BATCH, HEIGHT, WIDTH, COUNT, axis=(1, 2))
VALUES = [uniform(batch, COUNT, 2, low=-0.9, high=0.9) for batch in (1, BATCH, 1)]
JACOBIANS = [near_identity(batch, COUNT) for batch in (1, BATCH, 1)]
THETA = (np.eye(2, 3) + RANDOM.normal(0.0, 0.05, (BATCH, 2, 3))).astype(np.float32)
CONTROL = RANDOM.normal(0.0, 0.005, (BATCH, 25)).astype(np.float32)

ANY_IMAGE, ANY_POINTS, ANY_MATRICES = (3,), (2,), (2, 3)
KNOWN_COUNT = (1, 2)
ONE_IMAGE = (0, 3)  # a batch of 1 that serves a larger one must be known as 1


def warp_row(image: np.ndarray, positions: np.ndarray, padding: str, align_corners: bool, about: str) -> Op:
    return Op(
        f"warp.backward_warp[{padding}, align_corners={align_corners}, {about}]",
        lambda image, positions: warp.backward_warp(image, positions, padding, align_corners),
        (image, positions),
        (ONE_IMAGE if len(image) == 1 else ANY_IMAGE, (3,)),
        tolerance=1e-5,
    )


def motion_of(*tensors: tf.Tensor, count: int) -> list[structures.Keypoints]:
    """The first half of `tensors` are values, the second Jacobians (if any)."""
    jacobians = tensors[count:] or [None] * count
    return [structures.Keypoints(*pair) for pair in zip(tensors[:count], jacobians, strict=True)]


def transfer_row(about: str, static: tuple[int, ...] = ANY_POINTS, jacobian: bool = True, **arguments: Any) -> Op:
    return Op(
        f"motion.transfer[{about}]",
        lambda *tensors: motion.transfer(*motion_of(*tensors, count=3), **arguments),
        (*VALUES, *(JACOBIANS if jacobian else [])),
        (static,) * 3 + ((ANY_MATRICES,) * 3 if jacobian else ()),
        tolerance=5e-6,
    )


OPS = [
    Op("ops.identity_grid[sizes of a tensor]", lambda image: ops.identity_grid(*sizes_of(image)), (IMAGE,), ((),)),
    Op("ops.to_pixels[corners]", lambda p: ops.to_pixels(p, HEIGHT, WIDTH, True), (SAME_GRID,), (ANY_IMAGE,)),
    Op("ops.to_pixels[edges]", lambda p, i: ops.to_pixels(p, *sizes_of(i), False), (SAME_GRID, IMAGE), ((3,), ())),
    Op("keypoints.invert_jacobian", keypoints.invert_jacobian, (JACOBIANS[1],), (ANY_MATRICES,), tolerance=5e-6),
    Op(
        "keypoints.multiply_jacobians[broadcast]",
        keypoints.multiply_jacobians,
        (JACOBIANS[0], JACOBIANS[1]),
        (ANY_MATRICES,) * 2,
    ),
    Op("keypoints.apply_jacobian", keypoints.apply_jacobian, (JACOBIANS[1], VALUES[1]), (ANY_MATRICES, ANY_POINTS)),
    Op(
        "keypoints.spatial_softmax",
        lambda logits: keypoints.spatial_softmax(logits, 0.1),
        (uniform(BATCH, HEIGHT, WIDTH, COUNT),),
        ((),),
    ),
    Op("keypoints.soft_argmax", keypoints.soft_argmax, (HEATMAP,), ((),)),
    Op(
        "keypoints.average_jacobian[a map a keypoint]",
        keypoints.average_jacobian,
        (HEATMAP, uniform(BATCH, HEIGHT, WIDTH, 4 * COUNT)),
        ((3,), (3,)),
    ),
    Op(
        "keypoints.average_jacobian[one map]",
        keypoints.average_jacobian,
        (HEATMAP, uniform(BATCH, HEIGHT, WIDTH, 4)),
        ((3,), (3,)),
    ),
    Op(
        "keypoints.gaussian_heatmaps",
        lambda value, image: keypoints.gaussian_heatmaps(value, *sizes_of(image), 0.01),
        (VALUES[1], IMAGE),
        (ANY_POINTS, ()),
    ),
    Op(
        "conv.few_filters_conv2d",
        conv.few_filters_conv2d,
        (uniform(BATCH, 8, 12, 3), uniform(5, 5, 3, 4), uniform(4)),
        ((1, 2, 3), (0, 1, 2, 3), (0,)),
        tolerance=1e-5,
    ),
    Op(
        "conv.winograd_conv2d",
        conv.winograd_conv2d,
        (uniform(BATCH, 8, 12, 3), conv.transform_kernel(uniform(3, 3, 3, 4)), uniform(4)),
        ((1, 2, 3), (0, 1, 2), (0,)),
        tolerance=1e-5,
    ),
    Op(
        "warp.resize_displacements[sizes of a tensor]",
        lambda grid, image: warp.resize_displacements(grid, *sizes_of(image), align_corners=False),
        (OTHER_GRID, uniform(4, 10, 14, 3)),  # to twice the size: XLA's bilinear resize is wrong for some odd ratios
        ((3,), ()),
    ),
    Op("resample.downsample[0.25]", lambda image: resample.downsample(image, 0.25), (IMAGE,), (ANY_IMAGE,)),
    Op("resample.downsample[1]", lambda image: resample.downsample(image, 1.0), (IMAGE,), (ANY_IMAGE,)),
    Op(
        "resample.downsample[own kernel]",
        lambda image, kernel: resample.downsample(image, 0.5, kernel),
        (IMAGE, uniform(5, 5, 3, 1, low=0.0) / 12),
        (ANY_IMAGE, (0, 1, 2, 3)),
    ),
    Op("resample.pyramid", lambda image: resample.pyramid(image, [1.0, 0.5, 0.25]), (IMAGE,), (ANY_IMAGE,)),
    Op("resample.upsample_nearest_2x", resample.upsample_nearest_2x, (IMAGE,), (ANY_IMAGE,)),
    Op(
        "resample.upsample_conv2d",
        resample.upsample_conv2d,
        (IMAGE, uniform(3, 3, 3, 4)),
        (ANY_IMAGE, (0, 1, 2, 3)),
        tolerance=5e-6,
    ),
    Op(
        "resample.subpixel_conv2d",
        resample.subpixel_conv2d,
        (IMAGE, uniform(3, 3, 3, 4), uniform(4)),
        (ANY_IMAGE, (0, 1, 2, 3), (0,)),
        tolerance=5e-6,
    ),
    Op("resample.resize[enlarged]", lambda image: resample.resize(image, 20, 17), (IMAGE,), (ANY_IMAGE,)),
    Op(
        "resample.resize[to the sizes of a tensor]",
        lambda image, other: resample.resize(image, *sizes_of(other)),
        (uniform(BATCH, 16, 5, 3), IMAGE),
        (ANY_IMAGE, ()),
    ),
    *(
        warp_row(IMAGE, SAME_GRID, padding, align_corners, "equal sizes")
        for padding in warp.PADDINGS
        for align_corners in (True, False)
    ),
    warp_row(uniform(4, 6, 11, 3), OTHER_GRID, "zeros", True, "other sizes"),
    warp_row(uniform(1, 6, 11, 3), OTHER_GRID, "reflection", False, "one image"),
    warp_row(uniform(1, 6, 11, 3), OTHER_GRID, "zeros", True, "one image"),
    Op(
        "motion.local_motions",
        lambda *tensors: motion.local_motions(*motion_of(*tensors[:-1], count=2), *sizes_of(tensors[-1])),
        (*VALUES[:2], *JACOBIANS[:2], MAP),
        (ANY_POINTS,) * 2 + (ANY_MATRICES,) * 2 + ((),),
        tolerance=1e-5,
    ),
    Op(
        "motion.local_motions[zeroth order]",
        lambda *tensors: motion.local_motions(*motion_of(*tensors, count=2), HEIGHT, WIDTH),
        tuple(VALUES[:2]),
        (ANY_POINTS,) * 2,
    ),
    Op(
        "motion.combine",
        motion.combine,
        (uniform(BATCH, COUNT + 1, HEIGHT, WIDTH, 2), probabilities(BATCH, HEIGHT, WIDTH, COUNT + 1, axis=-1)),
        ((4,), ()),
    ),
    transfer_row("relative"),
    transfer_row("relative, driving Jacobians", relative_jacobian=False),
    transfer_row("relative, adapted scale", static=KNOWN_COUNT, adapt_scale=True),
    transfer_row("relative, adapted scale, zeroth order", static=KNOWN_COUNT, jacobian=False, adapt_scale=True),
    transfer_row("absolute", mode="absolute"),
    Op("motion.hull_area", motion.hull_area, (VALUES[1],), (KNOWN_COUNT,)),
    Op(
        "tps.warp_points",
        lambda theta, weights, points: tps.warp_points(tps.Transform(theta, weights), points),
        (THETA, CONTROL, VALUES[1]),
        ((1, 2), (1,), ANY_POINTS),
    ),
    Op(
        "tps.jacobian",
        lambda theta, weights, points: tps.jacobian(tps.Transform(theta, weights), points),
        (THETA, CONTROL, VALUES[1]),
        ((1, 2), (1,), ANY_POINTS),
    ),
    Op(
        "tps.jacobian[affine]",
        lambda theta, points: tps.jacobian(tps.Transform(theta, None), points),
        (THETA, VALUES[1]),
        ((1, 2), ANY_POINTS),
    ),
    Op(
        "tps.warp_image",
        lambda theta, weights, image: tps.warp_image(tps.Transform(theta, weights), image),
        (THETA, CONTROL, IMAGE),
        ((1, 2), (1,), ANY_IMAGE),
        tolerance=1e-5,
    ),
]

# Ops that return float64 for float64; the dtype of an identity grid is an argument.
FOLLOW_THE_DTYPE = [op for op in OPS if not op.name.startswith("ops.identity_grid")]

every_op = pytest.mark.parametrize("op", OPS, ids=[op.name for op in OPS])


def flat(outputs: Any) -> list[tf.Tensor]:
    return [tensor for tensor in tf.nest.flatten(outputs) if tensor is not None]


def specs(op: Op, static: bool) -> list[tf.TensorSpec]:
    return [
        tf.TensorSpec([n if static or axis in known else None for axis, n in enumerate(array.shape)], name=f"input_{i}")
        for i, (array, known) in enumerate(zip(op.inputs, op.static, strict=True))
    ]


def expect(op: Op, results: list[Any], reference: list[tf.Tensor] | None = None) -> None:
    reference = flat(op.call(*map(tf.constant, op.inputs))) if reference is None else reference
    assert len(results) == len(reference)
    for result, expected in zip(results, reference, strict=True):
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, atol=op.tolerance, rtol=op.tolerance)


def public_functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    for path in ("ops", *(f"ops.{info.name}" for info in pkgutil.iter_modules(ops.__path__))):
        module = importlib.import_module(f"fomm_tf.{path}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                yield f"{module.__name__.split('.')[-1]}.{name}", function


def test_every_public_op_is_listed_or_excepted():
    listed = {op.name.split("[")[0] for op in OPS}
    assert not listed & EXCEPTIONS.keys()
    assert {name for name, _ in public_functions()} == listed | EXCEPTIONS.keys()


@every_op
def test_rows_call_the_op_of_their_name(op, monkeypatch):
    module_name, function_name = op.name.split("[")[0].split(".")
    module = importlib.import_module("fomm_tf.ops" if module_name == "ops" else f"fomm_tf.ops.{module_name}")
    function = getattr(module, function_name)
    calls = []
    monkeypatch.setattr(module, function_name, lambda *args, **kwargs: calls.append(1) or function(*args, **kwargs))
    results = op.call(*map(tf.constant, op.inputs))
    assert (op.call is function or calls) and all(np.isfinite(result).all() for result in flat(results))


@every_op
def test_op_traced_with_unknown_sizes_equals_eager(op):
    traced = tf.function(lambda *inputs: flat(op.call(*inputs)), input_signature=specs(op, static=False))
    expect(op, traced(*map(tf.constant, op.inputs)))


@every_op
def test_op_traced_once_serves_larger_batches_and_images(op):
    traced = tf.function(lambda *inputs: flat(op.call(*inputs)), input_signature=specs(op, static=False))
    larger = []
    for array, known in zip(op.inputs, op.static, strict=True):
        # Batches of 1 that serve others and channels stay; unknown axes double, the same for all inputs.
        repeats = [1 if axis in known or (axis == 0 and n == 1) else 2 for axis, n in enumerate(array.shape)]
        larger.append(tf.constant(np.tile(array, repeats)))
    expect(op, traced(*larger), flat(op.call(*larger)))


@every_op
def test_op_compiled_by_xla_equals_eager(op):
    compiled = tf.function(lambda *inputs: flat(op.call(*inputs)), jit_compile=True, autograph=False)
    expect(op, compiled(*map(tf.constant, op.inputs)))


@every_op
def test_op_in_tflite_builtins_equals_eager(op):
    traced = tf.function(lambda *inputs: flat(op.call(*inputs))).get_concrete_function(*specs(op, static=True))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], op.inputs[int(details["name"].split("_")[1].split(":")[0])])
    interpreter.invoke()
    expect(op, [interpreter.get_tensor(details["index"]) for details in interpreter.get_output_details()])


@pytest.mark.parametrize("op", FOLLOW_THE_DTYPE, ids=[op.name for op in FOLLOW_THE_DTYPE])
def test_op_of_float64_returns_float64(op):
    results = flat(op.call(*(tf.constant(array, tf.float64) for array in op.inputs)))
    assert {result.dtype for result in results} == {tf.float64}
    expect(op, results)


def test_identity_grid_returns_the_requested_dtype():
    assert ops.identity_grid(3, 4, tf.float64).dtype == tf.float64
    assert ops.identity_grid(tf.constant(3), tf.constant(4), tf.float64).dtype == tf.float64
    assert ops.identity_grid(3, 4).dtype == tf.float32


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """An image as detailed as a noisy photograph, of the released models' size: the worst case for half precision."""
    return np.random.default_rng(5).uniform(size=(1, 256, 256, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def positions() -> np.ndarray:
    noise = np.random.default_rng(6).normal(0.0, 0.1, (1, 256, 256, 2))
    return (ops.identity_grid(256, 256).numpy() + noise).astype(np.float32)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("padding", warp.PADDINGS)
@pytest.mark.parametrize("align_corners", [True, False])
def test_warp_of_half_precision_images_is_within_a_hundredth(dtype, padding, align_corners, image, positions):
    warped = warp.backward_warp(tf.cast(image, dtype), positions, padding, align_corners)
    assert warped.dtype == dtype
    exact = warp.backward_warp(image, positions, padding, align_corners)
    np.testing.assert_allclose(tf.cast(warped, tf.float32), exact, atol=1e-2)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16], ids=lambda dtype: dtype.name)
def test_keypoints_of_half_precision_features_are_float32(dtype):
    logits = tf.cast(uniform(1, 58, 58, COUNT), dtype)
    maps = tf.cast(uniform(1, 58, 58, 4 * COUNT), dtype)
    heatmap = keypoints.spatial_softmax(logits, 0.1)
    value, jacobian = keypoints.soft_argmax(heatmap), keypoints.average_jacobian(heatmap, maps)
    rendered = keypoints.gaussian_heatmaps(tf.cast(value, dtype), 16, 16, 0.01)
    assert {heatmap.dtype, value.dtype, jacobian.dtype, rendered.dtype} == {tf.float32}
    exact = keypoints.spatial_softmax(tf.cast(logits, tf.float32), 0.1)
    np.testing.assert_array_equal(heatmap, exact)
    np.testing.assert_array_equal(jacobian, keypoints.average_jacobian(exact, tf.cast(maps, tf.float32)))


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16], ids=lambda dtype: dtype.name)
def test_combine_with_half_precision_masks_returns_float32(dtype):
    tensors = map(tf.constant, (*VALUES[:2], *JACOBIANS[:2]))
    motions = motion.local_motions(*motion_of(*tensors, count=2), 256, 256)
    mask = tf.nn.softmax(uniform(BATCH, 256, 256, COUNT + 1), axis=-1)
    deformation = motion.combine(motions, tf.cast(mask, dtype))
    assert motions.dtype == deformation.dtype == tf.float32
    # An error of the masks (they no longer sum to one) scales with the motion; one of a coordinate would be a pixel.
    np.testing.assert_allclose(deformation, motion.combine(motions, mask), atol=2e-2)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16], ids=lambda dtype: dtype.name)
def test_resize_keeps_half_precision(dtype, image):
    small = tf.cast(image, dtype)
    for half, exact in (
        (resample.downsample(small, 0.25), resample.downsample(tf.constant(image), 0.25)),
        (resample.resize(small, 100, 70), resample.resize(tf.constant(image), 100, 70)),
        (resample.pyramid(small, [0.5])[0.5], resample.pyramid(tf.constant(image), [0.5])[0.5]),
    ):
        assert half.dtype == dtype
        np.testing.assert_allclose(tf.cast(half, tf.float32), exact, atol=1e-2)

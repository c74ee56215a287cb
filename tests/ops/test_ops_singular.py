"""Singular Jacobians and grids with NaN: the documented results, eagerly, compiled, and in TFLite."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import ops, structures
from fomm_tf.ops import keypoints, motion, warp

COUNT, HEIGHT, WIDTH = 2, 6, 9
LARGEST = float(np.finfo(np.float32).max)
JACOBIANS = {
    "zero": [[0.0, 0.0], [0.0, 0.0]],
    "rank one": [[1.0, 2.0], [2.0, 4.0]],
    "determinant 1e-12": [[1e-6, 0.0], [0.0, 1e-6]],
    "determinant -1e-12": [[0.0, 1e-6], [1e-6, 0.0]],
    "determinant 1e-30": [[1e-15, 0.0], [0.0, 1e-15]],
    "denormal": [[1e-40, 1e-41], [1e-41, 1e-40]],
    "1e20": [[1e20, 0.0], [0.0, 1e20]],
    "1e20, rank one": [[1e20, 1e20], [1e20, 1e20]],
    "1e20, of mixed signs": [[-1e20, 1e20], [1e20, 1e20]],
    "1e20 and 1e-20": [[1e20, 1.0], [1.0, 1e-20]],
    "largest": [[LARGEST, -LARGEST], [LARGEST, LARGEST]],
}
NAN_POSITIONS = [np.nan, np.inf, -np.inf, 1e30, -LARGEST, 5e6]
PARTS = ("source value", "source Jacobian", "driving value", "driving Jacobian", "mask", "image")

every_jacobian = pytest.mark.parametrize("matrix", JACOBIANS.values(), ids=JACOBIANS)
every_padding = pytest.mark.parametrize("padding", warp.PADDINGS)
both_conventions = pytest.mark.parametrize("align_corners", [True, False])
every_way = pytest.mark.parametrize("way", ["eager", "traced", "compiled"])


def chain(source_value, source_jacobian, value, jacobian, mask, image, padding="zeros", align_corners=True):
    """Deformation and warped image, computed as in the networks."""
    source, driving = structures.Keypoints(source_value, source_jacobian), structures.Keypoints(value, jacobian)
    motions = motion.local_motions(source, driving, HEIGHT, WIDTH)
    deformation = motion.combine(motions, mask)
    return deformation, warp.backward_warp(image, deformation, padding, align_corners)


def with_gradients(*inputs):
    results = []
    for padding in warp.PADDINGS:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            deformation, warped = chain(*inputs, padding=padding)
            total = tf.reduce_sum(tf.square(warped))
        results.append((deformation, warped, tape.gradient(total, inputs)))
    return results


@pytest.fixture(scope="module")
def ways():
    """Traced once for all matrices."""
    return {
        "eager": with_gradients,
        "traced": tf.function(with_gradients),
        "compiled": tf.function(with_gradients, jit_compile=True),
    }


def inputs_with(driving, source):
    """Ordinary inputs, except for the Jacobians; one keypoint of each frame has the identity."""
    generator = np.random.default_rng(0)
    value = generator.uniform(-0.8, 0.8, (2, 1, COUNT, 2))
    mask = generator.dirichlet(np.ones(COUNT + 1), (1, HEIGHT, WIDTH))
    mask[:, :, ::2] = np.eye(COUNT + 1)[0]  # every second column follows the background
    image = generator.uniform(0.1, 1.0, (1, HEIGHT, WIDTH, 3))
    parts = value[0], [[source, np.eye(2)]], value[1], [[driving, np.eye(2)]], mask, image
    return [np.asarray(part, np.float32) for part in parts]


@every_jacobian
@pytest.mark.parametrize("source_too", [False, True], ids=["driving", "source and driving"])
@every_way
def test_local_motions_of_finite_jacobians_have_no_nan(matrix, source_too, way, ways):
    inputs = inputs_with(matrix, matrix if source_too else np.eye(2))
    for deformation, warped, gradients in ways[way](*map(tf.constant, inputs)):
        assert np.isfinite(deformation).all()
        assert (warped.numpy() >= -1e-6).all() and (warped.numpy() <= inputs[-1].max() + 1e-5).all()
        # Where the mask selects the background only, the motion of a keypoint has no effect.
        np.testing.assert_allclose(warped[:, :, ::2], inputs[-1][:, :, ::2], atol=1e-5)
        for name, gradient in zip(PARTS, gradients, strict=True):
            assert np.isfinite(gradient).all(), name


@every_jacobian
def test_transfer_of_singular_jacobians_is_finite(matrix):
    source, driving, initial = (
        structures.Keypoints(tf.zeros([1, 1, 2]), tf.constant([[part]], tf.float32)) for part in [matrix] * 3
    )
    identity = structures.Keypoints(source.value, tf.eye(2, batch_shape=[1, 1]))
    for parts in ((source, driving, initial), (identity, identity, initial), (source, driving, identity)):
        with tf.GradientTape() as tape:
            tape.watch(parts)
            result = motion.transfer(*parts).jacobian
        assert np.isfinite(result).all()
        moved, _ = chain(*parts[0], parts[1].value, result, tf.ones([1, HEIGHT, WIDTH, 2]) / 2, tf.ones([1, 6, 9, 3]))
        assert np.isfinite(moved).all()
        # A gradient of the product of three such matrices may overflow, but not be NaN.
        gradients = [g for g in tf.nest.flatten(tape.gradient(result, parts)) if g is not None]
        assert gradients and not any(np.isnan(gradient).any() for gradient in gradients)


def test_singular_driving_jacobian_samples_padding():
    """As documented: the adjugate times 1e8, which zero padding samples as black."""
    value = tf.constant([[[0.03, 0.04]]])
    source = structures.Keypoints(value, tf.eye(2, batch_shape=[1, 1]))
    driving = structures.Keypoints(value, tf.constant([[[[1.0, 2.0], [2.0, 4.0]]]]))
    motions = motion.local_motions(source, driving, HEIGHT, WIDTH)[:, 1]
    offset = ops.identity_grid(HEIGHT, WIDTH) - [0.03, 0.04]
    expected = tf.linalg.matvec([[4e8, -2e8], [-2e8, 1e8]], offset)
    np.testing.assert_allclose(motions[0], expected, rtol=1e-4, atol=100.0)
    warped = warp.backward_warp(tf.ones([1, HEIGHT, WIDTH, 1]), motions)
    assert not warped.numpy().any()


@every_padding
@both_conventions
@pytest.mark.parametrize("wrong", NAN_POSITIONS)
@pytest.mark.parametrize("axes", [[0], [1], [0, 1]], ids=["x", "y", "both"])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (4, 5)], ids=["equal sizes", "other sizes"])
def test_warp_treats_nan_positions_as_outside(padding, align_corners, wrong, axes, size):
    generator = np.random.default_rng(1)
    image = tf.constant(generator.uniform(0.5, 1.0, (1, HEIGHT, WIDTH, 2)), tf.float32)
    positions = generator.uniform(-0.9, 0.9, (1, *size, 2)).astype(np.float32)
    damaged, replaced = positions.copy(), positions.copy()
    damaged[0, 1, 2, axes] = wrong
    # The first column and row of the image, in the units of the grid.
    first = [-1.0, -1.0] if align_corners else [1 / WIDTH - 1, 1 / HEIGHT - 1]
    replaced[0, 1, 2, axes] = np.array(first)[axes]
    expected = warp.backward_warp(image, tf.constant(replaced), padding, align_corners).numpy()
    if padding == "zeros":
        expected[0, 1, 2] = 0.0
    tensor = tf.constant(damaged)
    with tf.GradientTape() as tape:
        tape.watch([image, tensor])
        warped = warp.backward_warp(image, tensor, padding, align_corners)
        total = tf.reduce_sum(tf.square(warped))
    np.testing.assert_allclose(warped, expected, atol=1e-5)
    for gradient in tape.gradient(total, [image, tensor]):
        assert np.isfinite(gradient).all()


@every_padding
@both_conventions
def test_warp_of_nan_grids_is_finite_when_compiled(padding, align_corners):
    image = tf.constant(np.random.default_rng(2).uniform(0.5, 1.0, (1, 2, 3, 1)), tf.float32)
    positions = tf.constant(np.array(NAN_POSITIONS * 2, np.float32).reshape(1, 2, 3, 2))
    compiled = tf.function(warp.backward_warp, jit_compile=True)(image, positions, padding, align_corners)
    expected = 0.0 if padding == "zeros" else image[0, 0, 0, 0]
    np.testing.assert_allclose(compiled, np.full((1, 2, 3, 1), expected), atol=1e-6)
    np.testing.assert_array_equal(compiled, warp.backward_warp(image, positions, padding, align_corners))


IN_TFLITE = """
    import sys

    import numpy as np
    import tensorflow as tf

    from fomm_tf import structures
    from fomm_tf.ops import motion, warp

    data = dict(np.load(sys.argv[1]))
    paths = {"zeros": True, "border": False, "reflection": True}


    def chain(*parts):
        source, driving = structures.Keypoints(*parts[:2]), structures.Keypoints(*parts[2:4])
        motions = motion.local_motions(source, driving, *parts[5].shape[1:3])
        deformation = motion.combine(motions, parts[4])
        return deformation, *(warp.backward_warp(parts[5], deformation, *item) for item in paths.items())


    def warps(image, positions):
        return [warp.backward_warp(image, positions, *item) for item in paths.items()]


    def run(function, examples):
        specs = [tf.TensorSpec(part.shape, tf.float32, name=f"input_{i}") for i, part in enumerate(examples[0])]
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [tf.function(function).get_concrete_function(*specs)]
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        interpreter = tf.lite.Interpreter(model_content=converter.convert())
        interpreter.allocate_tensors()
        for parts in examples:
            for details in interpreter.get_input_details():
                number = int(details["name"].split("_")[-1].split(":")[0])
                interpreter.set_tensor(details["index"], parts[number])
            interpreter.invoke()
            yield [interpreter.get_tensor(details["index"]) for details in interpreter.get_output_details()]


    results = {}
    count = int(data["count"])
    for i, outputs in enumerate(run(chain, [[data[f"{i}_{j}"] for j in range(6)] for i in range(count)])):
        results.update({f"chain_{i}_{j}": output for j, output in enumerate(outputs)})
    for j, output in enumerate(next(run(warps, [[data["image"], data["positions"]]]))):
        results[f"warp_{j}"] = output
    np.savez(sys.argv[2], **results)
"""


@pytest.mark.slow
def test_tflite_never_reads_outside_of_the_image(tmp_path):
    """In a process of its own: an out-of-bounds gather aborts it."""
    pairs = [(matrix, source) for matrix in JACOBIANS.values() for source in (np.eye(2), matrix)]
    examples = [inputs_with(*pair) for pair in pairs]
    generator = np.random.default_rng(3)
    image = generator.uniform(0.5, 1.0, (1, HEIGHT, WIDTH, 2)).astype(np.float32)
    positions = generator.choice([*NAN_POSITIONS, 0.0, -1.0, 0.37], (1, HEIGHT, WIDTH, 2)).astype(np.float32)
    parts = {f"{i}_{j}": part for i, example in enumerate(examples) for j, part in enumerate(example)}
    np.savez(tmp_path / "inputs.npz", count=len(examples), image=image, positions=positions, **parts)
    command = [sys.executable, "-c", textwrap.dedent(IN_TFLITE), tmp_path / "inputs.npz", tmp_path / "outputs.npz"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stderr[-2000:]
    results = np.load(tmp_path / "outputs.npz")
    paths = {"zeros": True, "border": False, "reflection": True}
    for j, (padding, align_corners) in enumerate(paths.items()):
        expected = warp.backward_warp(image, positions, padding, align_corners)
        np.testing.assert_allclose(results[f"warp_{j}"], expected, atol=1e-5, err_msg=padding)
        for i, example in enumerate(examples):
            deformation, warped = results[f"chain_{i}_0"], results[f"chain_{i}_{j + 1}"]
            assert np.isfinite(deformation).all()
            assert (warped >= -1e-6).all() and (warped <= example[-1].max() + 1e-5).all()
            wild, _ = chain(*map(tf.constant, example), padding, align_corners)
            # Far outside, the last bit of a position is more than a pixel, so that only the deformation is compared.
            np.testing.assert_allclose(deformation, wild, rtol=1e-3, atol=1e-6 * max(1.0, np.abs(wild).max()))


def test_documented_bounds_are_the_constants():
    assert keypoints.MIN_DETERMINANT == 1e-8
    assert keypoints.MAX_ENTRY == 1e9
    corner = keypoints.invert_jacobian(tf.constant([[1e-8, 0.0], [0.0, 1.0]], tf.float64))[0, 0]
    np.testing.assert_allclose(corner, 1e8)

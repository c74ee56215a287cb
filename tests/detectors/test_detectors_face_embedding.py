"""Unpacking the weights of the face network, and its layers against loops."""

import numpy as np

from fomm_tf.detectors import built_in


def test_unpack_dequantizes_bytes():
    entries = [
        {"name": "a", "shape": [2, 2], "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1.0}},
        {"name": "b", "shape": [3], "dtype": "float32"},
        {"name": "c", "shape": [1], "quantization": {"dtype": "uint8", "scale": 2.0, "min": 0.25}},
    ]
    data = bytes([0, 1, 2, 255]) + np.array([1.5, -2.5, 3e-7], "<f4").tobytes() + bytes([3])
    tensors = built_in.unpack(entries, data)
    np.testing.assert_array_equal(tensors["a"], np.array([[-1, -0.5], [0, 126.5]], np.float32))
    np.testing.assert_array_equal(tensors["b"], np.array([1.5, -2.5, 3e-7], np.float32))
    np.testing.assert_array_equal(tensors["c"], np.float32([6.25]))
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype(np.float32)}


def _random_weights(rng):
    """Weights of the real shapes: 29 convolutions."""
    weights, channels = {}, 3

    def convolution(name, size, inputs, outputs):
        weights[f"{name}/conv/filters"] = rng.normal(0, (size * size * inputs) ** -0.5, [size, size, inputs, outputs])
        weights[f"{name}/conv/bias"] = rng.normal(0, 0.1, outputs)
        weights[f"{name}/scale/weights"] = rng.uniform(0.5, 1.5, outputs)
        weights[f"{name}/scale/biases"] = rng.normal(0, 0.1, outputs)

    convolution("conv32_down", 7, 3, 32)
    channels = 32
    for name in built_in._BLOCKS:
        width = int(name.split("_")[0].removeprefix("conv"))
        convolution(f"{name}/conv1", 3, channels, width)
        convolution(f"{name}/conv2", 3, width, width)
        channels = width
    weights["fc"] = rng.normal(0, 0.1, [256, 128])
    return {name: array.astype(np.float32) for name, array in weights.items()}


def _convolve(hidden, weights, name, stride):
    """One image [H, W, C], by a loop over the output."""
    kernel = weights[f"{name}/conv/filters"].astype(np.float64)
    size = len(kernel)
    if stride == 1:
        hidden = np.pad(hidden, ((size // 2, size // 2), (size // 2, size // 2), (0, 0)))
    rows, columns = ((length - size) // stride + 1 for length in hidden.shape[:2])
    out = np.zeros([rows, columns, kernel.shape[-1]])
    for row in range(rows):
        for column in range(columns):
            patch = hidden[row * stride : row * stride + size, column * stride : column * stride + size]
            out[row, column] = np.tensordot(patch, kernel, 3)
    out += weights[f"{name}/conv/bias"]
    return out * weights[f"{name}/scale/weights"] + weights[f"{name}/scale/biases"]


def _pool(hidden, size, how):
    """Pools windows of `size` with stride 2, without padding."""
    rows, columns = ((length - size) // 2 + 1 for length in hidden.shape[:2])
    return np.array(
        [
            [how(hidden[2 * row : 2 * row + size, 2 * column : 2 * column + size], (0, 1)) for column in range(columns)]
            for row in range(rows)
        ]
    )


def test_network_matches_loops():
    rng = np.random.default_rng(0)
    weights, image = _random_weights(rng), rng.uniform(0, 255, [150, 150, 3]).astype(np.float32)
    hidden = np.maximum(_convolve((image - np.array(built_in._MEAN)) / 256, weights, "conv32_down", 2), 0)
    hidden = _pool(hidden, 3, np.max)
    for name in built_in._BLOCKS:
        stride = 2 if "down" in name else 1
        shortcut = _pool(hidden, 2, np.mean) if stride == 2 else hidden
        inner = np.maximum(_convolve(hidden, weights, f"{name}/conv1", stride), 0)
        inner = _convolve(inner, weights, f"{name}/conv2", 1)
        total = np.zeros(np.maximum(shortcut.shape, inner.shape))
        for part in (shortcut, inner):
            height, width, channels = part.shape
            total[:height, :width, :channels] += part
        hidden = np.maximum(total, 0)
    expected = hidden.mean(axis=(0, 1)) @ weights["fc"]
    got = built_in.build_network(weights)(image[np.newaxis]).numpy()[0]
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())

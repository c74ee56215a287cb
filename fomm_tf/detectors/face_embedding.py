"""Face embeddings of 128 values; two faces of the same person have a Euclidean distance of at most 0.6.

The network is dlib's face ResNet with 29 convolutions, with the 8-bit weights of the npm package face-api. Its input is
a face of 150 x 150 pixels, aligned by eyes, nose and mouth as in training.

Sources: He et al., Deep Residual Learning (2016); dlib, dnn_face_recognition_ex.cpp, for the network's layers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from fomm_tf.detectors import mediapipe, networks
from fomm_tf.detectors.networks import Embeddings

# Maximum distance of two embeddings of the same person: the threshold of the network's authors.
SAME_PERSON = 0.6

_SIDE = 150
_SIZE = 128
# Corners of the eyes (right eye first), tip of the nose, corners of the mouth: indices in the face mesh, and positions
# in the aligned image, in pixels.
_LANDMARKS = (33, 133, 362, 263, 1, 61, 291)
_TARGETS = np.array(
    [[34.6, 47.5], [58.9, 48.0], [89.0, 48.1], [112.6, 47.7], [75.2, 77.1], [50.9, 105.0], [96.6, 104.7]]
)
_MEAN = (122.782, 117.001, 104.298)
_BLOCKS = (
    *("conv32_1", "conv32_2", "conv32_3", "conv64_down", "conv64_1", "conv64_2", "conv64_3"),
    *("conv128_down", "conv128_1", "conv128_2", "conv256_down", "conv256_1", "conv256_2", "conv256_down_out"),
)


class FaceIdentity:
    """Embeds the best face of each frame.

    Args:
      threads: number of threads that the networks which detect the face may use.

    Raises:
      errors.UserError: if a network cannot be downloaded.
    """

    def __init__(self, threads: int = 1) -> None:
        self._points = mediapipe.FacePoints(threads)
        self._embed = build_network(read_weights())

    def __call__(self, frames: Sequence[np.ndarray]) -> Embeddings:
        """The embeddings of N frames, E = 128; `frames` are `[H, W, 3]` uint8, possibly of different sizes."""
        points = self._points(frames)
        found = points.found.all(axis=1)
        value = np.full([len(frames), _SIZE], np.nan, np.float32)
        for index in np.flatnonzero(found):
            # One at a time: the last bits of a batch depend on its size.
            face = align(frames[index], points.value[index])
            value[index] = self._embed(face[np.newaxis].astype(np.float32))[0]
        return Embeddings(value, found)


def align(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Crops and aligns a face for the network.

    Args:
      frame: `[H, W, 3]` uint8.
      landmarks: `[468, 2]`.

    Returns:
      `[150, 150, 3]` uint8.
    """
    region = networks.fit_region(_TARGETS / _SIDE, landmarks[list(_LANDMARKS)].astype(np.float64))
    return networks.crop(frame, region, _SIDE)


def read_weights() -> dict[str, np.ndarray]:
    """Reads the network's tensors by name, float32.

    Raises:
      errors.UserError: if they cannot be downloaded.
    """
    (manifest,) = json.loads(networks.read_file("face_recognition_model-weights_manifest.json"))
    return unpack(manifest["weights"], networks.read_file("face_recognition_model.bin"))


def unpack(entries: Sequence[Mapping], data: bytes) -> dict[str, np.ndarray]:
    """Unpacks tensors in the format of TensorFlow.js.

    Args:
      entries: name and shape of each tensor, in the order of the data; those with a `quantization` are stored as uint8
        and mean `min + scale * stored`, the others as float32.
      data: little-endian.

    Returns:
      float32 arrays by name.
    """
    tensors, start = {}, 0
    for entry in entries:
        quantization = entry.get("quantization")
        count = int(np.prod(entry["shape"]))
        stored = np.frombuffer(data, np.uint8 if quantization else "<f4", count, start)
        start += stored.nbytes
        value = stored * quantization["scale"] + quantization["min"] if quantization else stored
        tensors[entry["name"]] = value.reshape(entry["shape"]).astype(np.float32)
    return tensors


def build_network(weights: Mapping[str, np.ndarray]):
    """Builds a function from images `[N, 150, 150, 3]`, float32 from 0 to 255, to embeddings `[N, 128]`."""
    import tensorflow as tf

    def convolve(hidden: tf.Tensor, name: str, stride: int) -> tf.Tensor:
        scale = weights[f"{name}/scale/weights"]
        kernel = weights[f"{name}/conv/filters"] * scale
        bias = weights[f"{name}/conv/bias"] * scale + weights[f"{name}/scale/biases"]
        return tf.nn.bias_add(tf.nn.conv2d(hidden, kernel, stride, "SAME" if stride == 1 else "VALID"), bias)

    def pad_to(hidden: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
        return tf.pad(hidden, [[0, 0], *([0, new - old] for old, new in zip(hidden.shape[1:], shape[1:], strict=True))])

    def block(hidden: tf.Tensor, name: str) -> tf.Tensor:
        stride = 2 if "down" in name else 1
        shortcut = tf.nn.avg_pool2d(hidden, 2, 2, "VALID") if stride == 2 else hidden
        hidden = tf.nn.relu(convolve(hidden, f"{name}/conv1", stride))
        hidden = convolve(hidden, f"{name}/conv2", 1)
        # dlib adds tensors of different sizes by padding the smaller one with zeros: right, below, and in channels.
        shape = tf.TensorShape(np.maximum(hidden.shape[1:], shortcut.shape[1:]))
        shape = tf.TensorShape([None]).concatenate(shape)
        return tf.nn.relu(pad_to(hidden, shape) + pad_to(shortcut, shape))

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, _SIDE, _SIDE, 3])])
    def embed(images: tf.Tensor) -> tf.Tensor:
        hidden = tf.nn.relu(convolve((images - _MEAN) / 256, "conv32_down", 2))
        hidden = tf.nn.max_pool2d(hidden, 3, 2, "VALID")
        for name in _BLOCKS:
            hidden = block(hidden, name)
        return tf.reduce_mean(hidden, axis=[1, 2]) @ weights["fc"]

    return embed

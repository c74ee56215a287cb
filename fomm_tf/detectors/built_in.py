"""The built-in detectors: faces with 468 landmarks, bodies with 33 points, and face embeddings of 128 values.

The networks of faces and bodies are MediaPipe's. That of the embedding is dlib's face ResNet with 29 convolutions, with
the 8-bit weights of the npm package face-api; its input is a face of 150 x 150 pixels, aligned by eyes, nose and mouth
as in training. Two faces of the same person have a Euclidean distance of at most 0.6.

Sources: Bazarevsky et al., BlazeFace (2019), arXiv:1907.05047; Kartynnik et al., Real-time Facial Surface Geometry from
Monocular Video on Mobile GPUs (2019), arXiv:1907.06724; Bazarevsky et al., BlazePose (2020), arXiv:2006.10204; He et
al., Deep Residual Learning (2016); dlib, dnn_face_recognition_ex.cpp, for the layers of the embedding.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np

from fomm_tf.detectors import boxes, networks
from fomm_tf.detectors.networks import Boxes, Embeddings, Points

# The person's right and left eye among the points of a face box.
_RIGHT_EYE, _LEFT_EYE = 0, 1
# Blobs and drawn shapes score up to 0.72, real faces at least 0.77.
_FACE_ANCHORS = boxes.Anchors("face_detection_short_range.tflite", grids=((16, 2), (8, 6)), min_score=0.75)
# Side of the region for the landmarks, relative to that of the box.
_FACE_MARGIN = 1.5
_LANDMARKS = 468

# Two points of a body box: the circle around the first through the second contains the whole body.
_HIPS, _RIM = 0, 1
# Blobs and drawn shapes score up to 0.67, above 0.6 in one of 1,000; real people at least 0.73.
_BODY_ANCHORS = boxes.Anchors("pose_detection.tflite", grids=((28, 2), (14, 2), (7, 6)), min_score=0.6)
_BODY_MARGIN = 1.25
_BODY_POINTS = 33
# The same two points in the output of the second network, after the 33.
_REFINED_HIPS, _REFINED_RIM = 33, 34
# With a second pass, on the region that the first one found, points are off by 0.8 % of the box on average when the
# frame is shifted by a few pixels; with one pass by 1.6 %. With a third pass, left and right are swapped more often.
_PASSES = 2
# Per point: x, y, z, visibility, presence.
_VALUES = 5
_VISIBILITY = 3


class FaceBoxes:
    """Detects faces whose box is at least 15 % of the frame's longer side.

    The points are the person's right and left eye, the tip of the nose, the mouth, the right and left ear.

    Args:
      threads: number of threads that the network may use.

    Raises:
      errors.UserError: if the network cannot be downloaded.
    """

    def __init__(self, threads: int = 1) -> None:
        self._network = boxes.BoxNetwork(_FACE_ANCHORS, threads)

    def __call__(self, frames: Sequence[np.ndarray]) -> list[Boxes]:
        """The faces of each frame; `frames` are `[H, W, 3]` uint8, possibly of different sizes."""
        return [self._network(frame) for frame in frames]


class FacePoints:
    """Detects 468 landmarks of the best face, in the order of MediaPipe's face mesh; their visibility is the face's.

    Args:
      threads: number of threads that the networks may use.

    Raises:
      errors.UserError: if a network cannot be downloaded.
    """

    def __init__(self, threads: int = 1) -> None:
        self._faces = FaceBoxes(threads)
        self._model = networks.TFLiteModel("face_landmark.tflite", threads)

    def __call__(self, frames: Sequence[np.ndarray]) -> Points:
        """The landmarks of N frames, P = 468; `frames` are `[H, W, 3]` uint8, possibly of different sizes."""
        return networks.detect_points(frames, self._faces(frames), _LANDMARKS, self._locate)

    def _locate(self, frame: np.ndarray, objects: Boxes) -> tuple[float, np.ndarray, float]:
        region = face_region(objects)
        raw, presence = self._model.run_on(frame, region)
        score = networks.sigmoid(presence.item())
        return score, networks.to_frame(raw.reshape(_LANDMARKS, 3)[:, :2] / self._model.side, region), score


class BodyBoxes:
    """Detects people whose face and hips are in the frame.

    A box is the square around the hips that contains the whole body with arms and legs stretched. Its points are the
    center of the hips, a point on the circle around it in the direction of the head, and the same two for the upper
    body.

    Args:
      threads: number of threads that the network may use.

    Raises:
      errors.UserError: if the network cannot be downloaded.
    """

    def __init__(self, threads: int = 1) -> None:
        self._network = boxes.BoxNetwork(_BODY_ANCHORS, threads)

    def __call__(self, frames: Sequence[np.ndarray]) -> list[Boxes]:
        """The bodies of each frame; `frames` are `[H, W, 3]` uint8, possibly of different sizes."""
        return [body_boxes(self._network(frame)) for frame in frames]


class BodyPoints:
    """Detects 33 points of the best body, in the order of MediaPipe's pose.

    Args:
      threads: number of threads that the networks may use.

    Raises:
      errors.UserError: if a network cannot be downloaded.
    """

    def __init__(self, threads: int = 1) -> None:
        self._bodies = BodyBoxes(threads)
        self._model = networks.TFLiteModel("pose_landmark_full.tflite", threads)

    def __call__(self, frames: Sequence[np.ndarray]) -> Points:
        """The points of N frames, P = 33; `frames` are `[H, W, 3]` uint8, possibly of different sizes."""
        return networks.detect_points(frames, self._bodies(frames), _BODY_POINTS, self._locate)

    def _locate(self, frame: np.ndarray, objects: Boxes) -> tuple[float, np.ndarray, np.ndarray]:
        hips, rim = objects.points[0, [_HIPS, _RIM]]
        for _ in range(_PASSES):
            region = body_region(hips, rim)
            raw, presence, *_ = self._model.run_on(frame, region)
            raw = raw.reshape(-1, _VALUES)
            points = networks.to_frame(raw[:, :2] / self._model.side, region)
            hips, rim = points[[_REFINED_HIPS, _REFINED_RIM]]
        return presence.item(), points[:_BODY_POINTS], networks.sigmoid(raw[:_BODY_POINTS, _VISIBILITY])


def face_region(objects: Boxes) -> networks.Region:
    """The region for the landmarks of the best face: around its box, rotated so that the eyes are level."""
    left, top, right, bottom = objects.box[0].tolist()
    across = objects.points[0, _LEFT_EYE] - objects.points[0, _RIGHT_EYE]
    side = _FACE_MARGIN * max(right - left, bottom - top)
    return networks.Region(((left + right) / 2, (top + bottom) / 2), side, math.atan2(across[1], across[0]))


def body_boxes(objects: Boxes) -> Boxes:
    """Replaces the network's own boxes, which contain the faces, by the squares around the hips."""
    hips = objects.points[:, _HIPS]
    radius = np.linalg.norm(objects.points[:, _RIM] - hips, axis=1, keepdims=True)
    return objects._replace(box=np.concatenate([hips - radius, hips + radius], axis=1))


def body_region(hips: np.ndarray, rim: np.ndarray) -> networks.Region:
    """The region for the points of a body: around its `hips` `[2]`, rotated so that `rim` `[2]` is above them."""
    up = rim - hips
    return networks.Region(tuple(hips.tolist()), 2 * _BODY_MARGIN * math.hypot(*up), math.atan2(up[0], -up[1]))


# Maximum distance of two embeddings of the same person: the threshold of the network's authors.
SAME_PERSON = 0.6

_SIDE = 150
_SIZE = 128
# Corners of the eyes (right eye first), tip of the nose, corners of the mouth: indices in the face mesh, and positions
# in the aligned image, in pixels.
_ALIGNED_POINTS = (33, 133, 362, 263, 1, 61, 291)
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
        self._points = FacePoints(threads)
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
    region = networks.fit_region(_TARGETS / _SIDE, landmarks[list(_ALIGNED_POINTS)].astype(np.float64))
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

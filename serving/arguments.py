"""Checks of the client's arguments, before anything is sent."""

from __future__ import annotations

import numpy as np

from fomm_tf.serving import signatures
from fomm_tf.serving.target import ArgumentError
from fomm_tf.structures import Keypoints

_JPEG_OR_PNG = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


def check_frames(frames: np.ndarray, size: tuple[int, int], name: str) -> np.ndarray:
    """Checks frames and converts them to what is sent.

    Args:
      frames: `[N, H, W, 3]` uint8, or float in [0, 1].
      size: the model's (H, W).
      name: of the argument, for messages.

    Returns:
      The frames, uint8 or float32.

    Raises:
      ArgumentError: for a wrong shape, dtype or range.
    """
    frames, shape = np.asarray(frames), f"[N, {size[0]}, {size[1]}, 3], the model's size"
    _require(frames.ndim == 4 and frames.shape[1:] == (*size, 3), name, f"shape {list(frames.shape)}", shape)
    _require(len(frames), name, "no frames", "at least one")
    if frames.dtype == np.uint8:
        return frames
    _require(np.issubdtype(frames.dtype, np.floating), name, str(frames.dtype), "uint8, or float in [0, 1]")
    low, high = frames.min(), frames.max()
    # False for NaN.
    _require(low >= 0 and high <= 1, name, f"values from {low:g} to {high:g}", "float in [0, 1], or uint8")
    return frames.astype(np.float32)


def check_image(image: np.ndarray, size: tuple[int, int], name: str) -> np.ndarray:
    """Checks one frame, `[H, W, 3]` or `[1, H, W, 3]`, and returns it with a batch axis; see `check_frames`."""
    image = np.asarray(image)
    frames = check_frames(image[np.newaxis] if image.ndim == 3 else image, size, name)
    _require(len(frames) == 1, name, f"{len(frames)} images", "one")
    return frames


def check_image_bytes(data: bytes, name: str) -> bytes:
    """Checks an encoded image.

    Raises:
      ArgumentError: if it is not bytes, or starts like neither JPEG nor PNG.
    """
    _require(isinstance(data, bytes), name, type(data).__name__, "bytes")
    _require(data.startswith(_JPEG_OR_PNG), name, f"bytes that start with {data[:8]!r}", "a JPEG or PNG image")
    return data


def check_keypoints(keypoints: Keypoints, model: signatures.Model, name: str) -> Keypoints:
    """Checks keypoints and converts them to what is sent.

    Args:
      keypoints: value and jacobian.
      model: the model that they are for.
      name: of the argument, for messages.

    Raises:
      ArgumentError: if they do not fit the model, are empty, or not finite.
    """
    value, jacobian = keypoints
    got, expected = ("None", "an array") if jacobian is None else ("an array", "None")
    fits = (jacobian is not None) == model.has_jacobian
    _require(fits, f"{name}.jacobian", got, f"{expected}, as in this model's keypoints")
    value = _check_points(value, [model.num_keypoints, 2], f"{name}.value")
    if jacobian is None:
        return Keypoints(value, None)
    jacobian = _check_points(jacobian, [model.num_keypoints, 2, 2], f"{name}.jacobian")
    counts = f"{len(value)} values and {len(jacobian)} Jacobians"
    _require(len(value) == len(jacobian), name, counts, "equal numbers")
    return Keypoints(value, jacobian)


def _check_points(points: np.ndarray, shape: list[int], name: str) -> np.ndarray:
    points = np.asarray(points)
    fits = np.issubdtype(points.dtype, np.floating) and list(points.shape[1:]) == shape and len(points)
    expected = f"float [N, {', '.join(map(str, shape))}] with N at least 1"
    _require(fits, name, f"{points.dtype} {list(points.shape)}", expected)
    _require(np.isfinite(points).all(), name, "NaN or infinity", "finite values")
    return points.astype(np.float32)


def _require(condition: object, name: str, got: str, expected: str) -> None:
    if not condition:
        raise ArgumentError(f"{name}: got {got}; expected {expected}.")

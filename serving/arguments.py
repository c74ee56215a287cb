"""Checks of the client's arguments, before anything is sent."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fomm_tf.serving import failures, signatures

_JPEG_OR_PNG = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


class Keypoints(NamedTuple):
    """Keypoints of N frames.

    Attributes:
      value: `[N, K, 2]` float32, (x, y) in [-1, 1].
      jacobian: `[N, K, 2, 2]` float32; None for a model without Jacobians.
    """

    value: np.ndarray
    jacobian: np.ndarray | None

    def as_inputs(self, prefix: str) -> signatures.Tensors:
        """The tensors under the names that signatures use: `prefix` + `value` or `jacobian`."""
        return {prefix + name: tensor for name, tensor in self._asdict().items() if tensor is not None}


def check_frames(frames: np.ndarray, size: tuple[int, int], name: str) -> np.ndarray:
    """Checks frames and converts them to what is sent.

    Args:
      frames: `[N, H, W, 3]` uint8, or float in [0, 1].
      size: the model's (H, W).
      name: of the argument, for messages.

    Returns:
      The frames, uint8 or float32.

    Raises:
      failures.ArgumentError: for a wrong shape, dtype or range.
    """
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[1:] != (*size, 3):
        expected = f"[N, {size[0]}, {size[1]}, 3]"
        raise failures.ArgumentError(f"{name}: got shape {list(frames.shape)}; expected {expected}, the model's size.")
    if not len(frames):
        raise failures.ArgumentError(f"{name}: got no frames; expected at least one.")
    if frames.dtype == np.uint8:
        return frames
    if not np.issubdtype(frames.dtype, np.floating):
        raise failures.ArgumentError(f"{name}: got {frames.dtype}; expected uint8, or float in [0, 1].")
    low, high = frames.min(), frames.max()
    if not (low >= 0 and high <= 1):  # also True for NaN
        raise failures.ArgumentError(
            f"{name}: got values from {low:g} to {high:g}; expected float in [0, 1], or uint8."
        )
    return frames.astype(np.float32)


def check_image(image: np.ndarray, size: tuple[int, int], name: str) -> np.ndarray:
    """Checks one frame, `[H, W, 3]` or `[1, H, W, 3]`, and returns it with a batch axis; see `check_frames`."""
    image = np.asarray(image)
    frames = check_frames(image[np.newaxis] if image.ndim == 3 else image, size, name)
    if len(frames) != 1:
        raise failures.ArgumentError(f"{name}: got {len(frames)} images; expected one.")
    return frames


def check_image_bytes(data: bytes, name: str) -> bytes:
    """Checks an encoded image.

    Raises:
      failures.ArgumentError: if it is not bytes, or starts like neither JPEG nor PNG.
    """
    if not isinstance(data, bytes):
        raise failures.ArgumentError(f"{name}: got {type(data).__name__}; expected bytes.")
    if not data.startswith(_JPEG_OR_PNG):
        raise failures.ArgumentError(f"{name}: got bytes that start with {data[:8]!r}; expected a JPEG or PNG image.")
    return data


def check_keypoints(keypoints: Keypoints, model: signatures.Model, name: str) -> Keypoints:
    """Checks keypoints and converts them to what is sent.

    Args:
      keypoints: value and jacobian.
      model: the model that they are for.
      name: of the argument, for messages.

    Raises:
      failures.ArgumentError: if they do not fit the model, are empty, or not finite.
    """
    value, jacobian = keypoints
    if (jacobian is not None) != model.has_jacobian:
        got, expected = ("None", "an array") if jacobian is None else ("an array", "None")
        raise failures.ArgumentError(f"{name}.jacobian: got {got}; expected {expected}, as in this model's keypoints.")
    value = _check_points(value, [model.num_keypoints, 2], f"{name}.value")
    if jacobian is None:
        return Keypoints(value, None)
    jacobian = _check_points(jacobian, [model.num_keypoints, 2, 2], f"{name}.jacobian")
    if len(value) != len(jacobian):
        raise failures.ArgumentError(
            f"{name}: got {len(value)} values and {len(jacobian)} Jacobians; expected equal numbers."
        )
    return Keypoints(value, jacobian)


def _check_points(points: np.ndarray, shape: list[int], name: str) -> np.ndarray:
    points = np.asarray(points)
    if not np.issubdtype(points.dtype, np.floating) or list(points.shape[1:]) != shape or not len(points):
        expected = f"float [N, {', '.join(map(str, shape))}] with N at least 1"
        raise failures.ArgumentError(f"{name}: got {points.dtype} {list(points.shape)}; expected {expected}.")
    if not np.isfinite(points).all():
        raise failures.ArgumentError(f"{name}: got NaN or infinity; expected finite values.")
    return points.astype(np.float32)

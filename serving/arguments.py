"""What a caller gives, checked before anything is sent."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from serving import failures, signatures

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


class Keypoints(NamedTuple):
    """Keypoints of N frames.

    Attributes:
      value: `[N, K, 2]` float32, (x, y) in [-1, 1].
      jacobian: `[N, K, 2, 2]` float32; None in a model of zeroth order.
    """

    value: np.ndarray
    jacobian: np.ndarray | None

    def named(self, prefix: str) -> signatures.Tensors:
        """As a signature names them."""
        return {prefix + name: part for name, part in self._asdict().items() if part is not None}


def frames(given: np.ndarray, size: tuple[int, int], name: str) -> np.ndarray:
    """Frames as they are sent.

    Args:
      given: `[N, H, W, 3]` uint8, or float in [0, 1].
      size: the model's (H, W).
      name: for messages.

    Returns:
      The same, uint8 or float32.

    Raises:
      failures.ArgumentError: if they are none, or not such.
    """
    given = np.asarray(given)
    if given.ndim != 4 or given.shape[1:] != (*size, 3):
        wanted = f"[N, {size[0]}, {size[1]}, 3]"
        raise failures.ArgumentError(f"{name} is {list(given.shape)}; give {wanted}, the model's size.")
    if not len(given):
        raise failures.ArgumentError(f"{name} is empty; give at least one frame.")
    if given.dtype == np.uint8:
        return given
    if not np.issubdtype(given.dtype, np.floating):
        raise failures.ArgumentError(f"{name} is {given.dtype}; give uint8, or float in [0, 1].")
    low, high = given.min(), given.max()
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise failures.ArgumentError(f"{name} reaches from {low:g} to {high:g}; give float in [0, 1], or uint8.")
    return given.astype(np.float32)


def image(given: np.ndarray, size: tuple[int, int], name: str) -> np.ndarray:
    """One frame, `[H, W, 3]` or `[1, H, W, 3]`, with a batch axis; see `frames`."""
    given = np.asarray(given)
    checked = frames(given[np.newaxis] if given.ndim == 3 else given, size, name)
    if len(checked) != 1:
        raise failures.ArgumentError(f"{name} holds {len(checked)} pictures; give one.")
    return checked


def picture_bytes(given: bytes, name: str) -> bytes:
    """Bytes of a JPEG or PNG picture.

    Raises:
      failures.ArgumentError: if they do not begin as such.
    """
    if not isinstance(given, bytes):
        raise failures.ArgumentError(f"{name} is {type(given).__name__}; give bytes.")
    if not given.startswith(_MAGIC):
        raise failures.ArgumentError(f"{name} begins with {given[:8]!r}; give a JPEG or a PNG picture.")
    return given


def keypoints(given: Keypoints, model: signatures.Model, name: str) -> Keypoints:
    """Keypoints as they are sent.

    Args:
      given: value and jacobian.
      model: that they are for.
      name: for messages.

    Raises:
      failures.ArgumentError: if they do not fit the model, are none, or not finite.
    """
    value, jacobian = given
    if (jacobian is not None) != model.jacobian:
        got, cure = ("no Jacobians", "them") if jacobian is None else ("Jacobians", "None for them")
        raise failures.ArgumentError(f"{name} has {got}, unlike the model's own keypoints; give {cure}.")
    value = _points(value, [model.num_keypoints, 2], f"{name}.value")
    if jacobian is None:
        return Keypoints(value, None)
    jacobian = _points(jacobian, [model.num_keypoints, 2, 2], f"{name}.jacobian")
    if len(value) != len(jacobian):
        raise failures.ArgumentError(f"{name} has {len(value)} values and {len(jacobian)} Jacobians; give as many.")
    return Keypoints(value, jacobian)


def _points(given: np.ndarray, shape: list[int], name: str) -> np.ndarray:
    given = np.asarray(given)
    if not np.issubdtype(given.dtype, np.floating) or list(given.shape[1:]) != shape or not len(given):
        wanted = f"float [N, {', '.join(map(str, shape))}] with N at least 1"
        raise failures.ArgumentError(f"{name} is {given.dtype} {list(given.shape)}; give {wanted}.")
    if not np.isfinite(given).all():
        raise failures.ArgumentError(f"{name} holds NaN or infinity; give finite values.")
    return given.astype(np.float32)

"""What a model sees, as pictures in the paper's manner. Pictures are uint8 RGB numpy arrays."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fomm_tf.opencv import cv2

if TYPE_CHECKING:
    from fomm_tf.ops import keypoints

PANELS = ("keypoints", "deformed", "occlusion", "masks")


def rainbow(count: int) -> np.ndarray:
    """`count` colours around the colour circle, `[count, 3]` uint8: one a keypoint, the same in every picture."""
    hues = np.arange(count) / max(count, 1) * 0.85
    return np.array([[round(255 * part) for part in colorsys.hsv_to_rgb(hue, 1.0, 1.0)] for hue in hues], np.uint8)


def draw_keypoints(frame: np.ndarray, value: np.ndarray, jacobian: np.ndarray | None = None) -> np.ndarray:
    """A frame with its keypoints as dots, and their Jacobians as what they make of a small cross.

    Args:
      frame: `[H, W, 3]` uint8.
      value: `[K, 2]`, (x, y) in [-1, 1].
      jacobian: `[K, 2, 2]`, or None.

    Returns:
      `[H, W, 3]` uint8, a copy.
    """
    picture = np.ascontiguousarray(frame.copy())
    height, width = frame.shape[:2]
    side = min(height, width)
    scale = (np.array([width, height]) - 1) / 2
    centres = (np.asarray(value) + 1) * scale
    arm = 0.06 * side
    for k, (centre, colour) in enumerate(zip(centres, rainbow(len(centres)), strict=True)):
        # OpenCV takes places in 1/16 pixel here, so that a dot of a small picture sits where it belongs.
        place = tuple(int(c) for c in np.round(np.clip(centre, -side, 2 * side) * 16))
        for column in range(2) if jacobian is not None else ():
            direction = np.clip(np.asarray(jacobian)[k, :, column], -4, 4) * arm
            end = tuple(int(c) for c in np.round((np.clip(centre, -side, 2 * side) + direction) * 16))
            cv2.line(picture, place, end, colour.tolist(), max(1, side // 128), cv2.LINE_AA, 4)
        cv2.circle(picture, place, max(16, side * 16 // 64), colour.tolist(), cv2.FILLED, cv2.LINE_AA, 4)
    return picture


def show_occlusion(occlusion: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An occlusion map in grey: white = taken from the source, black = painted anew.

    Args:
      occlusion: `[h, w, 1]` in [0, 1].
      size: (height, width) of the picture.

    Returns:
      `[H, W, 3]` uint8.
    """
    grey = np.rint(np.asarray(occlusion)[..., 0] * 255).astype(np.uint8)
    return cv2.resize(grey, size[::-1], interpolation=cv2.INTER_LINEAR)[..., np.newaxis].repeat(3, axis=2)


def show_masks(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Which local motion moves what: each keypoint's colour where its mask is, black for the background.

    Args:
      mask: `[h, w, K + 1]`, sums to one; the background's is the first.
      size: (height, width) of the picture.

    Returns:
      `[H, W, 3]` uint8.
    """
    mask = np.asarray(mask)
    colours = np.concatenate([np.zeros((1, 3)), rainbow(mask.shape[-1] - 1)])
    picture = np.rint(mask @ colours).clip(0, 255).astype(np.uint8)
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_LINEAR)


def panels(
    source: np.ndarray,
    source_keypoints: keypoints.Keypoints,
    driving: np.ndarray,
    driving_keypoints: keypoints.Keypoints,
    deformed: np.ndarray,
    mask: np.ndarray,
    occlusion: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """What a model sees of one pair of frames.

    Args:
      source: `[H, W, 3]` uint8.
      source_keypoints: of one frame, `[K, 2]` and `[K, 2, 2]` or None.
      driving: `[H, W, 3]` uint8.
      driving_keypoints: of one frame.
      deformed: `[H, W, 3]` uint8, the source warped.
      mask: `[h, w, K + 1]`.
      occlusion: `[h, w, 1]`, or None if the model has none.

    Returns:
      Pictures by the names in `PANELS`, without `occlusion` if there is none; `keypoints` shows both frames.
    """
    pairs = ((source, source_keypoints), (driving, driving_keypoints))
    size = source.shape[:2]
    found = {
        "keypoints": np.concatenate([draw_keypoints(frame, *found) for frame, found in pairs], axis=1),
        "deformed": deformed,
        "masks": show_masks(mask, size),
    }
    if occlusion is not None:
        found["occlusion"] = show_occlusion(occlusion, size)
    return found


def row(shown: Mapping[str, np.ndarray], prediction: np.ndarray) -> np.ndarray:
    """The panels of one pair beside each other, the prediction after the two frames."""
    others = [shown[name] for name in PANELS if name in shown and name != "keypoints"]
    return np.concatenate([shown["keypoints"], prediction, *others], axis=1)

"""Visualizations of keypoints, occlusion maps and masks, as in the paper. Images are `[H, W, 3]` uint8, RGB."""

from __future__ import annotations

import colorsys
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fomm_tf import files
from fomm_tf.opencv import cv2

if TYPE_CHECKING:
    from fomm_tf.ops import keypoints

PANELS = ("keypoints", "deformed", "occlusion", "masks")
OVERVIEW = "overview.png"


def check_output(folder: str | pathlib.Path, *inputs: str | pathlib.Path | None) -> None:
    """Checks that no file of the visualization replaces an input or lies in one; see `fomm_tf.files.check_output`.

    Args:
      folder: the directory for the videos of the panels and the overview.
      inputs: files and directories.

    Raises:
      UserError: if an input would be replaced, or if the name cannot be used.
    """
    kept = files.Inputs(inputs)
    for name in (*(f"{panel}.mp4" for panel in PANELS), OVERVIEW):
        kept.check(pathlib.Path(folder) / name)


def rainbow(count: int) -> np.ndarray:
    """`count` hues, `[count, 3]` uint8: one color per keypoint, the same in every image."""
    hues = np.arange(count) / max(count, 1) * 0.85
    return np.array([[round(255 * part) for part in colorsys.hsv_to_rgb(hue, 1.0, 1.0)] for hue in hues], np.uint8)


def draw_keypoints(frame: np.ndarray, value: np.ndarray, jacobian: np.ndarray | None = None) -> np.ndarray:
    """Draws keypoints as dots, and their Jacobians as the images of a small cross.

    Args:
      frame: `[H, W, 3]` uint8.
      value: `[K, 2]`, (x, y) in [-1, 1].
      jacobian: `[K, 2, 2]`, or None.

    Returns:
      `[H, W, 3]` uint8, a copy.
    """
    image = np.ascontiguousarray(frame.copy())
    height, width = frame.shape[:2]
    side = min(height, width)
    scale = (np.array([width, height]) - 1) / 2
    centers = (np.asarray(value) + 1) * scale
    arm = 0.06 * side
    for k, (center, color) in enumerate(zip(centers, rainbow(len(centers)), strict=True)):
        # Coordinates are in 1/16 pixel (shift 4), for sub-pixel accuracy in small images.
        place = tuple(int(c) for c in np.round(np.clip(center, -side, 2 * side) * 16))
        for column in range(2) if jacobian is not None else ():
            direction = np.clip(np.asarray(jacobian)[k, :, column], -4, 4) * arm
            end = tuple(int(c) for c in np.round((np.clip(center, -side, 2 * side) + direction) * 16))
            cv2.line(image, place, end, color.tolist(), max(1, side // 128), cv2.LINE_AA, 4)
        cv2.circle(image, place, max(16, side * 16 // 64), color.tolist(), cv2.FILLED, cv2.LINE_AA, 4)
    return image


def show_occlusion(occlusion: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Draws an occlusion map in gray: white = visible in the source, black = inpainted.

    Args:
      occlusion: `[h, w, 1]` in [0, 1].
      size: (height, width) of the image.

    Returns:
      `[H, W, 3]` uint8.
    """
    gray = np.rint(np.asarray(occlusion)[..., 0] * 255).astype(np.uint8)
    return cv2.resize(gray, size[::-1], interpolation=cv2.INTER_LINEAR)[..., np.newaxis].repeat(3, axis=2)


def show_masks(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Draws the masks of the local motions: each keypoint's color where its mask is, black for the background.

    Args:
      mask: `[h, w, K + 1]`, sums to one; the background comes first.
      size: (height, width) of the image.

    Returns:
      `[H, W, 3]` uint8.
    """
    mask = np.asarray(mask)
    colors = np.concatenate([np.zeros((1, 3)), rainbow(mask.shape[-1] - 1)])
    image = np.rint(mask @ colors).clip(0, 255).astype(np.uint8)
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)


def panels(
    source: np.ndarray,
    source_keypoints: keypoints.Keypoints,
    driving: np.ndarray,
    driving_keypoints: keypoints.Keypoints,
    deformed: np.ndarray,
    mask: np.ndarray,
    occlusion: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """Draws all panels of one pair of frames.

    Args:
      source: `[H, W, 3]` uint8.
      source_keypoints: of one frame, `[K, 2]` and `[K, 2, 2]` or None.
      driving: `[H, W, 3]` uint8.
      driving_keypoints: of one frame.
      deformed: `[H, W, 3]` uint8, the source warped.
      mask: `[h, w, K + 1]`.
      occlusion: `[h, w, 1]`, or None if the model has none.

    Returns:
      Images by the names in `PANELS`, without `occlusion` if there is none; `keypoints` shows both frames.
    """
    pairs = ((source, source_keypoints), (driving, driving_keypoints))
    size = source.shape[:2]
    images = {
        "keypoints": np.concatenate([draw_keypoints(frame, *keypoints) for frame, keypoints in pairs], axis=1),
        "deformed": deformed,
        "masks": show_masks(mask, size),
    }
    if occlusion is not None:
        images["occlusion"] = show_occlusion(occlusion, size)
    return images


def row(shown: Mapping[str, np.ndarray], prediction: np.ndarray) -> np.ndarray:
    """The panels of one pair side by side, the prediction after the two frames."""
    others = [shown[name] for name in PANELS if name in shown and name != "keypoints"]
    return np.concatenate([shown["keypoints"], prediction, *others], axis=1)

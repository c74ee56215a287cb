"""Keypoints, occlusion maps and masks as images, as in the paper, and grids and strips of images.

Images are `[H, W, 3]` uint8, RGB.
"""

from __future__ import annotations

import colorsys
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fomm_tf import files, video

# The value `[K, 2]` and the Jacobians `[K, 2, 2]` or None of the keypoints of one frame.
FrameKeypoints = tuple[np.ndarray, np.ndarray | None]
PANELS = ("keypoints", "deformed", "occlusion", "masks")
OVERVIEW, CROPS = "overview.png", "crops.png"
# Height of the frames in `CROPS`, in pixels.
_CROPS_HEIGHT = 360
# Columns of a strip.
MOMENTS = 6


def check_output(folder: str | pathlib.Path, *inputs: str | pathlib.Path | None) -> None:
    """Checks that no file of the visualization replaces an input or lies in one; see `fomm_tf.files.check_output`.

    Args:
      folder: the directory for the videos of the panels and the overview.
      inputs: files and directories.

    Raises:
      UserError: if an input would be replaced, or if the name cannot be used.
    """
    kept = files.Inputs(inputs)
    for name in (*(f"{panel}.mp4" for panel in PANELS), OVERVIEW, CROPS):
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
    from fomm_tf.opencv import cv2  # not for `fomm --help`

    image = np.ascontiguousarray(frame.copy())
    height, width = frame.shape[:2]
    side = min(height, width)
    scale = (np.array([width, height]) - 1) / 2
    centers = (np.asarray(value) + 1) * scale
    arm = 0.06 * side
    for k, (center, color) in enumerate(zip(centers, rainbow(len(centers)), strict=True)):
        # Coordinates are in 1/16 pixel (shift 4), for sub-pixel accuracy in small images.
        center = np.clip(center, -side, 2 * side)
        place = np.round(center * 16).astype(int).tolist()
        for column in range(2) if jacobian is not None else ():
            direction = np.clip(np.asarray(jacobian)[k, :, column], -4, 4) * arm
            end = np.round((center + direction) * 16).astype(int).tolist()
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
    return _resize(np.rint(np.asarray(occlusion) * 255).repeat(3, axis=2), size)


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
    return _resize(np.rint(mask @ colors).clip(0, 255), size)


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from fomm_tf.opencv import cv2

    return cv2.resize(image.astype(np.uint8), size[::-1], interpolation=cv2.INTER_LINEAR)


def panels(
    source: np.ndarray,
    source_keypoints: FrameKeypoints | None,
    driving: np.ndarray,
    driving_keypoints: FrameKeypoints | None,
    deformed: np.ndarray,
    mask: np.ndarray | None,
    occlusion: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """Draws all panels of one pair of frames.

    Args:
      source: `[H, W, 3]` uint8.
      source_keypoints: of the source; None if the model has none.
      driving: `[H, W, 3]` uint8.
      driving_keypoints: of the driving frame; None if the model has none.
      deformed: `[H, W, 3]` uint8, the source warped.
      mask: `[h, w, K + 1]`, or None if the model has none.
      occlusion: `[h, w, 1]`, or None if the model has none.

    Returns:
      Images by the names in `PANELS`, without masks or occlusion if there are none; `keypoints` shows both frames.
    """
    pairs = ((source, source_keypoints), (driving, driving_keypoints))
    size = source.shape[:2]
    images = {
        "keypoints": np.concatenate(
            [frame if keypoints is None else draw_keypoints(frame, *keypoints) for frame, keypoints in pairs], axis=1
        ),
        "deformed": deformed,
    }
    if mask is not None:
        images["masks"] = show_masks(mask, size)
    if occlusion is not None:
        images["occlusion"] = show_occlusion(occlusion, size)
    return images


def row(shown: Mapping[str, np.ndarray], prediction: np.ndarray) -> np.ndarray:
    """The panels of one pair side by side, the prediction after the two frames."""
    others = [shown[name] for name in PANELS if name in shown and name != "keypoints"]
    return np.concatenate([shown["keypoints"], prediction, *others], axis=1)


def draw_crops(frames: Sequence[tuple[np.ndarray, Sequence[tuple[int, int, int]]]]) -> np.ndarray:
    """Draws frames side by side with the squares that were cropped from them, in the colors of `rainbow`.

    Args:
      frames: `[H, W, 3]` uint8 each, and squares (left, top, side) in its pixels.

    Returns:
      `[360, W, 3]` uint8.
    """
    from fomm_tf.opencv import cv2

    cells = []
    for frame, squares in frames:
        scale = _CROPS_HEIGHT / frame.shape[0]
        size = (_CROPS_HEIGHT, max(1, round(scale * frame.shape[1])))
        cell = np.ascontiguousarray(video.resize(frame, size, "stretch").copy())
        for (left, top, side), color in zip(squares, rainbow(len(squares)), strict=True):
            ends = np.round(scale * np.array([[left, top], [left + side, top + side]])).astype(int)
            corners = np.clip(ends, 1, np.array(size[::-1]) - 2)  # what lies beyond the frame is drawn on its edge
            cv2.rectangle(cell, *corners.tolist(), color.tolist(), 2, cv2.LINE_AA)
        cells.append(cell)
    return _concatenate(cells, 8)


class Row(NamedTuple):
    """A row of a grid.

    Attributes:
      label: text to its left, rotated upright.
      cells: images `[H, W, 3]` uint8; None is an empty cell.
      starts_group: add space above, since a new group of rows starts here.
    """

    label: str
    cells: Sequence[np.ndarray | None]
    starts_group: bool = False


def draw_grid(rows: Sequence[Row], columns: Sequence[str], size: tuple[int, int]) -> np.ndarray:
    """Draws the rows on white.

    Args:
      rows: each with one cell per column.
      columns: labels above the columns.
      size: (height, width) of a cell.

    Returns:
      `[H, W, 3]` uint8.
    """
    height, width = size
    gap, line = max(2, height // 48), max(14, height // 8)
    parts = [_concatenate([_blank(line, line), *(_centered_text(column, line, width) for column in columns)], gap)]
    for row in rows:
        label = np.rot90(_centered_text(row.label, line, height))
        cells = [_blank(*size) if cell is None else video.resize(cell, size, "stretch") for cell in row.cells]
        strip = _concatenate([label, *cells], gap)
        parts += [_blank((4 if row.starts_group else 1) * gap, strip.shape[1]), strip]
    return np.pad(np.concatenate(parts), [(gap, 2 * gap), (gap, 2 * gap), (0, 0)], constant_values=255)


class VideoStrip:
    """Samples frames spread evenly over a video of unknown length: rows source, driving, result, maybe ground truth.

    Args:
      source: `[H, W, 3]` uint8.
    """

    def __init__(self, source: np.ndarray) -> None:
        self._source = source
        self._columns: list[np.ndarray] = []
        self._count, self._step = 0, 1

    def add(self, driving: np.ndarray, generated: np.ndarray, truth: np.ndarray | None = None) -> None:
        """Adds the next frames, uint8, of the source's size."""
        if self._count % self._step == 0 and len(self._columns) == 2 * MOMENTS:
            self._columns, self._step = self._columns[::2], 2 * self._step
        if self._count % self._step == 0:
            rows = [self._source, driving, generated] + [truth] * (truth is not None)
            self._columns.append(np.concatenate(rows))
        self._count += 1

    def image(self) -> np.ndarray:
        """`MOMENTS` columns, black where there are fewer frames."""
        chosen = np.unique(np.linspace(0, len(self._columns) - 1, MOMENTS).round().astype(int))
        columns = [self._columns[index] for index in chosen]
        columns += [np.zeros_like(columns[0])] * (MOMENTS - len(columns))
        return np.concatenate(columns, axis=1)


def stack_strips(strips: list[np.ndarray]) -> np.ndarray:
    """Stacks strips vertically, separated by white lines; narrower ones are padded with white."""
    width = max(strip.shape[1] for strip in strips)
    padded = [np.pad(strip, [(0, 4), (0, width - strip.shape[1]), (0, 0)], constant_values=255) for strip in strips]
    return np.concatenate(padded)[:-4]


def _concatenate(cells: Sequence[np.ndarray], gap: int) -> np.ndarray:
    spaced = [np.pad(cell, [(0, 0), (0, gap), (0, 0)], constant_values=255) for cell in cells]
    return np.concatenate(spaced, axis=1)[:, :-gap]


def _centered_text(text: str, height: int, width: int) -> np.ndarray:
    image = video.draw_text(text, height, width)
    left = (width - image.shape[1]) // 2
    return np.pad(image, [(0, 0), (left, width - image.shape[1] - left), (0, 0)], constant_values=255)


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 255, np.uint8)

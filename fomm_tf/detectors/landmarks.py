"""Points of the best object of each frame: what faces and bodies have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fomm_tf.detectors import lite, regions
from fomm_tf.detectors.results import CERTAIN, Boxes, Points


def look(model: lite.LiteModel, frame: np.ndarray, region: regions.Region) -> list[np.ndarray]:
    """What a model that takes [0, 1] says of a region of a frame."""
    return model(regions.cut(frame, region, model.side).astype(np.float32) / 255)


def gather(
    frames: Sequence[np.ndarray],
    found: Sequence[Boxes],
    count: int,
    locate: Callable[[np.ndarray, Boxes], tuple[float, np.ndarray, np.ndarray | float]],
) -> Points:
    """The points of N frames.

    Args:
      frames: `[H, W, 3]` uint8 each.
      found: the objects of each frame.
      count: P, the number of points.
      locate: gives of a frame and its objects how surely there is one, the points of the best `[P, 2]`, and their
        visibility `[P]` or one for all.
    """
    value = np.full([len(frames), count, 2], np.nan, np.float32)
    visibility = np.zeros([len(frames), count], np.float32)
    for number, (frame, boxes) in enumerate(zip(frames, found, strict=True)):
        if not len(boxes.score):
            continue
        presence, places, visible = locate(frame, boxes)
        if presence >= CERTAIN:
            value[number], visibility[number] = places, visible
    return Points(value, visibility)

"""Detectors of boxes by anchors: what the networks of MediaPipe's BlazeFace kind say, turned into boxes.

Such a network divides its square input into cells; for every anchor, a place in a cell, it tells how surely there is
an object, and the box and some points of it relative to the anchor.

Source: Bazarevsky et al., BlazeFace (2019), arXiv:1907.05047, for anchors and the blending of overlapping boxes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from fomm_tf.detectors import lite, regions
from fomm_tf.detectors.results import Boxes

# Boxes that share this much of their union show the same object.
_SAME = 0.3


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a network lays out what it says.

    Attributes:
      file: the network.
      grids: cells a side and anchors a cell, in the order of the output.
      certain: score from which on an object counts.
    """

    file: str
    grids: tuple[tuple[int, int], ...]
    certain: float


class BoxNetwork:
    """Finds objects in frames.

    Args:
      layout: of the network.
      threads: that it may use.
    """

    def __init__(self, layout: Layout, threads: int) -> None:
        self._model = lite.LiteModel(layout.file, threads)
        self._anchors = place_anchors(layout.grids)
        self._certain = layout.certain

    def __call__(self, frame: np.ndarray) -> Boxes:
        """The objects in one frame."""
        region = regions.whole(frame)
        image = regions.cut(frame, region, self._model.side)
        raw, logits = self._model(image.astype(np.float32) / 127.5 - 1)
        score = lite.sigmoid(logits[:, 0])
        sure = score >= self._certain
        corners, points = decode(raw[sure] / self._model.side, self._anchors[sure])
        corners = regions.to_frame(corners, region)
        return suppress(Boxes(score[sure], corners.reshape(-1, 4), regions.to_frame(points, region)))


def place_anchors(grids: Sequence[tuple[int, int]]) -> np.ndarray:
    """The centers of the anchors: row by row, those of a cell one after another.

    Args:
      grids: cells a side and anchors a cell.

    Returns:
      `[A, 2]` (x, y) in [0, 1].
    """
    centers = []
    for cells, per_cell in grids:
        rows, columns = np.mgrid[:cells, :cells]
        centers.append(np.repeat((np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) / cells, per_cell, axis=0))
    return np.concatenate(centers)


def decode(raw: np.ndarray, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and points from what the network says of each anchor.

    Args:
      raw: `[A, 4 + 2 Q]`: offset (x, y) of the box's center from the anchor, width, height, offsets of the points.
      anchors: `[A, 2]`.

    Returns:
      Upper left and lower right corners `[A, 2, 2]`, and points `[A, Q, 2]`, in the unit of the anchors.
    """
    raw = raw.reshape(len(raw), raw.shape[1] // 2, 2)
    center, half = raw[:, 0] + anchors, raw[:, 1] / 2
    return np.stack([center - half, center + half], axis=1), raw[:, 2:] + anchors[:, np.newaxis]


def suppress(candidates: Boxes) -> Boxes:
    """Blends the boxes and points of each object by their scores, which is steadier from frame to frame than the best.

    Args:
      candidates: any number for each object.

    Returns:
      One for each object, with the best score of its candidates; the best first.
    """
    groups = list(_group(candidates))
    blended = [
        Boxes(
            score[0],
            np.average(box, axis=0, weights=score),
            np.average(points, axis=0, weights=score),
        )
        for score, box, points in groups
    ]
    if not blended:
        return Boxes(*(part[:0].astype(np.float32) for part in candidates))
    return Boxes(*(np.stack(part).astype(np.float32) for part in zip(*blended, strict=True)))


def _group(candidates: Boxes) -> Iterator[Boxes]:
    """Splits candidates by object, each sorted by score."""
    order = np.argsort(-candidates.score, kind="stable")
    while len(order):
        same = iou(candidates.box[order[0]], candidates.box[order]) >= _SAME
        same[0] = True
        yield Boxes(*(part[order[same]] for part in candidates))
        order = order[~same]


def iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of a box `[4]` with others `[M, 4]`; 0 where there is no area."""
    overlap = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    both = np.prod(np.maximum(overlap, 0), axis=1)
    union = np.prod(box[2:] - box[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=1) - both
    return np.where(union > 0, both / np.where(union > 0, union, 1), 0)

"""Box detectors with anchors: decodes the outputs of networks like MediaPipe's BlazeFace.

Such a network divides its square input into cells, each with several anchors. For every anchor it outputs a score, a
box and some points relative to the anchor.

Source: Bazarevsky et al., BlazeFace (2019), arXiv:1907.05047, for anchors and the blending of overlapping boxes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from fomm_tf.detectors import networks
from fomm_tf.detectors.networks import Boxes

# Boxes with at least this IoU belong to the same object.
_SAME_OBJECT_IOU = 0.3


@dataclasses.dataclass(frozen=True)
class Anchors:
    """The anchors of a network.

    Attributes:
      file: of the network.
      grids: cells per side and anchors per cell, in the order of the output.
      min_score: minimum score of an object.
    """

    file: str
    grids: tuple[tuple[int, int], ...]
    min_score: float


class BoxNetwork:
    """Detects objects in frames.

    Args:
      anchors: of the network.
      threads: number of threads that it may use.
    """

    def __init__(self, anchors: Anchors, threads: int) -> None:
        self._model = networks.TFLiteModel(anchors.file, threads)
        self._centers = place_anchors(anchors.grids)
        self._min_score = anchors.min_score

    def __call__(self, frame: np.ndarray) -> Boxes:
        """Detects the objects in one frame."""
        region = networks.whole_frame(frame)
        image = networks.crop(frame, region, self._model.side)
        raw, logits = self._model(image.astype(np.float32) / 127.5 - 1)
        score = networks.sigmoid(logits[:, 0])
        kept = score >= self._min_score
        corners, points = decode(raw[kept] / self._model.side, self._centers[kept])
        corners = networks.to_frame(corners, region)
        return suppress(Boxes(score[kept], corners.reshape(-1, 4), networks.to_frame(points, region)))


def place_anchors(grids: Sequence[tuple[int, int]]) -> np.ndarray:
    """The centers of the anchors, row by row; those of a cell are adjacent.

    Args:
      grids: cells per side and anchors per cell.

    Returns:
      `[A, 2]` (x, y) in [0, 1].
    """
    centers = []
    for cells, per_cell in grids:
        rows, columns = np.mgrid[:cells, :cells]
        centers.append(np.repeat((np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) / cells, per_cell, axis=0))
    return np.concatenate(centers)


def decode(raw: np.ndarray, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decodes boxes and points from the network's outputs.

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
    """Merges the candidates of each object: averages boxes and points weighted by score, for temporal stability.

    Args:
      candidates: any number per object.

    Returns:
      One per object, with the highest score of its candidates; the best object first.
    """
    merged = [
        Boxes(score[0], np.average(box, axis=0, weights=score), np.average(points, axis=0, weights=score))
        for score, box, points in _group(candidates)
    ]
    if not merged:
        return Boxes(*(part[:0].astype(np.float32) for part in candidates))
    return Boxes(*(np.stack(part).astype(np.float32) for part in zip(*merged, strict=True)))


def _group(candidates: Boxes) -> Iterator[Boxes]:
    """Splits candidates by object, each sorted by score."""
    order = np.argsort(-candidates.score, kind="stable")
    while len(order):
        same = iou(candidates.box[order[0]], candidates.box[order]) >= _SAME_OBJECT_IOU
        same[0] = True
        yield Boxes(*(part[order[same]] for part in candidates))
        order = order[~same]


def iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of a box `[4]` with others `[M, 4]`; 0 where the union is empty."""
    overlap = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    both = np.prod(np.maximum(overlap, 0), axis=1)
    union = np.prod(box[2:] - box[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=1) - both
    return np.where(union > 0, both / np.where(union > 0, union, 1), 0)

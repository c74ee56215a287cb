"""The same test video made by each variant, row by row, put together from what the evaluations drew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fomm_tf import video
from fomm_tf.ablation import numbers, work
from fomm_tf.experiments import image_grid

_HEIGHT = 128


def choose(reports: numbers.Reports, task: str) -> str:
    """The video whose L1 is the median: neither the one that looks best nor the one that looks worst."""
    tallies = {one["name"]: one["model"]["l1"] for one in reports[task]["videos"]}
    ranked = sorted(tallies, key=lambda name: tallies[name]["total"] / tallies[name]["frames"])
    return ranked[len(ranked) // 2]


def draw(places: Mapping[str, Path], name: str, task: str, size: tuple[int, int]) -> np.ndarray:
    """Source and driving frames, the true ones where they are others, then what each variant makes of them.

    Args:
      places: title of a variant -> the folder of its evaluations.
      name: of the video.
      task: of the evaluation.
      size: `(H, W)` of a frame.

    Returns:
      `[H, W, 3]` uint8.
    """
    strips = {
        title: _cut(video.read_image(place / task / "results" / task / f"{name}.png"), size)
        for title, place in places.items()
    }
    source, driving, _, *true = next(iter(strips.values()))
    rows = [image_grid.Row("driving", [source[0], *driving])]
    rows += [image_grid.Row("true", [None, *frames]) for frames in true]
    rows += [image_grid.Row(title, [None, *strip[2]]) for title, strip in strips.items()]
    cell = (_HEIGHT, round(_HEIGHT * size[1] / size[0]))
    return image_grid.draw_grid(rows, ["source", *[""] * len(driving)], cell)


def caption(task: str) -> str:
    """What such a picture shows."""
    if task == work.RECONSTRUCTION:
        return "A test clip rebuilt by each variant, from its first frame and the keypoints of each frame"
    return "A picture moved by another character's clip, the true animation, and what each variant makes of it"


def _cut(strip: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A strip of `fomm_tf.inference.evaluation` as its frames: `[rows, moments, H, W, 3]`."""
    height, width = size
    rows, moments = strip.shape[0] // height, strip.shape[1] // width
    return strip.reshape(rows, height, moments, width, 3).swapaxes(1, 2)

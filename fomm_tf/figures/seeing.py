"""What a model makes of the material of a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fomm_tf import config, models, video, visualize
from fomm_tf.figures import material as materials
from fomm_tf.inference import animator, stream


class Seen(NamedTuple):
    """Pictures of the model's size; those with keypoints are drawn at the figure's.

    Attributes:
      name: of the run.
      sources: as the model gets them.
      frames: as the model gets them.
      marked_sources: with their keypoints.
      marked_frames: with their keypoints.
      shown: for each source, pictures of each frame by what they show: `result`, `deformed`, `masks` and, if the model
        has it, `occlusion`.
    """

    name: str
    sources: list[np.ndarray]
    frames: list[np.ndarray]
    marked_sources: list[np.ndarray]
    marked_frames: list[np.ndarray]
    shown: list[dict[str, list[np.ndarray]]]


def look(
    name: str,
    model: animator.Animator,
    material: materials.Material,
    transfer: config.AnimateConfig,
    fit: str = "crop",
    render: bool = True,
    height: int = 256,
    jacobians: bool = False,
) -> Seen:
    """Lets a model look at sources and frames, and animate the sources.

    Args:
      name: of the run.
      model: the animator.
      material: sources and frames.
      transfer: how the motion is carried over.
      fit: how pictures get the model's size; see `fomm_tf.video.resize`.
      render: animate too, not only find keypoints.
      height: of the pictures with keypoints, in pixels.
      jacobians: draw what the Jacobians make of a cross.
    """
    size = model.config.model.frame_size
    sources, frames = (
        [video.resize(picture, size, fit) for picture in pictures] for pictures in (material.sources, material.frames)
    )
    shown = []
    for picture in sources if render else ():
        panels: dict[str, list[np.ndarray]] = {}
        initial = model.detect(video.resize(material.first, size, fit)[np.newaxis])
        for _, rendering in stream.render_stream(
            model, model.encode_source(picture), frames, transfer, details=True, initial=initial
        ):
            for name_of_panel, pictures in _panels(rendering, size).items():
                panels.setdefault(name_of_panel, []).extend(pictures)
        shown.append(panels)
    larger = cell_size(size, height)
    marked = [_mark(model, pictures, larger, jacobians) for pictures in (sources, frames)]
    return Seen(name, sources, frames, *marked, shown)


def cell_size(size: tuple[int, int], height: int) -> tuple[int, int]:
    """(height, width) with the proportions of `size`."""
    return height, max(1, round(height * size[1] / size[0]))


def _mark(
    model: animator.Animator, pictures: Sequence[np.ndarray], size: tuple[int, int], jacobians: bool
) -> list[np.ndarray]:
    marked = []
    for picture in pictures:
        value, jacobian = stream.select_frame(model.detect(picture[np.newaxis]), 0).frame(0)
        larger = video.resize(picture, size, "stretch")
        marked.append(visualize.draw_keypoints(larger, value, jacobian if jacobians else None))
    return marked


def _panels(rendering: models.Rendering, size: tuple[int, int]) -> dict[str, list[np.ndarray]]:
    panels = {
        "result": list(video.to_uint8(rendering.prediction.numpy())),
        "deformed": list(video.to_uint8(rendering.deformed.numpy())),
        "masks": [visualize.show_masks(mask, size) for mask in rendering.mask.numpy()],
    }
    if rendering.occlusion is not None:
        panels["occlusion"] = [visualize.show_occlusion(occlusion, size) for occlusion in rendering.occlusion.numpy()]
    return panels

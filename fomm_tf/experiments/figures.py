"""Figures like the paper's 3, 4, 9 and 10, from one run or several: inputs, a run's outputs, and rows of a grid.

Images are `[H, W, 3]` uint8. TensorFlow and OpenCV are loaded by `render` alone.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fomm_tf import config, errors, video
from fomm_tf.visualize import Row

if TYPE_CHECKING:
    from fomm_tf import structures
    from fomm_tf.inference import animator

Rows = tuple[list[Row], list[str]]

# The order of the rows of `motion`, below the frames.
_PANELS = ("deformed", "occlusion", "masks", "result")


class Inputs(NamedTuple):
    """The images of a figure, as they are in their files."""

    names: list[str]  # of the sources
    sources: list[np.ndarray]  # images
    times: list[float]  # of the frames, in seconds from the clip's first frame
    frames: list[np.ndarray]  # of the driving clip
    first: np.ndarray | None  # the clip's first frame, which relative motion starts from; None without a clip


def read_inputs(
    sources: Sequence[str],
    driving: str | None,
    frames: int,
    start: float | None = None,
    duration: float | None = None,
) -> Inputs:
    """Reads images, and frames spread over the clip, including the last one.

    The first frame is left out where there are more: relative motion and reconstruction reproduce it exactly.

    Args:
      sources: image files.
      driving: see `fomm_tf.video.open_video`; None for no clip.
      frames: number of frames; all of a shorter clip.
      start: where the clip starts in the video, in seconds.
      duration: length of the clip, in seconds.

    Raises:
      errors.UserError: if a file cannot be read or `frames` is below 1.
    """
    if frames < 1:
        raise errors.UserError(f"`frames` must be at least 1; got {frames}.")
    names = [pathlib.Path(source).stem for source in sources]
    images = [video.read_image(source) for source in sources]
    if driving is None:
        return Inputs(names, images, [], [], None)
    clip = video.open_video(driving, start, duration)
    total = sum(1 for _ in clip)  # counted, since headers can be wrong
    selected = set(range(total))
    if frames < total:
        selected = set(np.linspace(0, total - 1, frames + 1).round().astype(int)[1:])
    times, selected_frames, first = [], [], None
    for index, frame in enumerate(clip):
        first = frame if index == 0 else first
        if index in selected:
            times.append(float(index / clip.fps))
            selected_frames.append(frame)
    return Inputs(names, images, times, selected_frames, first)


class Outputs(NamedTuple):
    """What a run makes of the inputs: images of the model's size; those with keypoints have the figure's cell size."""

    name: str  # of the run
    sources: list[np.ndarray]  # resized for the model
    frames: list[np.ndarray]  # resized for the model
    marked_sources: list[np.ndarray]  # with keypoints
    marked_frames: list[np.ndarray]  # with keypoints
    # For each source, images of each frame by panel: `result`, `deformed`, `masks` and, if the model predicts it,
    # `occlusion`.
    panels: list[dict[str, list[np.ndarray]]]


def render(
    name: str,
    model: animator.Animator,
    inputs: Inputs,
    transfer: config.AnimateConfig,
    fit: str = "crop",
    animates: bool = True,
    height: int = 256,
    jacobians: bool = False,
) -> Outputs:
    """Detects keypoints in sources and frames, and animates the sources.

    Args:
      name: of the run.
      model: the animator.
      inputs: sources and frames.
      transfer: how motion is transferred.
      fit: how images are resized to the model's size; see `fomm_tf.video.resize`.
      animates: animate the sources too.
      height: of the images with keypoints, in pixels.
      jacobians: draw the Jacobians of the keypoints.
    """
    from fomm_tf import visualize
    from fomm_tf.inference import stream

    size = model.config.model.frame_size
    sources, frames = (
        [video.resize(image, size, fit) for image in images] for images in (inputs.sources, inputs.frames)
    )
    panels = []
    for source in sources if animates else ():
        of_source: dict[str, list[np.ndarray]] = {}
        initial = model.detect(video.resize(inputs.first, size, fit)[np.newaxis])
        for _, rendering in stream.render_stream(
            model, model.encode_source(source), frames, transfer, details=True, initial=initial
        ):
            for panel, images in _draw_panels(rendering, size).items():
                of_source.setdefault(panel, []).extend(images)
        panels.append(of_source)

    def mark(image: np.ndarray) -> np.ndarray:
        larger = video.resize(image, cell_size(size, height), "stretch")
        if not model.config.model.traits.has_keypoints:
            return larger
        value, jacobian = stream.select_frame(model.detect(image[np.newaxis]), 0).frame(0)
        return visualize.draw_keypoints(larger, value, jacobian if jacobians else None)

    return Outputs(name, sources, frames, list(map(mark, sources)), list(map(mark, frames)), panels)


def cell_size(size: tuple[int, int], height: int) -> tuple[int, int]:
    """(height, width) with the aspect ratio of `size`."""
    return height, max(1, round(height * size[1] / size[0]))


def _draw_panels(rendering: structures.Rendering, size: tuple[int, int]) -> dict[str, list[np.ndarray]]:
    from fomm_tf import visualize

    panels = {
        "result": list(video.to_uint8(rendering.prediction.numpy())),
        "deformed": list(video.to_uint8(rendering.deformed.numpy())),
    }
    if rendering.mask is not None:
        panels["masks"] = [visualize.show_masks(mask, size) for mask in rendering.mask.numpy()]
    if rendering.occlusion is not None:
        panels["occlusion"] = [visualize.show_occlusion(occlusion, size) for occlusion in rendering.occlusion.numpy()]
    return panels


class Kind(NamedTuple):
    """A kind of figure."""

    text: str  # what it shows
    needs_source: bool  # it requires sources
    needs_driving: bool  # it requires a driving clip
    animates: bool  # it shows animations of the sources
    # From the inputs and each run's outputs, the rows and the column labels.
    rows: Callable[[Inputs, Sequence[Outputs]], Rows]


def _reconstruction(inputs: Inputs, runs: Sequence[Outputs]) -> Rows:
    rows = [Row("driving", [None, *runs[0].frames])]
    for index, run in enumerate(runs):
        (panels,) = run.panels
        rows.append(Row(run.name, [None if index else run.sources[0], *panels["result"]]))
    return rows, ["first frame", *_times(inputs)]


def _animation(inputs: Inputs, runs: Sequence[Outputs]) -> Rows:
    rows = [Row("driving", [None, *runs[0].frames])]
    for place, name in enumerate(inputs.names):
        for index, run in enumerate(runs):
            label = run.name if len(runs) > 1 else name
            source = None if index else run.sources[place]
            rows.append(Row(label, [source, *run.panels[place]["result"]], starts_group=not index))
    return rows, ["source", *_times(inputs)]


def _keypoints(inputs: Inputs, runs: Sequence[Outputs]) -> Rows:
    rows = [Row(run.name, [*run.marked_sources, *run.marked_frames]) for run in runs]
    return rows, [*inputs.names, *_times(inputs)]


def _motion(inputs: Inputs, runs: Sequence[Outputs]) -> Rows:
    rows = []
    for place in range(len(inputs.names)):
        for run in runs:
            panels = run.panels[place]
            # Each run has its own keypoints, and so its own row of driving frames.
            label = "driving" if len(runs) == 1 else run.name
            rows.append(Row(label, [run.marked_sources[place], *run.marked_frames], starts_group=bool(rows)))
            rows += [Row(panel, [None, *panels[panel]]) for panel in _PANELS if panel in panels]
    return rows, ["source", *_times(inputs)]


def _times(inputs: Inputs) -> list[str]:
    return [f"{time:.2f} s" for time in inputs.times]


KINDS = {
    "reconstruction": Kind(
        "a clip reconstructed from its first frame and its frames' keypoints, one row per run (Fig. 3)",
        False,
        True,
        True,
        _reconstruction,
    ),
    "animation": Kind(
        "sources animated by a clip: sources and runs in rows, frames in columns (Fig. 4)", True, True, True, _animation
    ),
    "keypoints": Kind("keypoints on sources and frames, one row per run (Fig. 9)", False, False, False, _keypoints),
    "motion": Kind(
        "the deformed source, the occlusion map, the masks and the result, for each frame (Fig. 10)",
        True,
        True,
        True,
        _motion,
    ),
}

"""Intermediate results as videos and one overview image, in the style of the paper's figures (`--visualize`)."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from fomm_tf import errors, models, video, visualize
from fomm_tf.ops import keypoints as keypoint_ops

_ROWS = 6


class Visualizer:
    """Writes one video per panel, and an overview image whose rows are frames spread over the clip.

    A row shows the source and the driving frame with their keypoints, the prediction, and the other panels.

    Args:
      writers: panel -> the writer of its video.
    """

    def __init__(self, writers: dict[str, video.VideoWriter]) -> None:
        self._writers = writers
        self._rows: list[np.ndarray] = []
        self._count, self._step = 0, 1

    def write(
        self,
        source: np.ndarray,
        source_keypoints: keypoint_ops.Keypoints,
        driving: np.ndarray,
        driving_keypoints: keypoint_ops.Keypoints,
        rendering: models.Rendering,
    ) -> None:
        """Adds a frame.

        Args:
          source: `[H, W, 3]` uint8.
          source_keypoints: of batch 1.
          driving: `[H, W, 3]` uint8.
          driving_keypoints: of batch 1.
          rendering: of batch 1, with details, as NumPy.
        """
        panels = visualize.panels(
            source,
            source_keypoints.frame(0),
            driving,
            driving_keypoints.frame(0),
            video.to_uint8(rendering.deformed[0]),
            rendering.mask[0],
            None if rendering.occlusion is None else rendering.occlusion[0],
        )
        for name, writer in self._writers.items():
            writer.write(panels[name])
        self._keep(visualize.row(panels, video.to_uint8(rendering.prediction[0])))

    def overview(self) -> np.ndarray:
        """The sampled rows below each other, uint8."""
        return np.concatenate(self._rows[:_ROWS])

    def _keep(self, row: np.ndarray) -> None:
        """Samples every `step`-th row; when twice as many as needed have accumulated, drops every other one."""
        if self._count % self._step == 0:
            self._rows.append(row)
        if len(self._rows) == 2 * _ROWS:
            self._rows, self._step = self._rows[::2], 2 * self._step
        self._count += 1


@contextlib.contextmanager
def open_visualizer(folder: str, fps: Fraction, occlusion: bool, tag: str | None) -> Iterator[Visualizer]:
    """Opens a `Visualizer` that writes `keypoints.mp4`, `deformed.mp4`, ... and `overview.png` into `folder`.

    Args:
      folder: created if missing; files of the same names are replaced when the block ends without an exception.
      fps: frames a second.
      occlusion: whether the model has an occlusion map to show.
      tag: text for the comment in the files' metadata, or None.

    Raises:
      errors.UserError: if the directory or a file cannot be written.
    """
    target = pathlib.Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.UserError(
            f"visualize: cannot create the directory {target}: {error.strerror}; give another one."
        ) from error
    names = [name for name in visualize.PANELS if occlusion or name != "occlusion"]
    with contextlib.ExitStack() as stack:
        writers = {name: stack.enter_context(video.write_video(target / f"{name}.mp4", fps, tag=tag)) for name in names}
        visualizer = Visualizer(writers)
        yield visualizer
        video.write_image(target / "overview.png", visualizer.overview(), tag=tag)

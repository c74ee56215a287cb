"""`--visualize`: what the model saw, as videos and one overview picture, in the paper's manner."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from fomm_tf import errors, video, visualize

if TYPE_CHECKING:
    from fomm_tf.inference import animator
    from fomm_tf.ops import keypoints as keypoint_ops

_ROWS = 6


class Visualizer:
    """Writes a video a panel, and an overview whose rows are frames spread over the clip.

    A row is the source and the driving frame with their keypoints, the prediction, and the other panels.

    Args:
      writers: panel -> its video's writer.
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
        rendering: animator.Rendering,
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
        """The rows that were kept, below each other, uint8."""
        return np.concatenate(self._rows[:_ROWS])

    def _keep(self, row: np.ndarray) -> None:
        """Every `step`-th row; each time there are twice as many as wanted, every other one goes."""
        if self._count % self._step == 0:
            self._rows.append(row)
        if len(self._rows) == 2 * _ROWS:
            self._rows, self._step = self._rows[::2], 2 * self._step
        self._count += 1


@contextlib.contextmanager
def open_visualizer(folder: str, fps: Fraction, occlusion: bool, tag: str | None) -> Iterator[Visualizer]:
    """A `Visualizer` that writes `keypoints.mp4`, `deformed.mp4`, ... and `overview.png` into `folder`.

    Args:
      folder: is made if need be; files of the same names are replaced when the block ends well.
      fps: frames a second.
      occlusion: whether the model has an occlusion map to show.
      tag: text for the files' comments, or None.

    Raises:
      errors.UserError: if the folder or a file cannot be written.
    """
    target = pathlib.Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.UserError(
            f"Cannot make the folder {target}: {error.strerror}; give another --visualize."
        ) from error
    names = [name for name in visualize.PANELS if occlusion or name != "occlusion"]
    with contextlib.ExitStack() as stack:
        writers = {name: stack.enter_context(video.write_video(target / f"{name}.mp4", fps, tag=tag)) for name in names}
        sights = Visualizer(writers)
        yield sights
        video.write_image(target / "overview.png", sights.overview(), tag=tag)

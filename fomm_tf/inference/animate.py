"""Files to files: animates an image file by a video file; videos of the intermediate results."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import pathlib
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import tqdm

from fomm_tf import config, errors, models, video, visualize
from fomm_tf.inference import animator, quality, stream
from fomm_tf.ops import keypoints as keypoint_ops

TAG = "animated with fomm-tf"
_OVERVIEW_ROWS = 6


@dataclasses.dataclass(frozen=True)
class Output:
    """What `animate_file` writes.

    Attributes:
      path: the output; see `fomm_tf.video.write_video`.
      audio: copy the driving video's audio.
      side_by_side: show source and driving frame to the left of the result.
      visualize: directory for videos of the intermediate results, or None.
      tag: name this program in the metadata.
    """

    path: str
    audio: bool = True
    side_by_side: bool = False
    visualize: str | None = None
    tag: bool = True


def animate_file(
    model: animator.Animator,
    source_path: str,
    driving: video.Video,
    output: Output,
    transfer: config.AnimateConfig,
    best_frame: int = 0,
    batch_size: int = stream.DEFAULT_BATCH_SIZE,
    fit: str = "crop",
    audio_start: float = 0.0,
    progress: bool = True,
    check_inputs: bool = True,
) -> int:
    """Animates an image file by a video.

    Args:
      model: the animator.
      source_path: the image.
      driving: from `fomm_tf.video.open_video`.
      output: what to write.
      transfer: how the motion is transferred.
      best_frame: see `fomm_tf.inference.stream.render_stream`.
      batch_size: driving frames per batch.
      fit: how images are brought to the model's size; see `fomm_tf.video.resize`.
      audio_start: where in the driving file's audio the video begins, in seconds.
      progress: show a progress bar with frames per second and the time left, on a terminal.
      check_inputs: warn if the result cannot be good.

    Returns:
      How many frames were written.

    Warns:
      UserWarning: if the result cannot be good; see `fomm_tf.inference.quality`.

    Raises:
      errors.UserError: for input that cannot be read or output that cannot be written; then nothing is left under the
        output's name.
    """
    video.check_output(output.path, source_path, driving.path)
    if output.visualize is not None:
        visualize.check_output(output.visualize, source_path, driving.path)
    size = model.config.model.frame_size
    original = video.read_image(source_path)
    source_image = video.resize(original, size, fit)
    source = model.encode_source(source_image)
    poses = quality.PoseComparison(source.keypoints, best_frame)
    tag = TAG if output.tag else None
    audio = driving.path if output.audio and driving.has_audio else None

    checked = {str(source_path): original}

    def frames() -> Iterator[np.ndarray]:
        for number, frame in enumerate(driving):
            if number == best_frame:
                checked[f"{driving.path}, frame {number}"] = frame
            yield video.resize(frame, size, fit)

    # A pass of its own for the best frame keeps the renderings in step with the frames.
    initial = stream.find_initial(model, frames(), best_frame) if best_frame else None
    count = 0
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(
            video.write_video(output.path, driving.fps, audio_from=audio, audio_start=audio_start, tag=tag)
        )
        details = None
        if output.visualize is not None:
            details = stack.enter_context(
                open_visualizer(output.visualize, driving.fps, model.config.model.occlusion, tag)
            )
        bar = stack.enter_context(
            tqdm.tqdm(total=driving.frame_count, unit="frame", disable=None if progress else True)
        )
        clip, shown = stream.prefetch(frames(), batch_size), itertools.repeat(source_image)
        if output.side_by_side or details:
            clip, shown = itertools.tee(clip)  # `shown` lags by a batch at most

        def batches() -> Iterator[tuple]:
            rendered = stream.render_stream(
                model, source, clip, transfer, best_frame, batch_size, details is not None, initial
            )
            for keypoints, rendering in rendered:
                poses.add(keypoints)
                predictions = video.to_uint8(rendering.prediction.numpy())
                yield predictions, list(itertools.islice(shown, len(predictions))), keypoints, rendering

        # Three stages overlap: reading the next batch, computing a batch, writing the previous one.
        for predictions, driving_frames, keypoints, rendering in stream.prefetch(batches(), 1):
            for i, (prediction, frame) in enumerate(zip(predictions, driving_frames, strict=True)):
                row = [source_image, frame, prediction] if output.side_by_side else [prediction]
                writer.write(np.concatenate(row, axis=1))
                if details is not None:
                    details.write(
                        source_image,
                        source.keypoints,
                        frame,
                        stream.select_frame(keypoints, i),
                        stream.select_frame(rendering, i),
                    )
            bar.update(len(predictions))
            count += len(predictions)
    if check_inputs:  # at the end, so that a failure is one line
        usable = [
            quality.warn_about_input(model, name, video.resize(image, size, fit), image)
            for name, image in checked.items()
        ]
        if all(usable) and transfer.mode == "relative":
            poses.warn(str(driving.path))
    return count


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
        return np.concatenate(self._rows[:_OVERVIEW_ROWS])

    def _keep(self, row: np.ndarray) -> None:
        """Samples every `step`-th row; when twice as many as needed have accumulated, drops every other one."""
        if self._count % self._step == 0:
            self._rows.append(row)
        if len(self._rows) == 2 * _OVERVIEW_ROWS:
            self._rows, self._step = self._rows[::2], 2 * self._step
        self._count += 1


@contextlib.contextmanager
def open_visualizer(folder: str, fps: Fraction, occlusion: bool, tag: str | None) -> Iterator[Visualizer]:
    """Opens a `Visualizer` that writes `keypoints.mp4`, `deformed.mp4`, ... and `overview.png` into `folder`.

    Args:
      folder: created if missing; files of the same names are replaced when the block ends without an exception.
      fps: frames per second.
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
        video.write_image(target / visualize.OVERVIEW, visualizer.overview(), tag=tag)

"""Files to files: animates an image file by a video file."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import tqdm

from fomm_tf import config, video
from fomm_tf.inference import animator, stream, visualizer

TAG = "animated with fomm-tf"


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
) -> int:
    """Animates an image file by a video.

    Args:
      model: the animator.
      source_path: the image.
      driving: from `fomm_tf.video.open_video`.
      output: what to write.
      transfer: how the motion is transferred.
      best_frame: see `fomm_tf.inference.stream.render_stream`.
      batch_size: driving frames a batch.
      fit: how images are brought to the model's size; see `fomm_tf.video.resize`.
      audio_start: where in the driving file's audio the video begins, in seconds.
      progress: show a progress bar with frames a second and the time left, on a terminal.

    Returns:
      How many frames were written.

    Raises:
      errors.UserError: for input that cannot be read or output that cannot be written; then nothing is left under the
        output's name.
    """
    size = model.config.model.frame_size
    source_image = video.resize(video.read_image(source_path), size, fit)
    source = model.encode_source(source_image)
    tag = TAG if output.tag else None
    audio = driving.path if output.audio and driving.has_audio else None

    def frames() -> Iterator[np.ndarray]:
        return (video.resize(frame, size, fit) for frame in driving)

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
                visualizer.open_visualizer(output.visualize, driving.fps, model.config.model.occlusion, tag)
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
    return count

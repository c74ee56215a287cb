"""Frames to frames, and files to files: the animation as a stream that keeps no frame.

A rendering needs the keypoints of its driving frame alone. With a best frame that is not the first, the keypoints of
the frames before it are therefore all that has to wait for it: forward and backward from it come to the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import tensorflow as tf
import tqdm

from fomm_tf import config, errors, video
from fomm_tf.inference import ahead, visualizer
from fomm_tf.ops import keypoints as keypoint_ops
from fomm_tf.ops import motion

if TYPE_CHECKING:
    from fomm_tf.inference import animator

Record = TypeVar("Record")

DEFAULT_BATCH = 8
TAG = "animated with fomm-tf"


@dataclasses.dataclass(frozen=True)
class Output:
    """What `animate_file` writes.

    Attributes:
      path: where to; see `fomm_tf.video.write_video`.
      audio: lay the driving video's sound under it.
      side_by_side: show source and driving frame to the left of the result.
      visualize: folder for videos of what the model saw, or None.
      tag: note in the metadata what made it.
    """

    path: str
    audio: bool = True
    side_by_side: bool = False
    visualize: str | None = None
    tag: bool = True


def render_stream(
    model: animator.Animator,
    source: animator.EncodedSource,
    driving: Iterable[np.ndarray | tf.Tensor],
    transfer: config.AnimateConfig,
    best_frame: int = 0,
    batch_size: int = DEFAULT_BATCH,
    details: bool = False,
    initial: keypoint_ops.Keypoints | None = None,
) -> Iterator[tuple[keypoint_ops.Keypoints, animator.Rendering]]:
    """Renders batch after batch.

    Args:
      model: the animator.
      source: the encoded source.
      driving: frames, `[H, W, 3]` each, uint8 or float in [0, 1]; read once.
      transfer: how the motion is carried over.
      best_frame: number, from 0, of the driving frame that is closest in pose to the source: relative motion starts
        from it.
      batch_size: driving frames a batch.
      details: fill all fields of the renderings.
      initial: keypoints of the best frame, where they are known beforehand; nothing has to wait then.

    Yields:
      The keypoints that were found in a batch of driving frames, and its rendering.

    Raises:
      errors.UserError: if there is no frame, the frames are not such or differ in size, or there is no best frame.
    """
    if batch_size < 1:
        raise errors.UserError(f"The batch size is {batch_size}; give 1 or more.")
    seen, waiting = 0, []
    for frames in _batches(driving, batch_size):
        found = model.detect(frames)
        if initial is None and best_frame < seen + len(frames):
            initial = pick(found, best_frame - seen)
        seen += len(frames)
        waiting.append(found)
        while initial is not None and waiting:
            found = waiting.pop(0)
            moved = motion.transfer(
                source.keypoints, found, initial, transfer.mode, transfer.relative_jacobian, transfer.adapt_scale
            )
            yield found, model.render(source, moved, details=details)
    if not seen:
        raise errors.UserError("There is no driving frame; give at least one.")
    if initial is None:
        raise _no_best_frame(best_frame, seen)


def animate_file(
    model: animator.Animator,
    source_path: str,
    driving: video.Video,
    output: Output,
    transfer: config.AnimateConfig,
    best_frame: int = 0,
    batch_size: int = DEFAULT_BATCH,
    fit: str = "crop",
    audio_start: float = 0.0,
    progress: bool = True,
) -> int:
    """Animates a picture file by a video.

    Args:
      model: the animator.
      source_path: the picture.
      driving: from `fomm_tf.video.open_video`.
      output: what to write.
      transfer: how the motion is carried over.
      best_frame: see `render_stream`.
      batch_size: driving frames a batch.
      fit: how pictures get the model's size; see `fomm_tf.video.resize`.
      audio_start: where in the driving file's sound the video begins, in seconds.
      progress: show a progress bar with frames a second and the time left, on a terminal.

    Returns:
      How many frames were written.

    Raises:
      errors.UserError: for input that cannot be read or output that cannot be written; nothing is left under the
        output's name then.
    """
    size = model.config.model.frame_size
    picture = video.resize(video.read_image(source_path), size, fit)
    source = model.encode_source(picture)
    tag = TAG if output.tag else None
    audio = driving.path if output.audio and driving.has_audio else None

    def frames() -> Iterator[np.ndarray]:
        return (video.resize(frame, size, fit) for frame in driving)

    # A pass of its own for the best frame keeps the renderings in step with the frames.
    initial = find_initial(model, frames(), best_frame) if best_frame else None
    count = 0
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(
            video.write_video(output.path, driving.fps, audio_from=audio, audio_start=audio_start, tag=tag)
        )
        sights = None
        if output.visualize is not None:
            sights = stack.enter_context(
                visualizer.open_visualizer(output.visualize, driving.fps, model.config.model.occlusion, tag)
            )
        bar = stack.enter_context(
            tqdm.tqdm(total=driving.frame_count, unit="frame", disable=None if progress else True)
        )
        clip, shown = ahead.ahead(frames(), batch_size), itertools.repeat(picture)
        if output.side_by_side or sights:
            clip, shown = itertools.tee(clip)  # `shown` lags by a batch at most

        def batches() -> Iterator[tuple]:
            rendered = render_stream(model, source, clip, transfer, best_frame, batch_size, sights is not None, initial)
            for found, rendering in rendered:
                predictions = video.to_uint8(rendering.prediction.numpy())
                yield predictions, list(itertools.islice(shown, len(predictions))), found, rendering

        # Three at once: frames are read for the next batch, a batch is computed, the one before it is written.
        for predictions, driven, found, rendering in ahead.ahead(batches(), 1):
            for i, (prediction, frame) in enumerate(zip(predictions, driven, strict=True)):
                row = [picture, frame, prediction] if output.side_by_side else [prediction]
                writer.write(np.concatenate(row, axis=1))
                if sights is not None:
                    sights.write(picture, source.keypoints, frame, pick(found, i), pick(rendering, i))
            bar.update(len(predictions))
            count += len(predictions)
    return count


def find_initial(
    model: animator.Animator, driving: Iterable[np.ndarray | tf.Tensor], best_frame: int
) -> keypoint_ops.Keypoints:
    """Keypoints of one driving frame, of batch 1.

    Args:
      model: the animator.
      driving: frames, `[H, W, 3]` each; read up to that one.
      best_frame: its number, from 0.

    Raises:
      errors.UserError: if there are not so many frames.
    """
    number = -1
    for number, frame in enumerate(driving):
        if number == best_frame:
            return model.detect(np.asarray(frame)[np.newaxis])
    raise _no_best_frame(best_frame, number + 1)


def pick(values: Record, index: int) -> Record:
    """Entry `index` of each batch in a NamedTuple, as NumPy, with a batch axis of 1."""
    return type(values)(*(None if part is None else part[index : index + 1].numpy() for part in values))


def _no_best_frame(best_frame: int, count: int) -> errors.UserError:
    return errors.UserError(
        f"The best frame is number {best_frame}, counted from 0, but there are {count} driving frames."
    )


def _batches(frames: Iterable[np.ndarray | tf.Tensor], size: int) -> Iterator[np.ndarray]:
    """Frames in stacks of `size`, the last one smaller."""
    stream = iter(frames)
    while batch := [np.asarray(frame) for frame in itertools.islice(stream, size)]:
        shapes = {frame.shape for frame in batch}
        if len(shapes) > 1:
            raise errors.UserError(f"Driving frames must be of one size; got {' and '.join(map(str, sorted(shapes)))}.")
        yield np.stack(batch)

"""Frames to frames: the animation as a stream, whose memory does not grow with the length of the video.

A rendering needs only the keypoints of its own driving frame and of the frame that relative motion starts from. With a
best frame other than the first, the keypoints of the frames before it are all that has to wait; animating forward and
backward from it gives the same result.
"""

from __future__ import annotations

import collections
import concurrent.futures
import itertools
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

import numpy as np

from fomm_tf import config, errors, motion_filters, structures
from fomm_tf.inference import motion_transfer

Item = TypeVar("Item")
Record = TypeVar("Record")

DEFAULT_BATCH_SIZE = 8
_END = object()


class Renderer(Protocol):
    """What the stream calls: an `Animator`, or an `AnimationModel` for frames of its size."""

    def detect(self, frames: np.ndarray) -> structures.Keypoints:
        """Finds the keypoints of N frames."""

    def render(
        self, source: structures.EncodedSource, keypoints: structures.Keypoints, details: bool = False
    ) -> structures.Rendering:
        """Generates the source in the pose of N driving frames."""


class Performer(Renderer, Protocol):
    """What an `Animation` and its checks call: an `Animator`."""

    config: config.Config

    def encode_source(self, image: np.ndarray) -> structures.EncodedSource:
        """Computes what depends only on the source."""

    def encode_sources(self, images: np.ndarray) -> structures.EncodedSource:
        """Computes what depends only on the sources of N driving frames."""


def render_stream(
    model: Renderer,
    source: structures.EncodedSource,
    driving: Iterable[np.ndarray],
    transfer: config.AnimateConfig,
    best_frame: int = 0,
    batch_size: int = DEFAULT_BATCH_SIZE,
    details: bool = False,
    initial: structures.Keypoints | None = None,
) -> Iterator[tuple[structures.Keypoints, structures.Rendering]]:
    """Renders batch after batch.

    Args:
      model: detects and renders.
      source: the encoded source.
      driving: frames of one size, `[H, W, 3]` each, uint8 or float in [0, 1]; read once.
      transfer: how the motion is transferred.
      best_frame: index of the driving frame that is closest in pose to the source; relative motion starts from it.
      batch_size: driving frames per batch.
      details: fill all fields of the renderings.
      initial: keypoints of the best frame, if already known; then no frame has to wait for it.

    Yields:
      The keypoints of a batch of driving frames, and its rendering.

    Raises:
      errors.UserError: if there are no driving frames, they differ in size, or there are not enough for `best_frame`.
    """
    seen, waiting = 0, []
    for keypoints in detect_stream(model, driving, batch_size):
        count = len(keypoints.value)
        if initial is None and best_frame < seen + count:
            initial = select_frame(keypoints, best_frame - seen)
        seen += count
        waiting.append(keypoints)
        while initial is not None and waiting:
            keypoints = waiting.pop(0)
            yield keypoints, render_transferred(model, source, keypoints, initial, transfer, details=details)
    if initial is None:
        raise _missing_best_frame(best_frame, seen)


def detect_stream(
    model: Renderer, driving: Iterable[np.ndarray], batch_size: int = DEFAULT_BATCH_SIZE
) -> Iterator[structures.Keypoints]:
    """Yields the keypoints of driving frames, batch after batch; arguments and errors are those of `render_stream`."""
    if batch_size < 1:
        raise errors.UserError(f"`batch_size` must be at least 1; got {batch_size}.")
    is_empty = True
    for frames in _batches(driving, batch_size):
        is_empty = False
        yield model.detect(frames)
    if is_empty:
        raise errors.UserError("driving holds no frames; give at least one.")


def render_transferred(
    model: Renderer,
    source: structures.EncodedSource,
    driving: structures.Keypoints,
    initial: structures.Keypoints,
    transfer: config.AnimateConfig,
    motion_strength: float = 1.0,
    details: bool = False,
) -> structures.Rendering:
    """Transfers the motion of N driving frames to a source, and renders it.

    Args:
      model: renders.
      source: the encoded source, or N of them.
      driving: keypoints of N driving frames.
      initial: keypoints that relative motion starts from, of one frame or of N.
      transfer: how the motion is transferred.
      motion_strength: scales relative motion; see `fomm_tf.motion_filters.scale_motion`.
      details: fill all fields of the rendering.

    Raises:
      errors.UserError: if `motion_strength` is negative.
    """
    transferred = motion_transfer.transfer(source.keypoints, driving, initial, transfer)
    if transfer.mode == "relative":
        transferred = motion_filters.scale_motion(source.keypoints, transferred, motion_strength)
    return model.render(source, transferred, details=details)


def find_initial(model: Renderer, driving: Iterable[np.ndarray], best_frame: int) -> structures.Keypoints:
    """Finds the keypoints of one driving frame, of batch 1.

    Args:
      model: detects.
      driving: frames, `[H, W, 3]` each; read up to that one.
      best_frame: its index.

    Raises:
      errors.UserError: if there are fewer frames.
    """
    index = -1
    for index, frame in enumerate(driving):
        if index == best_frame:
            return model.detect(np.asarray(frame)[np.newaxis])
    raise _missing_best_frame(best_frame, index + 1)


def select_frame(values: Record, index: int) -> Record:
    """Entry `index` of each batch in a NamedTuple, as NumPy, with a batch axis of 1."""
    return type(values)(*(None if part is None else np.asarray(part[index : index + 1]) for part in values))


def prefetch(items: Iterable[Item], depth: int) -> Iterator[Item]:
    """Yields `items` in order, computed ahead in a thread of their own.

    Args:
      items: iterated in that thread only.
      depth: maximum number of items computed ahead.

    Raises:
      Exception: what `items` raises, after the items before it.
    """
    stream = iter(items)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = collections.deque(pool.submit(next, stream, _END) for _ in range(depth))
        try:
            while (item := waiting.popleft().result()) is not _END:
                waiting.append(pool.submit(next, stream, _END))
                yield item
        finally:
            for future in waiting:
                future.cancel()


def _missing_best_frame(best_frame: int, count: int) -> errors.UserError:
    return errors.UserError(
        f"best_frame is {best_frame}, counted from 0, but there are {count} driving frames; give a smaller index."
    )


def _batches(frames: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Frames in stacks of `size`, the last one smaller."""
    stream = iter(frames)
    while batch := [np.asarray(frame) for frame in itertools.islice(stream, size)]:
        shapes = {frame.shape for frame in batch}
        if len(shapes) > 1:
            raise errors.UserError(f"Driving frames must be of one size; got {' and '.join(map(str, sorted(shapes)))}.")
        yield np.stack(batch)

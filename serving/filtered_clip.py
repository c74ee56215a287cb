"""Animation through a server with smoothed keypoints or scaled motion: the requests, without I/O, as in `calls`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fomm_tf import errors, motion_filters
from fomm_tf.serving import arguments, calls
from fomm_tf.serving.calls import EncodedSource, Steps
from fomm_tf.serving.signatures import Call, Model, Tensors
from fomm_tf.serving.target import ArgumentError, MessageBudget
from fomm_tf.structures import Keypoints


class FilteredClip:
    """Like `calls.Clip`, with keypoints that are smoothed before the transfer, or motion that is scaled after it.

    Each chunk takes three calls or more: `detect`, `transfer` and `render`, with the encoded source in each rendering.

    Args:
      model: the served model.
      budget: of a message.
      source: the source image.
      relative: transfer the motion relative to the first driving frame, not the pose itself.
      adapt_scale: scale it by the ratio of the two objects' sizes.
      batch_size: frames per chunk.
      smooth: strength of the filter, 0 for none; see `fomm_tf.motion_filters.KeypointSmoother`.
      motion_strength: scales relative motion.
      fps: driving frames per second.

    Raises:
      ArgumentError: for an invalid source or option.
    """

    def __init__(
        self,
        model: Model,
        budget: MessageBudget,
        source: np.ndarray,
        relative: bool,
        adapt_scale: bool,
        batch_size: int,
        smooth: float,
        motion_strength: float,
        fps: float,
    ) -> None:
        if batch_size < 1:
            raise ArgumentError(f"`batch_size`: got {batch_size}; expected at least 1.")
        self._model, self._budget = model, budget
        self._source_image = arguments.check_image(source, model.frame_size, "`source`")
        self._relative, self._adapt_scale, self._length = relative, adapt_scale, batch_size
        try:
            self._smooth = motion_filters.KeypointSmoother(smooth, fps) if smooth else None
            motion_filters.check_strength(motion_strength)
        except errors.UserError as error:
            raise ArgumentError(str(error)) from error
        self._strength = motion_strength
        self._source: EncodedSource | None = None
        self._initial: Keypoints | None = None
        self._chunk: list[np.ndarray] = []
        self._frame_count = 0
        self._steps: Steps[np.ndarray] | None = None
        self._next: Call | None = None

    def add(self, frame: np.ndarray) -> Iterator[Call]:
        """See `calls.Clip.add`."""
        self._chunk.append(calls.UINT8.check(frame, self._model, f"`driving` frame {self._frame_count}"))
        self._frame_count += 1
        if len(self._chunk) == self._length:
            yield from self._calls()

    def end(self) -> Iterator[Call]:
        """See `calls.Clip.end`."""
        if not self._frame_count:
            raise ArgumentError("`driving`: got no frames; expected at least one.")
        if self._chunk:
            yield from self._calls()

    def read(self, answer: Tensors) -> list[np.ndarray]:
        """Returns the animated frames if this answer completes a chunk, else an empty list."""
        try:
            self._next = self._steps.send(answer)
        except StopIteration as end:
            self._next = None
            return list(end.value)
        return []

    def _calls(self) -> Iterator[Call]:
        self._steps, self._chunk = self._animate(np.stack(self._chunk)), []
        self._next = next(self._steps)
        while self._next is not None:
            yield self._next

    def _animate(self, frames: np.ndarray) -> Steps[np.ndarray]:
        if self._source is None:
            self._source = yield from calls.encode_source(self._model, self._budget, self._source_image)
        driving = yield from calls.detect(self._model, self._budget, frames)
        driving = driving if self._smooth is None else self._smooth(driving)
        if self._initial is None:
            self._initial = driving.map(lambda part: part[:1])
        moved = yield from calls.transfer(
            self._model, self._budget, self._source, driving, self._initial, self._relative, self._adapt_scale
        )
        if self._relative:
            moved = motion_filters.scale_motion(self._source.keypoints, moved, self._strength)
        prediction = yield from calls.render(self._model, self._budget, self._source, moved)
        return np.rint(prediction * 255).astype(np.uint8)

"""A clip animated in chunks, with the result of a single request, without I/O.

All chunks have the same length T, since TF-Serving can only batch requests of equal T: the last chunk is padded with
its last frame, and the surplus outputs are dropped. The keypoints of the clip's first frame come back with the first
answer and are sent with every later chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from fomm_tf.serving import arguments, calls, failures
from fomm_tf.serving.signatures import Call, Model, Tensors
from fomm_tf.serving.target import MessageBudget


class FrameFormat(NamedTuple):
    """The format of input and output frames."""

    signature: str  # the signature for this format
    output: str  # the name of its output with the animated frames
    # Converts an input frame to the tensor that is sent; takes its name for messages.
    check: Callable[[np.ndarray | bytes, Model, str], np.ndarray]
    largest: Callable[[Model], np.ndarray]  # an output frame that is at least as large as any


def _check_uint8(frame: np.ndarray, model: Model, name: str) -> np.ndarray:
    frame = arguments.check_image(frame, model.frame_size, name)[0]
    return frame if frame.dtype == np.uint8 else np.rint(frame * 255).astype(np.uint8)


def _check_jpeg(frame: bytes, model: Model, name: str) -> np.ndarray:
    return np.array(arguments.check_image_bytes(frame, name), np.object_)


def _black_frame(model: Model) -> np.ndarray:
    return np.zeros((*model.frame_size, 3), np.uint8)


def _uncompressed_bytes(model: Model) -> np.ndarray:
    return np.array(_black_frame(model).tobytes(), np.object_)


UINT8 = FrameFormat("animate_uint8", "frames", _check_uint8, _black_frame)
JPEG = FrameFormat("animate_jpeg", "frames_bytes", _check_jpeg, _uncompressed_bytes)


class Clip:
    """One source animated by one clip: takes driving frames, yields calls, takes their answers, returns frames.

    Args:
      model: the served model.
      budget: of a message.
      frame_format: of source, driving frames and results.
      source: the source image.
      relative: transfer the motion relative to the first driving frame, not the pose itself.
      adapt_scale: scale it by the ratio of the two objects' sizes.
      batch_size: frames per chunk, T; fewer where a message cannot hold so many.

    Raises:
      failures.ArgumentError: for an invalid source, or a batch size below 1.
    """

    def __init__(
        self,
        model: Model,
        budget: MessageBudget,
        frame_format: FrameFormat,
        source: np.ndarray | bytes,
        relative: bool,
        adapt_scale: bool,
        batch_size: int,
    ) -> None:
        if batch_size < 1:
            raise failures.ArgumentError(f"`batch_size`: got {batch_size}; expected at least 1.")
        self._model, self._budget, self._format = model, budget, frame_format
        self._constant = {"source": frame_format.check(source, model, "`source`")[np.newaxis]}
        self._constant |= calls.motion_options(relative, adapt_scale)
        unknown = arguments.Keypoints(
            np.zeros((1, model.num_keypoints, 2), np.float32),
            np.zeros((1, model.num_keypoints, 2, 2), np.float32) if model.has_jacobian else None,
        )
        self._initial = unknown.as_inputs("initial_") | {"use_initial": np.array([False])}
        self._available = self._remaining = budget.remaining(self._constant | self._initial)
        self._length = calls.fit(batch_size, budget.remaining({}), budget.size(frame_format.largest(model)))
        self._chunk: list[np.ndarray] = []
        self._frame_count = self._sent_count = 0

    def add(self, frame: np.ndarray | bytes) -> Iterator[Call]:
        """Adds the next driving frame and yields the calls that are now complete.

        The answer to a call must be given to `read` before the next call is requested.

        Raises:
          failures.ArgumentError: for an invalid frame.
        """
        frame = self._format.check(frame, self._model, f"`driving` frame {self._frame_count}")
        size = self._budget.size(frame)
        if self._chunk and size > self._remaining:
            self._length = len(self._chunk)
            yield self._call()
        self._chunk.append(frame)
        self._frame_count, self._remaining = self._frame_count + 1, self._remaining - size
        if len(self._chunk) == self._length:
            yield self._call()

    def end(self) -> Iterator[Call]:
        """Yields the call for the remaining frames, if there are any.

        Raises:
          failures.ArgumentError: if no frame was added.
        """
        if not self._frame_count:
            raise failures.ArgumentError("`driving`: got no frames; expected at least one.")
        if self._chunk:
            yield self._call()

    def read(self, answer: Tensors) -> list[np.ndarray | bytes]:
        """Returns the animated frames in the answer to the last call."""
        initial = {name: tensor for name, tensor in answer.items() if name.startswith("initial_")}
        self._initial = initial | {"use_initial": np.array([True])}
        return list(answer[self._format.output][0][: self._sent_count])

    def _call(self) -> Call:
        """Makes a call of the chunk, padded to the common length as far as the message has room."""
        self._sent_count, last = len(self._chunk), self._chunk[-1]
        padding = min(self._length - self._sent_count, self._remaining // self._budget.size(last))
        driving = np.stack(self._chunk + [last] * padding)[np.newaxis]
        self._chunk, self._remaining = [], self._available
        return Call(self._format.signature, self._constant | self._initial | {"driving": driving})

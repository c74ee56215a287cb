"""A clip in parts, animated as if it were sent at once, without I/O.

All parts have one length T, since TF-Serving joins requests of one T only: the last frame fills the last part up, and
the answer's surplus is dropped. The keypoints of the clip's first frame come back with the first part's answer and go
along with the further ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from serving import arguments, calls, failures
from serving.signatures import Call, Model, Tensors
from serving.target import Room


class Form(NamedTuple):
    """What frames come and go as.

    Attributes:
      signature: that takes and gives them.
      output: its name for the animated frames.
      check: makes a given frame, of a name for messages, the tensor that is sent.
      largest: a frame of the answer, no smaller than any.
    """

    signature: str
    output: str
    check: Callable[[np.ndarray | bytes, Model, str], np.ndarray]
    largest: Callable[[Model], np.ndarray]


def _check_levels(given: np.ndarray, model: Model, name: str) -> np.ndarray:
    frame = arguments.image(given, model.frame_size, name)[0]
    return frame if frame.dtype == np.uint8 else np.rint(frame * 255).astype(np.uint8)


def _check_picture(given: bytes, model: Model, name: str) -> np.ndarray:
    return np.array(arguments.picture_bytes(given, name), np.object_)


def _black(model: Model) -> np.ndarray:
    return np.zeros((*model.frame_size, 3), np.uint8)


LEVELS = Form("animate_uint8", "frames", _check_levels, _black)
PICTURES = Form(
    "animate_jpeg", "frames_bytes", _check_picture, lambda model: np.array(_black(model).tobytes(), np.object_)
)


class Clip:
    """One source under one clip: takes driving frames, gives calls, takes their answers, gives frames.

    Args:
      model: the server's.
      room: of a message.
      form: of the frames.
      source: the picture.
      relative: carry over the motion from the first driving frame, not the pose itself.
      adapt_scale: scale it by the sizes of the two objects.
      batch_size: frames of a part, T; fewer where a message cannot hold so many.

    Raises:
      failures.ArgumentError: for a source that will not do, or a batch size below 1.
    """

    def __init__(
        self,
        model: Model,
        room: Room,
        form: Form,
        source: np.ndarray | bytes,
        relative: bool,
        adapt_scale: bool,
        batch_size: int,
    ) -> None:
        if batch_size < 1:
            raise failures.ArgumentError(f"batch_size is {batch_size}; give 1 or more.")
        self._model, self._room, self._form = model, room, form
        self._fixed = {"source": form.check(source, model, "source")[np.newaxis]}
        self._fixed |= calls.switches(relative, adapt_scale)
        unknown = arguments.Keypoints(
            np.zeros((1, model.num_keypoints, 2), np.float32),
            np.zeros((1, model.num_keypoints, 2, 2), np.float32) if model.jacobian else None,
        )
        self._initial = unknown.named("initial_") | {"use_initial": np.array([False])}
        self._whole = self._left = room.beside(self._fixed | self._initial)
        self._length = calls.fit(batch_size, room.beside({}), room.size(form.largest(model)))
        self._part: list[np.ndarray] = []
        self._taken = self._asked = 0

    def add(self, frame: np.ndarray | bytes) -> Iterator[Call]:
        """Takes the next driving frame; the answer to a call is read before the next call is asked for.

        Raises:
          failures.ArgumentError: for a frame that will not do.
        """
        frame = self._form.check(frame, self._model, f"driving frame {self._taken}")
        size = self._room.size(frame)
        if self._part and size > self._left:
            self._length = len(self._part)
            yield self._ask()
        self._part.append(frame)
        self._taken, self._left = self._taken + 1, self._left - size
        if len(self._part) == self._length:
            yield self._ask()

    def end(self) -> Iterator[Call]:
        """There is no further frame.

        Raises:
          failures.ArgumentError: if there was none.
        """
        if not self._taken:
            raise failures.ArgumentError("driving has no frame; give at least one.")
        if self._part:
            yield self._ask()

    def read(self, answer: Tensors) -> list[np.ndarray | bytes]:
        """The animated frames of the last call's answer."""
        initial = {name: tensor for name, tensor in answer.items() if name.startswith("initial_")}
        self._initial = initial | {"use_initial": np.array([True])}
        return list(answer[self._form.output][0][: self._asked])

    def _ask(self) -> Call:
        """With the frames taken, filled up as far as the message has room."""
        self._asked, last = len(self._part), self._part[-1]
        missing = min(self._length - self._asked, self._left // self._room.size(last))
        driving = np.stack(self._part + [last] * missing)[np.newaxis]
        self._part, self._left = [], self._whole
        return Call(self._form.signature, self._fixed | self._initial | {"driving": driving})

"""The requests that each client method consists of, without I/O.

A function here is a generator: it yields calls, receives their answers, and returns the result. `Clip` animates in
chunks, with the result of a single request. All chunks have the same length T, since TF-Serving can only batch requests
of equal T: the last chunk is padded with its last frame, and the surplus outputs are dropped. The keypoints of the
clip's first frame come back with the first answer and are sent with every later chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple, TypeVar

import numpy as np

from fomm_tf.serving import arguments
from fomm_tf.serving.signatures import Call, Model, Tensors
from fomm_tf.serving.target import ArgumentError, MessageBudget
from fomm_tf.structures import Keypoints

# Most rows of `detect`, and frames of `transfer` and `render`, in a request: batching.config's max_batch_size.
MAX_ROWS = 8

Result = TypeVar("Result")
Steps = Generator[Call, Tensors, Result]


class EncodedSource(NamedTuple):
    """Everything that depends on the source image alone: computed by `encode_source`, used by `transfer` and `render`.

    Attributes:
      image, features, source_lowres: tensors of the networks, with batch size 1.
      keypoints: of the source, with batch size 1.
    """

    image: np.ndarray
    features: np.ndarray
    source_lowres: np.ndarray
    keypoints: Keypoints


def detect(model: Model, budget: MessageBudget, frames: np.ndarray) -> Steps[Keypoints]:
    """Detects the keypoints of `[N, H, W, 3]` frames."""
    frames = arguments.check_frames(frames, model.frame_size, "`frames`")
    count = _fit(min(MAX_ROWS, len(frames)), budget.remaining({}), budget.size(frames[0]))
    answers = []
    for start in range(0, len(frames), count):
        answers.append((yield Call("detect" + _suffix(frames), {"frames": frames[start : start + count]})))
    return Keypoints.from_named({name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]})


def encode_source(model: Model, budget: MessageBudget, image: np.ndarray) -> Steps[EncodedSource]:
    """Computes what depends on the source image alone."""
    image = arguments.check_image(image, model.frame_size, "`image`")
    answer = yield Call("encode_source" + _suffix(image), {"source": image})
    return EncodedSource(
        answer["image"], answer["features"], answer["source_lowres"], Keypoints.from_named(answer, "source_")
    )


def transfer(
    model: Model,
    budget: MessageBudget,
    source: EncodedSource,
    driving: Keypoints,
    initial: Keypoints,
    relative: bool,
    adapt_scale: bool,
) -> Steps[Keypoints]:
    """Transfers the motion of `driving`, keypoints of N frames, to the source; `initial` is of one frame."""
    driving = arguments.check_keypoints(driving, model, "`driving`")
    initial = arguments.check_keypoints(initial, model, "`initial`")
    if len(initial.value) != 1:
        raise ArgumentError(f"`initial`: got keypoints of {len(initial.value)} frames; expected one.")
    constant = source.keypoints.named("source_") | initial.named("initial_")
    constant |= _motion_options(relative, adapt_scale)
    return Keypoints.from_named(
        (yield from _split("transfer", budget, constant, driving.named("driving_"), answer_size=1))
    )


def render(model: Model, budget: MessageBudget, source: EncodedSource, keypoints: Keypoints) -> Steps[np.ndarray]:
    """Renders the source in the poses of N frames: `[N, H, W, 3]` float32 in [0, 1]."""
    keypoints = arguments.check_keypoints(keypoints, model, "`keypoints`")
    constant = {"image": source.image, "features": source.features, "source_lowres": source.source_lowres}
    constant |= source.keypoints.named("source_")
    frame_size = budget.size(np.empty((*model.frame_size, 3), np.float32))
    answer = yield from _split("render", budget, constant, keypoints.named(), answer_size=frame_size)
    return answer["prediction"]


def _motion_options(relative: bool, adapt_scale: bool) -> Tensors:
    """The options of motion transfer as signature inputs."""
    return {"relative": np.array([relative], bool), "adapt_scale": np.array([adapt_scale], bool)}


def _fit(maximum: int, available: int, item_size: int) -> int:
    """How many items of `item_size` bytes fit into `available` bytes, from 1 to `maximum`.

    It is 1 even where one item does not fit: the request's size is checked when it is serialized.
    """
    return max(1, min(maximum, available // item_size))


def _split(
    signature: str, budget: MessageBudget, constant: Tensors, poses: Tensors, answer_size: int
) -> Steps[Tensors]:
    """Yields calls with a chunk of the poses each; all chunks have the same length.

    Args:
      signature: its name.
      budget: of a message.
      constant: inputs that every call has.
      poses: inputs of N frames, on axis 0.
      answer_size: bytes per frame in the answer.

    Returns:
      The outputs of N frames, on axis 0.
    """
    total = len(next(iter(poses.values())))
    pose_size = sum(budget.size(tensor[:1]) for tensor in poses.values())
    count = _fit(min(MAX_ROWS, total), budget.remaining(constant), pose_size)
    count = _fit(count, budget.remaining({}), answer_size)
    answers = []
    for start in range(0, total, count):
        rows = np.minimum(np.arange(start, start + count), total - 1)
        chunk = {name: tensor[np.newaxis, rows] for name, tensor in poses.items()}
        answers.append((yield Call(signature, constant | chunk)))
    return {name: np.concatenate([answer[name][0] for answer in answers])[:total] for name in answers[0]}


def _suffix(frames: np.ndarray) -> str:
    return "_uint8" if frames.dtype == np.uint8 else ""


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
      ArgumentError: for an invalid source, or a batch size below 1.
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
            raise ArgumentError(f"`batch_size`: got {batch_size}; expected at least 1.")
        self._model, self._budget, self._format = model, budget, frame_format
        self._constant = {"source": frame_format.check(source, model, "`source`")[np.newaxis]}
        self._constant |= _motion_options(relative, adapt_scale)
        unknown = Keypoints(
            np.zeros((1, model.num_keypoints, 2), np.float32),
            np.zeros((1, model.num_keypoints, 2, 2), np.float32) if model.has_jacobian else None,
        )
        self._initial = unknown.named("initial_") | {"use_initial": np.array([False])}
        self._available = self._remaining = budget.remaining(self._constant | self._initial)
        self._length = _fit(batch_size, budget.remaining({}), budget.size(frame_format.largest(model)))
        self._chunk: list[np.ndarray] = []
        self._frame_count = self._sent_count = 0

    def add(self, frame: np.ndarray | bytes) -> Iterator[Call]:
        """Adds the next driving frame and yields the calls that are now complete.

        The answer to a call must be given to `read` before the next call is requested.

        Raises:
          ArgumentError: for an invalid frame.
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
          ArgumentError: if no frame was added.
        """
        if not self._frame_count:
            raise ArgumentError("`driving`: got no frames; expected at least one.")
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

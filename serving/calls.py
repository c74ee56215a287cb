"""The requests that each client method consists of, without I/O.

Each function is a generator: it yields calls, receives their answers, and returns the result.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple, TypeVar

import numpy as np

from fomm_tf.serving import arguments, failures
from fomm_tf.serving.arguments import Keypoints
from fomm_tf.serving.signatures import Call, Model, Tensors
from fomm_tf.serving.target import MessageBudget

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
    count = fit(min(MAX_ROWS, len(frames)), budget.remaining({}), budget.size(frames[0]))
    answers = []
    for start in range(0, len(frames), count):
        answers.append((yield Call("detect" + _suffix(frames), {"frames": frames[start : start + count]})))
    return _keypoints({name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]})


def encode_source(model: Model, budget: MessageBudget, image: np.ndarray) -> Steps[EncodedSource]:
    """Computes what depends on the source image alone."""
    image = arguments.check_image(image, model.frame_size, "`image`")
    answer = yield Call("encode_source" + _suffix(image), {"source": image})
    return EncodedSource(answer["image"], answer["features"], answer["source_lowres"], _keypoints(answer, "source_"))


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
        raise failures.ArgumentError(f"`initial`: got keypoints of {len(initial.value)} frames; expected one.")
    constant = source.keypoints.as_inputs("source_") | initial.as_inputs("initial_")
    constant |= motion_options(relative, adapt_scale)
    return _keypoints((yield from _split("transfer", budget, constant, driving.as_inputs("driving_"), answer_size=1)))


def render(model: Model, budget: MessageBudget, source: EncodedSource, keypoints: Keypoints) -> Steps[np.ndarray]:
    """Renders the source in the poses of N frames: `[N, H, W, 3]` float32 in [0, 1]."""
    keypoints = arguments.check_keypoints(keypoints, model, "`keypoints`")
    constant = {"image": source.image, "features": source.features, "source_lowres": source.source_lowres}
    constant |= source.keypoints.as_inputs("source_")
    frame_size = budget.size(np.empty((*model.frame_size, 3), np.float32))
    answer = yield from _split("render", budget, constant, keypoints.as_inputs(""), answer_size=frame_size)
    return answer["prediction"]


def motion_options(relative: bool, adapt_scale: bool) -> Tensors:
    """The options of motion transfer as signature inputs."""
    return {"relative": np.array([relative], bool), "adapt_scale": np.array([adapt_scale], bool)}


def fit(maximum: int, available: int, item_size: int) -> int:
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
    count = fit(min(MAX_ROWS, total), budget.remaining(constant), pose_size)
    count = fit(count, budget.remaining({}), answer_size)
    answers = []
    for start in range(0, total, count):
        rows = np.minimum(np.arange(start, start + count), total - 1)
        chunk = {name: tensor[np.newaxis, rows] for name, tensor in poses.items()}
        answers.append((yield Call(signature, constant | chunk)))
    return {name: np.concatenate([answer[name][0] for answer in answers])[:total] for name in answers[0]}


def _suffix(frames: np.ndarray) -> str:
    return "_uint8" if frames.dtype == np.uint8 else ""


def _keypoints(tensors: Tensors, prefix: str = "") -> Keypoints:
    return Keypoints(tensors[f"{prefix}value"], tensors.get(f"{prefix}jacobian"))

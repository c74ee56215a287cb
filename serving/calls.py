"""Stage by stage: which requests make a result, without I/O.

Each function is a generator that yields calls, is sent their answers, and returns the result.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple, TypeVar

import numpy as np

from serving import arguments, failures
from serving.arguments import Keypoints
from serving.signatures import Call, Model, Tensors
from serving.target import Room

# Rows of `detect`, frames of `transfer` and `render` in a request: what batching.config lets a request have.
LARGEST = 8

Result = TypeVar("Result")
Steps = Generator[Call, Tensors, Result]


class Encoded(NamedTuple):
    """All that is computed from the source picture alone; made by `encode`, used by `transfer` and `render`.

    Attributes:
      image, features, source_lowres: the networks', of batch 1.
      keypoints: of batch 1.
    """

    image: np.ndarray
    features: np.ndarray
    source_lowres: np.ndarray
    keypoints: Keypoints


def detect(model: Model, room: Room, frames: np.ndarray) -> Steps[Keypoints]:
    """Keypoints of `[N, H, W, 3]` frames."""
    frames = arguments.frames(frames, model.frame_size, "frames")
    count = fit(min(LARGEST, len(frames)), room.beside({}), room.size(frames[0]))
    found = []
    for start in range(0, len(frames), count):
        found.append((yield Call("detect" + _suffix(frames), {"frames": frames[start : start + count]})))
    return _keypoints({name: np.concatenate([part[name] for part in found]) for name in found[0]})


def encode(model: Model, room: Room, image: np.ndarray) -> Steps[Encoded]:
    """What is computed from one source picture."""
    image = arguments.image(image, model.frame_size, "image")
    found = yield Call("encode_source" + _suffix(image), {"source": image})
    return Encoded(found["image"], found["features"], found["source_lowres"], _keypoints(found, "source_"))


def transfer(
    model: Model,
    room: Room,
    encoded: Encoded,
    driving: Keypoints,
    initial: Keypoints,
    relative: bool,
    adapt_scale: bool,
) -> Steps[Keypoints]:
    """Keypoints of `driving`, of N frames, as the source takes them; `initial` is of one frame."""
    driving = arguments.keypoints(driving, model, "driving")
    initial = arguments.keypoints(initial, model, "initial")
    if len(initial.value) != 1:
        raise failures.ArgumentError(f"initial is of {len(initial.value)} frames; give those of one.")
    fixed = encoded.keypoints.named("source_") | initial.named("initial_") | switches(relative, adapt_scale)
    return _keypoints((yield from _posed("transfer", room, fixed, driving.named("driving_"), answer_size=1)))


def render(model: Model, room: Room, encoded: Encoded, keypoints: Keypoints) -> Steps[np.ndarray]:
    """The source in the poses of N frames: `[N, H, W, 3]` float32 in [0, 1]."""
    keypoints = arguments.keypoints(keypoints, model, "keypoints")
    fixed = {"image": encoded.image, "features": encoded.features, "source_lowres": encoded.source_lowres}
    fixed |= encoded.keypoints.named("source_")
    frame_size = room.size(np.empty((*model.frame_size, 3), np.float32))
    found = yield from _posed("render", room, fixed, keypoints.named(""), answer_size=frame_size)
    return found["prediction"]


def switches(relative: bool, adapt_scale: bool) -> Tensors:
    """How motion is carried over, as a signature takes it."""
    return {"relative": np.array([relative], bool), "adapt_scale": np.array([adapt_scale], bool)}


def fit(most: int, left: int, each: int) -> int:
    """How many of `each` bytes go into those left: at least one, whose request is measured when it is written."""
    return max(1, min(most, left // each))


def _posed(signature: str, room: Room, fixed: Tensors, poses: Tensors, answer_size: int) -> Steps[Tensors]:
    """Calls with a part of the poses each, all parts of one length.

    Args:
      signature: which.
      room: of a message.
      fixed: inputs that go along with each part.
      poses: of N frames, on axis 0.
      answer_size: bytes of a frame in the answer.

    Returns:
      The answers for N frames, on axis 0.
    """
    total = len(next(iter(poses.values())))
    each = sum(room.size(tensor[:1]) for tensor in poses.values())
    count = fit(min(LARGEST, total), room.beside(fixed), each)
    count = fit(count, room.beside({}), answer_size)
    found = []
    for start in range(0, total, count):
        rows = np.minimum(np.arange(start, start + count), total - 1)
        found.append(
            (yield Call(signature, fixed | {name: tensor[np.newaxis, rows] for name, tensor in poses.items()}))
        )
    return {name: np.concatenate([part[name][0] for part in found])[:total] for name in found[0]}


def _suffix(frames: np.ndarray) -> str:
    return "_uint8" if frames.dtype == np.uint8 else ""


def _keypoints(found: Tensors, prefix: str = "") -> Keypoints:
    return Keypoints(found[f"{prefix}value"], found.get(f"{prefix}jacobian"))

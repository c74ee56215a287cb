"""Motion files: the keypoints of a clip, stored to animate other images by the same motion without its video.

A motion file is an npz archive without pickled objects:
  * `version`: 1, int64;
  * `value`: `[N, K, 2]` float32, the keypoints as detected, before smoothing and transfer;
  * `jacobian`: `[N, K, 2, 2]` float32; absent in models without Jacobians;
  * `starts`: `[S]` int64, rising from 0, the first frames of scenes;
  * `found`: `[N]` bool, which frames show the object; absent if it was not searched;
  * `fps`: `[2]` int64, numerator and denominator;
  * `model`: the SHA-256 of the model's weights in hexadecimal digits: keypoints of other models mean something else.

The audio stays with the video.
"""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fomm_tf import errors, files
from fomm_tf.structures import Keypoints

SUFFIX = ".npz"
_VERSION = 1
# Decompressed, in bytes: an hour at 60 frames per second has 50 MB.
_MAX_BYTES = 1 << 30
_NAMES = {"version", "value", "jacobian", "starts", "found", "fps", "model"}
_OPTIONAL = {"jacobian", "found"}
# What NumPy raises for a damaged file; its headers are parsed as Python literals.
_UNREADABLE = (
    *(OSError, EOFError, LookupError, MemoryError, RuntimeError, SyntaxError, TypeError, ValueError, struct.error),
    *(tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


class Motion(NamedTuple):
    """The motion of a clip.

    Attributes:
      value: `[N, K, 2]` float32, N at least 1.
      jacobian: `[N, K, 2, 2]` float32, or None.
      starts: indices of the first frames of scenes; the first one is 0.
      fps: frames per second.
      model: `FirstOrderMotionModel.weights_sha256()` of the model that detected the keypoints.
      found: `[N]` bool, which frames show the object; None if it was not searched.
    """

    value: np.ndarray
    jacobian: np.ndarray | None
    starts: tuple[int, ...]
    fps: Fraction
    model: str
    found: np.ndarray | None = None

    def batches(self, size: int) -> Iterator[Keypoints]:
        """Yields keypoints of `size` frames after the other, the last batch smaller."""
        for start in range(0, len(self.value), size):
            yield Keypoints(self.value, self.jacobian).map(lambda part, start=start: part[start : start + size])

    def first_scene(self) -> Motion:
        """The motion up to the first cut."""
        stop = self.starts[1] if len(self.starts) > 1 else len(self.value)
        parts = ("value", "jacobian", "found")
        kept = {name: None if (part := getattr(self, name)) is None else part[:stop] for name in parts}
        return self._replace(**kept, starts=(0,))


class MotionRecorder:
    """Collects the keypoints of a clip batch by batch: about 240 bytes per frame.

    Args:
      fps: frames per second.
      model: see `Motion`.
    """

    def __init__(self, fps: Fraction, model: str) -> None:
        self._fps, self._model = fps, model
        self._batches: list[Keypoints] = []

    def add(self, keypoints: Keypoints) -> None:
        """Adds the keypoints of the next N frames."""
        self._batches.append(keypoints.map(lambda part: np.asarray(part, np.float32)))

    def motion(self, starts: Sequence[int] = (0,), found: np.ndarray | None = None) -> Motion:
        """The motion of all frames added.

        Args:
          starts: first frames of scenes.
          found: `[N]` bool or longer, which frames show the object.
        """
        value, jacobian = (
            None if parts[0] is None else np.concatenate(parts) for parts in zip(*self._batches, strict=True)
        )
        kept = tuple(start for start in starts if start < len(value))
        return Motion(value, jacobian, kept, self._fps, self._model, None if found is None else found[: len(value)])


def is_motion_name(path: str | Path) -> bool:
    """Whether the file name is a motion file's."""
    return Path(path).suffix.lower() == SUFFIX


def write_motion(path: str | Path, motion: Motion) -> None:
    """Writes a motion file atomically.

    Raises:
      errors.UserError: if the suffix is not .npz, the file cannot be written, or the disk is full.
    """
    path = Path(path)
    if not is_motion_name(path):
        raise errors.UserError(f"{path}: the suffix of a motion file must be {SUFFIX}; got {path.suffix!r}.")
    arrays = {
        "version": np.int64(_VERSION),
        "value": np.asarray(motion.value, np.float32),
        "starts": np.array(motion.starts, np.int64),
        "fps": np.array(motion.fps.as_integer_ratio(), np.int64),
        "model": np.array(motion.model),
    }
    if motion.jacobian is not None:
        arrays["jacobian"] = np.asarray(motion.jacobian, np.float32)
    if motion.found is not None:
        arrays["found"] = np.asarray(motion.found, bool)
    with files.replace_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_motion(path: str | Path, model: str | None = None) -> Motion:
    """Reads a motion file.

    Args:
      path: the file.
      model: what `Motion.model` must be; None accepts the motion of any model.

    Raises:
      errors.UnreadableError: if the file is missing, damaged, of another kind, or holds invalid values.
      errors.UserError: if the motion is of another model.
    """
    path = Path(path)
    files.check_readable(path)
    try:
        arrays = _read_arrays(path)
        motion = _parse(arrays)
    except _UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise errors.UnreadableError(
            f"{path} is not a motion file, or is damaged: {reason}; write it again with `save_motion`."
        ) from error
    if model is not None and motion.model != model:
        raise errors.UserError(
            f"{path} is the motion of another model ({motion.model[:12]}...; this one is {model[:12]}...), whose "
            "keypoints mean something else; use that model, or give the video instead of the motion."
        )
    return motion


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > _MAX_BYTES:
        raise ValueError(f"it declares {size:,} bytes, more than {_MAX_BYTES:,}")
    with np.load(path, allow_pickle=False) as stored:
        # NumPy returns the bytes of what is not an array.
        arrays = {name: stored[name] for name in stored.files if name in _NAMES}
    if foreign := [name for name, value in arrays.items() if not isinstance(value, np.ndarray)]:
        raise ValueError(f"{foreign[0]} is not an array")
    return arrays


def _parse(arrays: dict[str, np.ndarray]) -> Motion:
    """Checks the arrays of a motion file; raises ValueError with the first problem."""
    if missing := sorted(_NAMES - _OPTIONAL - set(arrays)):
        raise ValueError(f"{missing[0]} is missing")
    version = _integers(arrays, "version", ())
    if version != _VERSION:
        raise ValueError(f"version is {version}; this program reads version {_VERSION}")
    value, jacobian = arrays["value"], arrays.get("jacobian")
    frames, points = value.shape[:2] if value.ndim == 3 else (0, 0)
    _check_floats("value", value, (frames, points, 2), "[N, K, 2]")
    if not frames or not points:
        raise ValueError(f"value must not be empty; got shape {list(value.shape)}")
    if jacobian is not None:
        _check_floats("jacobian", jacobian, (frames, points, 2, 2), f"[{frames}, {points}, 2, 2]")
    starts = _integers(arrays, "starts", (arrays["starts"].size,))
    if not len(starts) or starts[0] != 0 or (np.diff(starts) <= 0).any() or starts[-1] >= frames:
        raise ValueError(f"starts must rise from 0 and be below {frames}")
    numerator, denominator = _integers(arrays, "fps", (2,)).tolist()
    if denominator <= 0 or not 0 < Fraction(numerator, denominator) <= 1000:
        raise ValueError(f"fps must be above 0 and at most 1000; got {numerator}/{denominator}")
    if arrays["model"].shape or arrays["model"].dtype.kind != "U":
        raise ValueError("model must be a text")
    found = arrays.get("found")
    if found is not None and (found.dtype != bool or found.shape != (frames,)):
        raise ValueError(f"found must be [{frames}] bool; got {list(found.shape)} {found.dtype}")
    fps = Fraction(numerator, denominator)
    return Motion(value, jacobian, tuple(starts.tolist()), fps, str(arrays["model"]), found)


def _check_floats(name: str, value: np.ndarray, shape: tuple[int, ...], expected: str) -> None:
    if value.dtype != np.float32 or value.shape != shape:
        raise ValueError(f"{name} must be {expected} float32; got {list(value.shape)} {value.dtype}")
    if not np.isfinite(value).all():
        raise ValueError(f"{name} holds NaN or infinite values")


def _integers(arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    value = arrays[name]
    if value.dtype.kind not in "iu" or value.shape != shape:
        raise ValueError(f"{name} must be {list(shape)} int64; got {list(value.shape)} {value.dtype}")
    return value

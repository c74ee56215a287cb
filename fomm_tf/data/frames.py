"""An index of the videos below a folder, each decoded once and kept as small pictures for random access.

Convention:
  * `ROOT/train` and `ROOT/test` hold the clips of each part; without both, the clips lie in ROOT and are split;
  * a clip is what `fomm_tf.video.open_video` reads: a video, a gif, a folder of frames, a stacked picture; files with
    other suffixes and hidden ones are passed over;
  * `identity#clip` is a clip of `identity`; a name without `#` is an identity of its own.

What is kept: one file a clip, its frames at the frame size (the middle of the picture, by area), each encoded by
itself. Raw frames would need 800 GB for VoxCeleb at 256x256 and more memory than a laptop has; as JPEG (quality 95, no
chroma subsampling) they need a fifth, and a random frame is one read of some 35 kB and under a millisecond to decode.
Drawings, whose first frame is smaller as PNG, are kept as that, losslessly. Nothing is held in memory but offsets: what
is read often stays in the system's page cache, which gives way when memory is short.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
import os
import struct
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import tensorflow as tf
import tqdm

from fomm_tf import errors, files, video
from fomm_tf.data import layout

Result = TypeVar("Result")

_TAKES = (
    f"it takes videos ({', '.join(layout.SUFFIXES)}; a picture holds square frames side by side) and folders of frames"
)

# The end of a kept file: what it was made from, number of frames, and a mark that changes with the format.
_FOOTER = struct.Struct("<32sq8s")
_MARK = b"fommjpg1"
_THREADS = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Clip:
    """One clip, kept at the frame size.

    Attributes:
      path: the video.
      kept: the file of encoded frames.
      offsets: `[N + 1]` int64, where each frame begins in it; the last is the end.
    """

    path: Path
    kept: Path
    offsets: np.ndarray = dataclasses.field(repr=False)

    @property
    def identity(self) -> str:
        """Whom the clip shows."""
        return layout.identity_of(self.path)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def encoded(self, number: int) -> bytes:
        """Reads frame `number`, counted from 0, as JPEG or PNG."""
        with self.kept.open("rb") as file:
            file.seek(self.offsets[number])
            return file.read(self.offsets[number + 1] - self.offsets[number])

    def frame(self, number: int) -> np.ndarray:
        """Reads frame `number`, counted from 0: `[H, W, 3]` uint8 RGB."""
        return decode(self.encoded(number)).numpy()


@dataclasses.dataclass(frozen=True)
class Index:
    """The clips of one part of a data set.

    Attributes:
      clips: in the order of their names; each has two frames at least.
      frame_size: `(H, W)` of all frames.
      skipped: why a clip is not among them, one line each.
    """

    clips: tuple[Clip, ...]
    frame_size: tuple[int, int]
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.clips)

    def by_identity(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of the clips of each identity, in the order of the names."""
        numbers = {}
        for number, clip in enumerate(self.clips):
            numbers.setdefault(clip.identity, []).append(number)
        return tuple(tuple(group) for group in numbers.values())


def decode(encoded: tf.Tensor | bytes) -> tf.Tensor:
    """Decodes what `Clip.encoded` reads.

    Args:
      encoded: scalar string.

    Returns:
      `[H, W, 3]` uint8 RGB.
    """
    return tf.io.decode_image(encoded, channels=3, expand_animations=False)


def load(
    root: str | Path,
    split: str,
    frame_size: tuple[int, int],
    *,
    cache: str | Path | None = None,
    test_share: float = 0.1,
    seed: int = 0,
) -> Index:
    """Finds the clips of a part; those that are new or have changed are decoded, with a bar on a terminal.

    The frames are encoded by TensorFlow, so a multi-worker strategy has to be made before.

    Args:
      root: the folder of the data set.
      split: `train` or `test`.
      frame_size: `(H, W)` of the kept frames, in pixels.
      cache: folder for them; `.fomm-cache` in `root` if not given.
      test_share: share of the identities that are for testing if there is neither `train` nor `test`; of the clips
        if all are of one identity. Both parts get one at least, where there are two.
      seed: of that split.

    Warns:
      UserWarning: names a clip that is left out, because it cannot be read or has one frame only.

    Raises:
      UserError: if there is no usable clip, or if the cache cannot be written.
    """
    root = Path(root)
    if not root.is_dir():
        raise errors.UserError(f"{root} is not a folder; data.root is the folder of the videos: {_TAKES}.")
    place, paths = find(root, split, test_share, seed)
    kept = _keep_in(root, cache, frame_size)
    clips, skipped = [], []
    stamps = [files.fingerprint(path, tuple(frame_size)) for path in paths]
    targets = [kept / path.relative_to(root).with_name(f"{path.name}.frames") for path in paths]
    offsets = [_open(target, stamp) for target, stamp in zip(targets, stamps, strict=True)]
    missing = [number for number, found in enumerate(offsets) if found is None]

    def work(number: int, stop: threading.Event) -> np.ndarray | str:
        return _make(paths[number], targets[number], stamps[number], frame_size, stop)

    for number, made in zip(missing, _in_threads(work, missing, f"decoding {place}"), strict=True):
        offsets[number] = made
    for path, target, found in zip(paths, targets, offsets, strict=True):
        if not isinstance(found, str) and len(found) < 3:
            found = f"{path} has one frame, and a pair needs two"
        if isinstance(found, str):
            skipped.append(found)
            warnings.warn(f"{found.rstrip('.')}; it is skipped.", stacklevel=2)
        else:
            clips.append(Clip(path, target, found))
    if not clips:
        bad = f", {len(skipped)} skipped ({skipped[0].rstrip('.')})" if skipped else ""
        raise errors.UserError(f"no clip to {split} with in {place}: {len(paths)} found{bad}; {_TAKES}.")
    return Index(tuple(clips), tuple(frame_size), tuple(skipped))


def find(root: Path, split: str, test_share: float = 0.1, seed: int = 0) -> tuple[Path, list[Path]]:
    """Where the clips of a part lie, and those, none of them looked into; see `load`."""
    if split not in layout.SPLITS:
        raise ValueError(f"split is {split!r}; give one of {', '.join(layout.SPLITS)}.")
    if any((root / name).is_dir() for name in layout.SPLITS):
        place = root / split
        return place, clips_in(place) if place.is_dir() else []
    paths = clips_in(root)
    group_of = layout.identity_of if len({layout.identity_of(path) for path in paths}) > 1 else lambda path: path.name
    # Ranked by hash, so that a clip that comes or goes moves few others to the other part.
    groups = sorted({group_of(path) for path in paths}, key=lambda name: files.digest(seed, name))
    tested = set(groups[: min(len(groups) - 1, max(1, round(test_share * len(groups))))])
    return root, [path for path in paths if (group_of(path) in tested) == (split == "test")]


def clips_in(folder: Path) -> list[Path]:
    """What may be a clip, in the order of the names."""
    found = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in found if path.is_dir() or path.suffix.lower() in layout.SUFFIXES)


def _keep_in(root: Path, cache: str | Path | None, frame_size: tuple[int, int]) -> Path:
    size = f"{frame_size[0]}x{frame_size[1]}"
    if cache is None:
        return root / ".fomm-cache" / size
    # Two data sets of one name may share a cache.
    return Path(cache) / f"{root.resolve().name}-{files.digest(root.resolve()).hex()[:8]}" / size


def _open(kept: Path, stamp: bytes) -> np.ndarray | None:
    """The offsets of a kept clip; None if there is none, or if the clip has changed since."""
    try:
        with kept.open("rb") as file:
            end = file.seek(0, os.SEEK_END) - _FOOTER.size
            file.seek(max(0, end))
            made_from, count, mark = _FOOTER.unpack(file.read(_FOOTER.size))
            if (made_from, mark) != (stamp, _MARK):
                return None
            table = 8 * (count + 1)
            file.seek(end - table)
            return np.frombuffer(file.read(table), "<i8")
    except (OSError, struct.error):
        return None


def _make(path: Path, kept: Path, stamp: bytes, frame_size: tuple[int, int], stop: threading.Event) -> np.ndarray | str:
    """Decodes and keeps a clip, unless told to stop; returns its offsets, or why there are none."""
    encode, offsets = None, [0]
    try:
        with files.replace_atomically(kept) as temporary, temporary.open("wb") as file:
            for frame in video.open_video(path):
                if stop.is_set():
                    raise errors.UnreadableError(f"{path} was not read to its end")
                picture = video.resize(frame, frame_size)
                encode = encode or min((_jpeg, _png), key=lambda way, picture=picture: len(way(picture)))
                offsets.append(offsets[-1] + file.write(encode(picture)))
            table = np.array(offsets, "<i8")
            file.write(table.tobytes())
            file.write(_FOOTER.pack(stamp, len(table) - 1, _MARK))
    except errors.UnreadableError as error:
        return str(error)
    return table


def _jpeg(picture: np.ndarray) -> bytes:
    return tf.io.encode_jpeg(picture, quality=95, chroma_downsampling=False).numpy()


def _png(picture: np.ndarray) -> bytes:
    return tf.io.encode_png(picture).numpy()


def _in_threads(work: Callable[[int, threading.Event], Result], numbers: list[int], label: str) -> list[Result]:
    """Decoding, resizing and encoding let other threads run meanwhile; Ctrl-C or a full disk ends them all at once."""
    if not numbers:
        return []
    stop = threading.Event()
    pool = concurrent.futures.ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1))
    try:
        bar = tqdm.tqdm(
            pool.map(work, numbers, itertools.repeat(stop)), total=len(numbers), desc=label, unit="clip", disable=None
        )
        return list(bar)
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)

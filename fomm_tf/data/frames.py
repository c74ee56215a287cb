"""An index of the clips in a directory; each is decoded once and cached as small images for random access.

Convention:
  * `ROOT/train` and `ROOT/test` hold the clips of each split; without these, the clips in ROOT are split;
  * a ROOT of shards has these images already; see `fomm_tf.data.shards`;
  * `fomm_tf.data.layout` says what a clip is, and what its identity.

The cache has one file per clip, with center-cropped frames at the frame size, each encoded on its own. Raw frames would
need 800 GB for VoxCeleb at 256x256; as JPEG (quality 95, no chroma subsampling) they need a fifth of that, and a random
frame takes one read of about 35 kB and less than a millisecond to decode. Clips whose first frame is smaller as PNG,
such as drawings, are cached as PNG, losslessly. Only offsets are held in memory; the page cache of the operating system
keeps what is read often.
"""

from __future__ import annotations

import dataclasses
import os
import struct
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from fomm_tf import errors, files, video
from fomm_tf.data import layout, shards, storage, threads

# The end of a cache file: stamp of the clip, number of frames, and a magic number that changes with the format.
_FOOTER = struct.Struct("<32sq8s")
_MAGIC = b"fommjpg2"


@dataclasses.dataclass(frozen=True, eq=False)
class Clip:
    """One clip, encoded at the frame size.

    Attributes:
      path: the video; in a data set of shards, below its root, where there need not be one.
      identity: the person or object in the clip.
      file: path or URL of the file of encoded frames.
      starts: `[N]`, position of each frame in that file.
      sizes: `[N]`, number of bytes of each frame.
    """

    path: Path
    identity: str
    file: str
    starts: np.ndarray = dataclasses.field(repr=False)
    sizes: np.ndarray = dataclasses.field(repr=False)

    def __len__(self) -> int:
        return len(self.starts)

    def locate(self, number: int) -> storage.Range:
        """Where frame `number`, counted from 0, is as JPEG or PNG."""
        return storage.Range(self.file, int(self.starts[number]), int(self.sizes[number]))

    def frame(self, number: int) -> np.ndarray:
        """Reads frame `number`, counted from 0: `[H, W, 3]` uint8 RGB."""
        return decode(storage.read_ranges([self.locate(number)])[0]).numpy()


@dataclasses.dataclass(frozen=True)
class Index:
    """The clips of one split of a data set.

    Attributes:
      clips: sorted by name; each has at least two frames.
      frame_size: `(H, W)` of all frames.
      skipped: one line for each skipped clip, with the reason.
    """

    clips: tuple[Clip, ...]
    frame_size: tuple[int, int]
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.clips)

    def by_identity(self) -> tuple[tuple[int, ...], ...]:
        """The indices of the clips of each identity, sorted by name."""
        numbers = {}
        for number, clip in enumerate(self.clips):
            numbers.setdefault(clip.identity, []).append(number)
        return tuple(tuple(group) for group in numbers.values())


def decode(encoded: tf.Tensor | bytes) -> tf.Tensor:
    """Decodes a frame of a clip.

    Args:
      encoded: scalar string, what `Clip.locate` locates.

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
    splits: Mapping[str, layout.Clips] | None = None,
) -> Index:
    """Indexes the clips of a split; decodes new and changed ones, with a progress bar on a terminal.

    TensorFlow encodes the frames, so a multi-worker strategy must be created before.

    Args:
      root: directory of the data set, or directory or URL of its shards, for which the last four do not matter.
      split: `train` or `test`.
      frame_size: `(H, W)` of the cached frames, in pixels.
      cache: directory of the cache; by default `.fomm-cache` in `root`.
      test_share: fraction of the identities in the test split if there is neither `train` nor `test`; fraction of
        the clips if there is one identity only. Each split gets at least one, if there are two.
      seed: of that split.
      splits: the result of `find_splits`, if it is known.

    Warns:
      UserWarning: for each skipped clip, because it cannot be read or has only one frame; and if there are files of
        other kinds.

    Raises:
      UserError: if there is no usable clip, the cache cannot be written, or a shard is missing or damaged.
    """
    if split not in layout.SPLITS:
        raise ValueError(f"split must be one of {', '.join(layout.SPLITS)}; got {split!r}.")
    if shards.is_sharded(root):
        return _load_shards(root, split, frame_size)
    root = Path(root)
    if not root.is_dir():
        raise errors.UserError(f"data.root {root} is not a directory; {layout.LAYOUTS}.")
    splits = splits or find_splits(root, test_share, seed)
    found = splits[split]
    directory, paths = found.folder, found.paths
    warn_of_split(root, splits, split)
    cache = _cache_directory(root, cache, frame_size)
    clips, skipped = [], []
    stamps = [files.fingerprint(path, tuple(frame_size)) for path in paths]
    targets = [cache / path.relative_to(root).with_name(f"{files.safe_name(path.name)}.frames") for path in paths]
    inputs = layout.inputs_of(paths)
    for folder in {target.parent for target in targets}:
        inputs.check(folder)
    offsets = [_open(target, stamp) for target, stamp in zip(targets, stamps, strict=True)]
    missing = [number for number, table in enumerate(offsets) if table is None]

    def decode_clip(number: int, stop: threading.Event) -> np.ndarray | str:
        return _write_cache(paths[number], targets[number], stamps[number], frame_size, stop)

    for number, result in zip(missing, threads.run(decode_clip, missing, f"decoding {directory}", "clip"), strict=True):
        offsets[number] = result
    for path, target, result in zip(paths, targets, offsets, strict=True):
        if not isinstance(result, str) and len(result) < 3:
            result = describe_short(path)
        if isinstance(result, str):
            skipped.append(result)
            warn_of_skipped(result)
        else:
            clips.append(Clip(path, found.identity(path), str(target), result[:-1], np.diff(result).astype(np.uint32)))
    if not clips:
        bad = f", {len(skipped)} skipped ({skipped[0].rstrip('.')})" if skipped else ""
        raise errors.UserError(f"{directory} has no usable {split} clip: {len(paths)} found{bad}; {layout.LAYOUTS}.")
    return Index(tuple(clips), tuple(frame_size), tuple(skipped))


def _load_shards(root: str | Path, split: str, frame_size: tuple[int, int]) -> Index:
    clips, skipped = [], []
    for file, table in shards.read_tables(root, split, frame_size):
        begin = 0
        for name, identity, length in zip(table.names, table.identities, table.lengths, strict=True):
            end = begin + length
            clips.append(Clip(Path(root, name), identity, file, table.starts[begin:end], table.sizes[begin:end]))
            begin = end
        skipped += table.skipped
    if not clips:
        raise errors.UserError(f"{root} has no {split} clip; write shards with a {split} split by fomm shards.")
    return Index(tuple(clips), tuple(frame_size), tuple(skipped))


def warn_of_split(root: Path, splits: Mapping[str, layout.Clips], split: str) -> None:
    """Warns of files that are passed over and of copies; of one directory with both splits, passed over files once."""
    found = splits[split]
    if split == "train":
        found.warn()
    else:
        reported = found._replace(passed_over=()) if found.folder == root else found
        reported.warn(splits["train"].paths)


def warn_of_skipped(reason: str) -> None:
    """Warns of a clip that cannot be used."""
    warnings.warn(f"{reason.rstrip('.')}; it is skipped.", stacklevel=3)


def describe_short(path: Path) -> str:
    """Why a clip of one frame is skipped."""
    return f"{path} has one frame; a pair needs two"


def find_splits(
    root: Path, test_share: float = 0.1, seed: int = 0, exclude: Path | None = None
) -> dict[str, layout.Clips]:
    """The clips of each split, which are not opened; see `load`.

    Raises:
      UserError: if a directory cannot be read, or `root` holds whole data sets.
    """
    if folders := layout.split_folders(root):
        return {
            split: layout.find_clips(folders[split], exclude) if split in folders else layout.Clips(root / split, [])
            for split in layout.SPLITS
        }
    found = layout.find_clips(root, exclude)
    for path in found.paths:
        if nested := next((parent for parent in path.relative_to(root).parents if layout.is_split(parent)), None):
            raise errors.UserError(f"{root} holds a data set, {root / nested.parent}; give that directory instead.")
    has_identities = len({found.identity(path) for path in found.paths}) > 1
    group_of = found.identity if has_identities else lambda path: str(path.relative_to(root))
    # Sorted by hash, so that adding or removing a clip moves few others to the other split.
    groups = sorted({group_of(path) for path in found.paths}, key=lambda name: files.digest(seed, name))
    test = set(groups[: min(len(groups) - 1, max(1, round(test_share * len(groups))))])
    return {
        split: found._replace(paths=[path for path in found.paths if (group_of(path) in test) == (split == "test")])
        for split in layout.SPLITS
    }


def _cache_directory(root: Path, cache: str | Path | None, frame_size: tuple[int, int]) -> Path:
    size = f"{frame_size[0]}x{frame_size[1]}"
    if cache is None:
        return root / ".fomm-cache" / size
    # Data sets of the same name may share a cache.
    return Path(cache) / f"{root.resolve().name}-{files.digest(root.resolve()).hex()[:8]}" / size


def _open(cache_file: Path, stamp: bytes) -> np.ndarray | None:
    """The offsets of a cached clip; None if it is not cached or has changed since."""
    try:
        with cache_file.open("rb") as file:
            end = file.seek(0, os.SEEK_END) - _FOOTER.size
            file.seek(max(0, end))
            cached_stamp, count, magic = _FOOTER.unpack(file.read(_FOOTER.size))
            if (cached_stamp, magic) != (stamp, _MAGIC):
                return None
            table = 8 * (count + 1)
            file.seek(end - table)
            return np.frombuffer(file.read(table), "<i8")
    except (OSError, struct.error):
        return None


def _write_cache(
    path: Path, cache_file: Path, stamp: bytes, frame_size: tuple[int, int], stop: threading.Event
) -> np.ndarray | str:
    """Decodes and caches a clip, unless `stop` is set; returns its offsets, or why it cannot be read."""
    offsets = [0]
    try:
        with files.replace_atomically(cache_file) as temporary, temporary.open("wb") as file:
            for encoded in encode_frames(path, frame_size, stop):
                offsets.append(offsets[-1] + file.write(encoded))
            table = np.array(offsets, "<i8")
            file.write(table.tobytes())
            file.write(_FOOTER.pack(stamp, len(table) - 1, _MAGIC))
    except errors.UnreadableError as error:
        return str(error)
    return table


def encode_frames(path: Path, frame_size: tuple[int, int], stop: threading.Event) -> Iterator[bytes]:
    """Reads a clip: each frame at the frame size, as JPEG or PNG.

    Raises:
      UnreadableError: if it cannot be read, or `stop` is set before its end.
    """
    encode = None
    for frame in video.open_video(path):
        if stop.is_set():
            raise errors.UnreadableError(f"{path} was not read to its end")
        image = video.resize(frame, frame_size)
        encode = encode or min((_jpeg, _png), key=lambda encoder, image=image: len(encoder(image)))
        yield encode(image)


def _jpeg(image: np.ndarray) -> bytes:
    return tf.io.encode_jpeg(image, quality=95, chroma_downsampling=False).numpy()


def _png(image: np.ndarray) -> bytes:
    return tf.io.encode_png(image).numpy()

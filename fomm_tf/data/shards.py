"""Shards: the encoded frames of a data set's clips in a few tar files, for object storage.

Convention:
  * `ROOT/shards.json` lists the shards of each split, and the frame size;
  * `ROOT/train-00000.tar` is a WebDataset shard: one member for each frame, `CLIP/000000.jpg` or `.png`, in which CLIP
    is the path of the clip in the directory that the shards were made of;
  * `ROOT/train-00000.npz` is its index: where each frame starts in the tar file and its size, so that any frame is one
    read of a range of bytes;
  * frames are those that `fomm_tf.data.frames` caches, byte for byte, and clips are in the same order.

ROOT is a directory or a URL; see `fomm_tf.data.storage`.
"""

from __future__ import annotations

import array
import dataclasses
import io
import itertools
import json
import tarfile
import zipfile
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from fomm_tf import errors, files
from fomm_tf.data import storage

MANIFEST = "shards.json"
_VERSION = 1
_JPEG_START = b"\xff\xd8"
_BLOCK = tarfile.BLOCKSIZE


class ClipTable(NamedTuple):
    """The clips of one shard, or of several.

    Attributes:
      names: path of each clip in the directory that the shards were made of.
      identities: the person or object in each clip.
      lengths: number of frames of each clip.
      starts: `[F]` int64, position of each frame in the tar file, for all clips one after the other.
      sizes: `[F]` uint32, number of bytes of each frame.
      skipped: one line for each clip that was left out, with the reason.
    """

    names: tuple[str, ...]
    identities: tuple[str, ...]
    lengths: tuple[int, ...]
    starts: np.ndarray
    sizes: np.ndarray
    skipped: tuple[str, ...]


class ShardRecord(NamedTuple):
    """An entry of the manifest.

    Attributes:
      name: of the tar file and the index, without suffix.
      size: of the tar file, in bytes.
      clips: number of clips.
      frames: number of frames.
    """

    name: str
    size: int
    clips: int
    frames: int


class Writer:
    """Writes one tar file and collects its index, with flat memory but for 12 bytes a frame.

    Args:
      file: the tar file, open for writing.

    Attributes:
      num_frames: number of frames of the clip that was not ended yet.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._names: list[str] = []
        self._identities: list[str] = []
        self._lengths: list[int] = []
        self._skipped: list[str] = []
        self._starts, self._sizes = array.array("q"), array.array("I")
        self._begin = self.num_frames = 0

    def add_frame(self, clip: str, content: bytes) -> None:
        """Adds an encoded frame of the clip that `end_clip` or `drop_clip` will end."""
        suffix = "jpg" if content.startswith(_JPEG_START) else "png"
        info = tarfile.TarInfo(f"{clip}/{self.num_frames:06d}.{suffix}")
        info.size = len(content)
        self._file.write(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
        self._starts.append(self._file.tell())
        self._sizes.append(len(content))
        self._file.write(content)
        self._file.write(bytes(-len(content) % _BLOCK))
        self.num_frames += 1

    def end_clip(self, clip: str, identity: str) -> None:
        """Keeps the clip."""
        self._names.append(clip)
        self._identities.append(identity)
        self._lengths.append(self.num_frames)
        self._begin, self.num_frames = self._file.tell(), 0

    def drop_clip(self, reason: str) -> None:
        """Removes the frames of the clip again."""
        self._file.seek(self._begin)
        self._file.truncate()
        for column in (self._starts, self._sizes):
            del column[len(column) - self.num_frames :]
        self._skipped.append(reason)
        self.num_frames = 0

    def close(self) -> ClipTable:
        """Ends the tar file and returns its index."""
        self._file.write(bytes(2 * _BLOCK))
        lists = map(tuple, (self._names, self._identities, self._lengths))
        columns = np.array(self._starts, "<i8"), np.array(self._sizes, "<u4")
        return ClipTable(*lists, *columns, tuple(self._skipped))


def write_index(path: Path, table: ClipTable, stamp: str) -> None:
    """Writes the index of a shard atomically, with a stamp of what the shard was made from."""
    with files.replace_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez(file, stamp=np.array(stamp), **{name: np.array(value) for name, value in table._asdict().items()})


def read_index(file: str) -> tuple[ClipTable, str]:
    """Reads the index of a shard, and its stamp.

    Raises:
      UserError: if it does not exist or cannot be read.
    """
    content = storage.read(file)
    try:
        with np.load(io.BytesIO(content)) as stored:
            arrays = {name: stored[name] for name in ClipTable._fields}
            stamp = str(stored["stamp"])
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        raise errors.UserError(f"{file} is damaged; copy it again.") from None
    lists = {name: tuple(arrays[name].tolist()) for name in ("names", "identities", "lengths", "skipped")}
    return ClipTable(**(arrays | lists)), stamp


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The content of `shards.json`.

    Attributes:
      frame_size: `(H, W)` of the frames.
      splits: split -> its shards, in order.
    """

    frame_size: tuple[int, int]
    splits: dict[str, tuple[ShardRecord, ...]]

    def write(self, root: Path) -> None:
        """Writes it atomically."""
        splits = {split: [record._asdict() for record in records] for split, records in self.splits.items()}
        files.write_json(root / MANIFEST, {"version": _VERSION, "frame_size": list(self.frame_size), "splits": splits})


def is_sharded(root: str | Path) -> bool:
    """Whether a data set consists of shards: a URL does, and a directory with `shards.json`."""
    return storage.is_url(root) or (Path(root) / MANIFEST).is_file()


def read_manifest(root: str | Path) -> Manifest:
    """Reads `shards.json`.

    Raises:
      UserError: if it does not exist or cannot be read.
    """
    name = join(root, MANIFEST)
    content = storage.read(name)
    try:
        found = json.loads(content)
        version = found["version"]
        splits = {
            split: tuple(ShardRecord(**record) for record in records) for split, records in found["splits"].items()
        }
        height, width = found["frame_size"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise errors.UserError(f"{name} is not a list of shards; write it again with fomm shards.") from None
    if version != _VERSION:
        raise errors.UserError(f"{name} has version {version}; expected {_VERSION}: write it again with fomm shards.")
    return Manifest((height, width), splits)


def join(root: str | Path, name: str) -> str:
    """The path or URL of a file in a data set of shards."""
    return f"{str(root).rstrip('/')}/{name}" if storage.is_url(root) else str(Path(root) / name)


def read_tables(root: str | Path, split: str, frame_size: tuple[int, int]) -> list[tuple[str, ClipTable]]:
    """Checks all shards and reads the indices of one split.

    Returns:
      (tar file, its clips) of each shard.

    Raises:
      UserError: if the frames have another size, or a shard is missing, truncated or damaged.
    """
    manifest = read_manifest(root)
    if manifest.frame_size != tuple(frame_size):
        raise errors.UserError(
            f"data.root {root} has frames of {list(manifest.frame_size)}; model.frame_size is {list(frame_size)}: "
            "write shards for this recipe with fomm shards --for."
        )
    for record in itertools.chain.from_iterable(manifest.splits.values()):
        file = join(root, f"{record.name}.tar")
        if (size := storage.size_of(file)) != record.size:
            state = "truncated" if size < record.size else "not the one that shards.json lists"
            raise errors.UserError(f"{file} is {state}: {size} bytes; expected {record.size}; copy it again.")
    tables = []
    for record in manifest.splits.get(split, ()):
        index = join(root, f"{record.name}.npz")
        table, _ = read_index(index)
        if (len(table.names), len(table.sizes)) != (record.clips, record.frames):
            raise errors.UserError(f"{index} does not belong to {MANIFEST}; copy both again.")
        tables.append((join(root, f"{record.name}.tar"), table))
    return tables

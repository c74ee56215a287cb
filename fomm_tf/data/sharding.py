"""Writes the shards of a directory of clips; see `fomm_tf.data.shards`."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fomm_tf import config, errors, files
from fomm_tf.data import frames, layout, shards, threads

_NAME = re.compile(r"(train|test)-\d{5}\.(tar|npz)")


class _Shard(NamedTuple):
    """A shard to write: its path without suffix, its clips in order, and their identities."""

    path: Path
    clips: Sequence[Path]
    identities: Sequence[str]


def write(
    root: str | Path, out: str | Path, frame_size: tuple[int, int], count: int, data_config: config.DataConfig
) -> str:
    """Writes the clips of a data set as shards, with a progress bar on a terminal; resumes after an interruption.

    The bytes depend neither on the number of threads nor on interruptions. Memory is flat but for 12 bytes a frame.

    Args:
      root: directory of the data set.
      out: directory of the shards: new, or of an earlier call, whose shards are kept if their clips are unchanged.
      frame_size: `(H, W)` of the frames.
      count: number of shards per split; fewer if there are fewer clips.
      data_config: `test_share` and `split_seed`, for a directory that has neither `train` nor `test`.

    Returns:
      A one-line summary.

    Warns:
      UserWarning: as `frames.load`.

    Raises:
      UserError: if `out` has other files, there is no usable clip to train on, or the disk is full.
    """
    root, out = Path(root), Path(out)
    if count < 1:
        raise errors.UserError(f"`shards` must be at least 1; got {count}.")
    if not root.is_dir():
        raise errors.UserError(f"{root} is not a directory; {layout.LAYOUTS}.")
    files.check_output(out, root)
    _check_out(out)
    splits = frames.find_splits(root, data_config.test_share, data_config.split_seed)
    work, names = [], {}
    for split in layout.SPLITS:
        found = splits[split]
        frames.warn_of_split(root, splits, split)
        used = min(count, len(found.paths))
        names[split] = [f"{split}-{number:05d}" for number in range(used)]
        for number, name in enumerate(names[split]):
            bounds = slice(len(found.paths) * number // used, len(found.paths) * (number + 1) // used)
            paths = found.paths[bounds]
            work.append(_Shard(out / name, paths, [found.identity(path) for path in paths]))
    if not names["train"]:
        raise errors.UserError(f"{root} has no clip to train on; {layout.LAYOUTS}.")
    out.mkdir(parents=True, exist_ok=True)
    files.remove_temporary_files([out])

    def write_shard(number: int, stop: threading.Event) -> tuple[shards.ShardRecord, Sequence[str]]:
        return _write_shard(work[number], root, frame_size, stop)

    written = threads.run(write_shard, list(range(len(work))), f"writing {out}", "shard")
    by_name = {record.name: record for record, _ in written}
    for _, skipped in written:
        for reason in skipped:
            frames.warn_of_skipped(reason)
    manifest = shards.Manifest(
        tuple(frame_size), {split: tuple(by_name[name] for name in names[split]) for split in names}
    )
    if not any(record.clips for record in manifest.splits["train"]):
        raise errors.UserError(f"{root} has no usable clip to train on; {layout.LAYOUTS}.")
    manifest.write(out)
    for path in out.iterdir():
        if path.stem not in by_name and _NAME.fullmatch(path.name):
            path.unlink()  # of an earlier call with more shards
    return _summarize(out, manifest)


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise errors.UserError(f"`out` {out} is a file; give a directory.")
    others = [path.name for path in out.iterdir()] if out.exists() else []
    others = [name for name in others if not (name.startswith(".") or name == shards.MANIFEST or _NAME.fullmatch(name))]
    if others:
        raise errors.UserError(f"`out` {out} holds {min(others)}, which is no shard; give a new directory.")


def _write_shard(
    shard: _Shard, root: Path, frame_size: tuple[int, int], stop: threading.Event
) -> tuple[shards.ShardRecord, Sequence[str]]:
    """Writes a shard and its index, unless both are there; returns its record, and why clips were skipped."""
    tar, index = shard.path.with_suffix(".tar"), shard.path.with_suffix(".npz")
    stamp = files.digest(
        tuple(frame_size), *(files.fingerprint(path, path.relative_to(root)).hex() for path in shard.clips)
    ).hex()
    table = None
    if tar.is_file() and index.is_file():
        table, stored = shards.read_index(str(index))
        if stored != f"{stamp} {tar.stat().st_size}":
            table = None
    if table is None:
        index.unlink(missing_ok=True)
        with files.replace_atomically(tar) as temporary, temporary.open("wb") as file:
            table = _write_clips(shards.Writer(file), shard, root, frame_size, stop)
        shards.write_index(index, table, f"{stamp} {tar.stat().st_size}")
    return shards.ShardRecord(shard.path.name, tar.stat().st_size, len(table.names), len(table.sizes)), table.skipped


def _write_clips(
    writer: shards.Writer, shard: _Shard, root: Path, frame_size: tuple[int, int], stop: threading.Event
) -> shards.ClipTable:
    for path, identity in zip(shard.clips, shard.identities, strict=True):
        name = path.relative_to(root).as_posix()
        try:
            for encoded in frames.encode_frames(path, frame_size, stop):
                writer.add_frame(name, encoded)
        except errors.UnreadableError as error:
            if stop.is_set():
                raise
            writer.drop_clip(str(error))
            continue
        if writer.num_frames < 2:
            writer.drop_clip(frames.describe_short(path))
        else:
            writer.end_clip(name, identity)
    return writer.close()


def _summarize(out: Path, manifest: shards.Manifest) -> str:
    parts = []
    for split, records in manifest.splits.items():
        clips, size = sum(record.clips for record in records), sum(record.size for record in records)
        parts.append(f"{clips} clips in {len(records)} shards to {split} ({size / 1e6:.3g} MB)")
    return f"{out}: {' and '.join(parts)}; data.root={out} reads them, also from object storage"

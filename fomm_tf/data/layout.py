"""Directory layout of a data set, and CSV files that list pairs to animate.

Convention:
  * `ROOT/train` and `ROOT/test` hold the clips of each split, by any spelling in capitals;
  * a clip is anything that `fomm_tf.video.open_video` reads, at any depth; hidden files are ignored;
  * its identity is the topmost directory below the split, or the part of a name before `#`;
  * a list of pairs has the columns `source` and `driving`, and optionally `truth`.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fomm_tf import errors, files, video
from fomm_tf.video import reading

SPLITS = ("train", "test")
# For messages.
LAYOUTS = (
    "accepted layouts: ROOT/train/CLIP and ROOT/test/CLIP, ROOT/train/IDENTITY/CLIP and ROOT/test/IDENTITY/CLIP, or "
    f"without splits ROOT/CLIP and ROOT/IDENTITY/CLIP. A CLIP is a video ({', '.join(reading.COMMON_SUFFIXES)} and "
    "others that FFmpeg reads), an animated image, a directory of frames, or an image of square frames side by side"
)
# A directory that holds one of these is a run directory, or a report of `fomm evaluate`.
_OUTPUTS = {"config.yaml", "report.json"}
# Bytes at each end of a file that are compared to find copies.
_COMPARED = 1 << 16


class Clips(NamedTuple):
    """The clips in a directory.

    Attributes:
      folder: the directory.
      paths: of the clips, sorted; they are not opened, so some may be unreadable.
      passed_over: other visible files, and directories that are not read.
    """

    folder: Path
    paths: Sequence[Path]
    passed_over: Sequence[Path] = ()

    def identity(self, path: Path) -> str:
        """The person or object in a clip."""
        return path.relative_to(self.folder).parts[0].split("#")[0]

    def name(self, path: Path) -> str:
        """The name of a clip, `identity#rest` or the identity alone; not unique if only suffixes differ."""
        return join_name(path.relative_to(self.folder), path.is_dir())

    def warn(self, trained_on: Sequence[Path] = ()) -> None:
        """Warns about files that are passed over, and about copies, with one line each.

        Args:
          trained_on: the clips of the training split, if these are those of the test split.
        """
        if self.passed_over:
            names = reading.list_names(self.passed_over)
            self._note(f"passed over {names}, neither videos nor frames of one.")
        training = set(trained_on)
        copies = [pair for pair in find_copies([*trained_on, *self.paths]) if pair[0] not in training]
        for is_leaked, effect in (
            (True, "the training split has it too, so its results say nothing about unseen clips"),
            (False, "it counts more than once"),
        ):
            if pairs := [pair for pair in copies if (pair[1] in training) == is_leaked]:
                copy, original = pairs[0]
                more = f" (and {len(pairs) - 1} more)" if len(pairs) > 1 else ""
                self._note(f"{copy.relative_to(self.folder)} is a copy of {original}{more}: {effect}.")

    def _note(self, text: str) -> None:
        warnings.warn(f"{self.folder}: {text}", video.VideoNote, stacklevel=4)


def join_name(path: Path, is_directory: bool) -> str:
    """The name of a clip by its path below the directory of its split."""
    return "#".join((path if is_directory else path.with_suffix("")).parts)


def split_folders(root: Path) -> dict[str, Path]:
    """The directories of the splits in a data set, by split; empty if its clips are not split.

    Raises:
      UserError: if `root` cannot be read.
    """
    try:
        return {path.name.lower(): path for path in sorted(root.iterdir()) if is_split(path) and path.is_dir()}
    except OSError as error:
        raise _unreadable(root, error) from None


def find_clips(folder: Path, exclude: Path | None = None, stacked: bool = True) -> Clips:
    """Finds the clips below a directory, at any depth.

    A directory of images is a clip; a cover image or a still beside videos is not. Run directories, reports and links
    to a directory above are passed over. An empty directory counts as a clip, so that it is reported when it is opened.

    Args:
      folder: the directory; it is no clip itself.
      exclude: directory to ignore.
      stacked: images in `folder` may be stacked frames; those in `train` and `test` always may.

    Raises:
      UserError: if `folder` cannot be read.
    """
    found = Clips(folder, [], [])
    try:
        _walk(folder, stacked, (folder.resolve(),), exclude and exclude.resolve(), found)
    except OSError as error:
        raise _unreadable(folder, error) from None
    return found


def _unreadable(folder: Path, error: OSError) -> errors.UserError:
    return errors.UserError(f"{folder} cannot be read ({error.strerror}); check its permissions.")


def _walk(folder: Path, stacked: bool, parents: tuple[Path, ...], exclude: Path | None, found: Clips) -> None:
    entries = sorted(folder / name for name in _visible(folder))
    videos = {entry.stem for entry in entries if reading.is_video_name(entry)}
    for entry in entries:
        target = found.passed_over
        if entry.is_dir():
            real = entry.resolve()
            if real == exclude:
                continue
            if is_clip(entry) or not (is_split(entry) or any(_visible(entry))):
                target = found.paths
            elif real not in parents and not _OUTPUTS & set(_visible(entry)):
                _walk(entry, is_split(entry), (*parents, real), exclude, found)
                continue
        elif reading.is_video_name(entry) or (
            reading.is_image_name(entry)
            and entry.stem not in videos  # a phone's still beside its video is no clip
            and (video.is_animated(entry) or (stacked and not _is_still(entry)))
        ):
            target = found.paths
        target.append(entry)


def is_clip(folder: Path) -> bool:
    """Whether a directory is a clip: it holds frames, and no videos or animations; never `train` and `test`.

    One image beside directories is a cover. A directory that cannot be read counts as a clip, so that the reason is
    reported when it is opened.
    """
    try:
        names = sorted(_visible(folder))
    except OSError:
        return True
    suffixes = [os.path.splitext(name)[1].lower() for name in names]
    # The first image of each format: a cover may come before animations.
    images = {
        suffix: folder / name
        for name, suffix in zip(names[::-1], suffixes[::-1], strict=True)
        if suffix in reading.IMAGE_SUFFIXES
    }
    if is_split(folder) or not images or not set(reading.VIDEO_SUFFIXES).isdisjoint(suffixes):
        return False
    num_images = sum(suffix in images for suffix in suffixes)
    if num_images == 1 and any((folder / name).is_dir() for name in names):
        return False
    return not any(map(video.is_animated, images.values()))


def is_split(folder: Path) -> bool:
    """Whether a directory is named as a split, `train` or `test`, in any capitals."""
    return folder.name.lower() in SPLITS


def _visible(folder: Path) -> Iterator[str]:
    return (name for name in os.listdir(folder) if not name.startswith("."))


def _is_still(path: Path) -> bool:
    """Whether a file is a readable image of one frame."""
    try:
        video.open_video(path)
    except errors.UnreadableError:
        with contextlib.suppress(errors.UnreadableError):
            return bool(video.read_image(path).size)
    return False


def find_copies(paths: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Pairs (copy, original) of files with the same size, start and end, and of directories that are the same."""
    groups: dict[tuple, list[Path]] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            status = path.stat()
            is_folder = path.is_dir()
            if status.st_size:
                groups.setdefault((status.st_dev, status.st_ino) if is_folder else (status.st_size,), []).append(path)
    originals: dict[tuple, Path] = {}
    copies = []
    for key, group in groups.items():
        for path in group if len(group) > 1 else ():
            original = originals.setdefault((key, b"" if path.is_dir() else _ends(path)), path)
            if original != path:
                copies.append((path, original))
    return copies


def _ends(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            start = file.read(_COMPARED)
            file.seek(-min(_COMPARED, file.seek(0, os.SEEK_END)), os.SEEK_END)
            return hashlib.sha256(start + file.read()).digest()
    except OSError:
        return os.fsencode(path)


def inputs_of(paths: Iterable[Path]) -> files.Inputs:
    """The clips among `paths`, which no output may replace: files, and directories that hold images."""

    def is_input(path: Path) -> bool:
        with contextlib.suppress(OSError):
            return not path.is_dir() or any(map(reading.is_image_name, path.iterdir()))
        return False

    return files.Inputs(filter(is_input, paths))


class Pair(NamedTuple):
    """A pair to animate.

    Attributes:
      source: path of the image.
      driving: path of the video.
      truth: path of the ground-truth animation; empty if unknown.
    """

    source: str
    driving: str
    truth: str = ""

    @property
    def name(self) -> str:
        """File stem of the result, unique in the list; shortened if it is too long for a file name."""
        return files.safe_name(f"{Path(self.source).stem}--{Path(self.driving).stem}")


def read_pairs(path: str | Path) -> list[Pair]:
    """Reads a list of pairs.

    Args:
      path: CSV with a header row that has `source`, `driving` and optionally `truth`; other columns are ignored.

    Raises:
      errors.UserError: if it cannot be read, lacks a column, or two pairs have the same result file.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns, rows = reader.fieldnames or (), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise errors.UserError(f"cannot read the pairs {path}: {error}.") from error
    missing = {"source", "driving"} - set(columns)
    if missing or not rows:
        raise errors.UserError(
            f"{path} must have the columns source and driving and at least one row; got "
            f"{', '.join(columns) or 'nothing'}."
        )
    pairs = [Pair(*(row.get(name) or "" for name in Pair._fields)) for row in rows]
    names = [pair.name for pair in pairs]
    if duplicate := next((name for name in names if names.count(name) > 1), None):
        raise errors.UserError(f"{path} has two pairs with the result {duplicate}.mp4; rename their files.")
    return pairs

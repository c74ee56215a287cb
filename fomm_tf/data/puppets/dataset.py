"""Writes a data set of puppets, which is a data root for training, or pairs with true animations.

Seeds are even in train and odd in test, so that the splits have nothing in common, whatever the seed of the set is.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tqdm

from fomm_tf import errors, files, video
from fomm_tf.data import layout, puppets

_MAX_PAIRS = 1_000_000  # of one seed
_FPS, _SHEET_ROWS, _SHEET_COLUMNS = 25, 6, 8


class Clip(NamedTuple):
    """Split, name and seeds of a clip."""

    split: str
    name: str
    identity_seed: int
    motion_seed: int

    def sample(self, frames: int, portraits: bool = False) -> tuple[puppets.Identity, list[puppets.Pose]]:
        """The identity and the poses of the clip."""
        poses = puppets.sample_motion(self.motion_seed, frames, portrait=portraits)
        return puppets.sample_identity(self.identity_seed, portraits), poses


def write(
    out: pathlib.Path,
    identities: int,
    clips: int,
    frames: int,
    size: tuple[int, int],
    seed: int,
    test_identities: int | None = None,
    portraits: bool = False,
) -> str:
    """Writes a data set.

    Args:
      out: directory to write; it must be new or empty.
      identities: number of characters in train.
      clips: number of clips per character.
      frames: number of frames per clip, at least 2.
      size: `(H, W)`.
      seed: of the data set.
      test_identities: number of characters in test; by default a tenth of `identities`, at least one.
      portraits: head and shoulders only, in front of a plain wall: easier to learn.

    Returns:
      A one-line summary.

    Raises:
      UserError: if `out` is not empty, an argument is invalid or the disk is full.
    """
    test_identities = max(1, round(identities / 10)) if test_identities is None else test_identities
    counts = {"identities": identities, "test_identities": test_identities, "clips": clips}
    _check(out, frames, size, seed, **counts)
    planned = list(plan(seed, dict(zip(layout.SPLITS, (identities, test_identities), strict=True)), clips))
    options = counts | {"frames": frames, "size": list(size), "seed": seed, "portraits": portraits}
    with files.replace_atomically(out) as folder:
        for clip in tqdm.tqdm(planned, unit="clip", disable=None):
            identity, poses = clip.sample(frames, portraits)
            _write_frames(folder / clip.split / clip.name, identity, poses, size)
        (folder / "puppets.json").write_text(json.dumps(options, indent=1) + "\n", encoding="utf-8")
        shown = (clip.sample(frames, portraits) for clip in planned[::clips][:_SHEET_ROWS])
        video.write_image(folder / "sheet.png", draw_sheet(shown))
    return (
        f"{out}: {identities * clips} clips of {identities} identities in train, {test_identities * clips} of "
        f"{test_identities} others in test, {frames} frames of {size[0]}x{size[1]} each"
    )


def write_transfers(
    out: pathlib.Path, pairs: int, frames: int, size: tuple[int, int], seed: int = 0, portraits: bool = False
) -> str:
    """Writes pairs of characters and their true animations, to evaluate a model.

    The source image is in the pose of the first driving frame, as relative transfer assumes. Motion is transferred as
    angles and positions in the frame: a limb of another length has the same angle and another end point.

    Args:
      out: directory to write; it must be new or empty.
      pairs: number of pairs.
      frames: number of frames per clip, at least 2.
      size: `(H, W)`.
      seed: of the pairs.
      portraits: head and shoulders only, in front of a plain wall.

    Returns:
      A one-line summary.

    Raises:
      UserError: if `out` is not empty, an argument is invalid or the disk is full.
    """
    _check(out, frames, size, seed, pairs=pairs)
    if pairs > _MAX_PAIRS:
        raise errors.UserError(f"`pairs` must be at most {_MAX_PAIRS}; got {pairs}.")
    rows = [[f"sources/{index:05d}.png", f"driving/{index:05d}", f"test/{index:05d}"] for index in range(pairs)]
    with files.replace_atomically(out) as folder:
        for index, row in enumerate(tqdm.tqdm(rows, unit="pair", disable=None)):
            identity, driving_identity, poses = sample_transfer(_MAX_PAIRS * seed + index, frames, portraits)
            source, driving, truth = (folder / path for path in row)
            video.write_image(source, puppets.draw(identity, poses[0], size))
            _write_frames(driving, driving_identity, poses, size)
            _write_frames(truth, identity, poses, size)
        files.write_csv(folder / "pairs.csv", ["source", "driving", "truth"], rows)
    return f"{out}: {pairs} pairs with their true animations, {frames} frames of {size[0]}x{size[1]} each"


def plan(seed: int, counts: dict[str, int], clips: int) -> Iterator[Clip]:
    """Chooses names and seeds of all clips.

    Args:
      seed: of the data set.
      counts: number of identities per split.
      clips: number of clips per identity.
    """
    first = 0
    for parity, (split, count) in enumerate(counts.items()):
        for index in range(count):
            seeds = np.random.SeedSequence([seed, parity, index]).generate_state(1 + clips, np.uint64).tolist()
            identity, *motions = (value - value % 2 + parity for value in seeds)
            for number, motion in enumerate(motions):
                yield Clip(split, f"{first + index:05d}#{number:03d}", identity, motion)
        first += count


def sample_transfer(
    number: int, frames: int, portraits: bool
) -> tuple[puppets.Identity, puppets.Identity, list[puppets.Pose]]:
    """The character to animate, the driving character and its poses, of pair `number`, 0 or more; all seeds are odd."""
    source, driving, motion = (2 * int(seed) + 1 for seed in np.random.SeedSequence(number).generate_state(3))
    source, driving = (puppets.sample_identity(seed, portraits) for seed in (source, driving))
    return source, driving, puppets.sample_motion(motion, frames, portrait=portraits)


def draw_sheet(clips: Iterable[tuple[puppets.Identity, Sequence[puppets.Pose]]], side: int = 68) -> np.ndarray:
    """Draws a contact sheet with one row per clip: eight frames of `side` pixels, evenly spaced.

    Returns:
      `[rows * side, 8 * side, 3]` uint8 RGB.
    """
    rows = []
    for identity, poses in clips:
        numbers = np.linspace(0, len(poses) - 1, _SHEET_COLUMNS).round().astype(int)
        rows.append(np.concatenate([puppets.draw(identity, poses[number], side) for number in numbers], axis=1))
    return np.concatenate(rows)


def _write_frames(
    path: pathlib.Path, identity: puppets.Identity, poses: Sequence[puppets.Pose], size: tuple[int, int]
) -> None:
    with video.write_video(path, _FPS) as writer:
        for pose in poses:
            writer.write(puppets.draw(identity, pose, size))


def _check(out: pathlib.Path, frames: int, size: tuple[int, int], seed: int, **counts: int) -> None:
    puppets.check_size(size)
    for name, value in (counts | {"frames": frames, "seed": seed}).items():
        minimum = {"frames": 2, "seed": 0}.get(name, 1)
        if value < minimum:
            raise errors.UserError(f"`{name}` must be at least {minimum}; got {value}.")
    if out.exists() and not out.is_dir():
        raise errors.UserError(f"{out} is a file; give a directory.")
    if out.is_dir() and any(out.iterdir()):
        raise errors.UserError(f"{out} is not empty; give a new directory, or delete it first.")

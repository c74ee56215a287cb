"""Writes a data set of puppets with their labels, which is a data root for training, or pairs with true animations.

Seeds are even in train and odd in test, so that the splits have nothing in common, whatever the seed of the set is.
"""

from __future__ import annotations

import itertools
import json
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tqdm

from fomm_tf import errors, files, video
from fomm_tf.data import layout
from fomm_tf.data.puppets import drawing, figure
from fomm_tf.data.puppets.identity import Identity, sample_identity
from fomm_tf.data.puppets.motion import Pose, sample_motion

PAIRS = "pairs.csv"
_FPS = 25
_MAX_PAIRS = 1_000_000  # of one seed
# Rows and columns of the contact sheet, and identities that are compared with each other.
_SHEET_ROWS, _SHEET_COLUMNS, _COMPARED = 6, 8, 1000
# The statistics hardly depend on the frame size, so that small frames are measured.
_MEASURED_SIDE, _COMPARED_SIDE = 64, 32


class Clip(NamedTuple):
    """Split, name and seeds of a clip."""

    split: str
    name: str
    identity_seed: int
    motion_seed: int

    def sample(self, frames: int, amount: float = 1.0, portraits: bool = False) -> tuple[Identity, list[Pose]]:
        """The identity and the poses of the clip."""
        poses = sample_motion(self.motion_seed, frames, amount, portraits)
        return sample_identity(self.identity_seed, portraits), poses


class Difficulty(NamedTuple):
    """Mean statistics of pairs of different frames of a clip.

    Attributes:
      motion: distance that a joint visible in both frames moves, as a fraction of the frame's shorter side.
      disoccluded: fraction of a frame's pixels whose surface is not visible in the other frame.
    """

    motion: float
    disoccluded: float


def write(
    out: pathlib.Path,
    identities: int,
    clips: int,
    frames: int,
    size: tuple[int, int],
    seed: int,
    test_identities: int | None = None,
    amount: float = 1.0,
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
      amount: of motion, see `sample_motion`.
      portraits: head and shoulders only, before a plain wall: easier to learn.

    Returns:
      A one-line summary.

    Raises:
      UserError: if `out` is not empty, an argument is invalid or the disk is full.
    """
    size = drawing.check_size(size)
    test_identities = max(1, round(identities / 10)) if test_identities is None else test_identities
    _check_at_least(1, identities=identities, test_identities=test_identities, clips=clips)
    _check_at_least(2, frames=frames)
    _check_at_least(0, seed=seed)
    if not 0 < amount <= 1:
        raise errors.UserError(f"`amount` must be above 0 and at most 1; got {amount:g}.")
    _check_empty(out)

    counts = dict(zip(layout.SPLITS, (identities, test_identities), strict=True))
    planned = list(plan(seed, counts, clips))
    measured: dict[str, list[Difficulty]] = {split: [] for split in layout.SPLITS}
    with files.replace_atomically(out) as folder:
        for clip in tqdm.tqdm(planned, unit="clip", disable=None):
            identity, poses = clip.sample(frames, amount, portraits)
            _write_frames(folder / clip.split / clip.name, (drawing.draw(identity, pose, size) for pose in poses))
            _write_labels(folder, clip, identity, poses, size)
            measured[clip.split].append(measure_clip(identity, poses, size, clip.motion_seed))
        means = {split: Difficulty(*np.mean(values, axis=0)) for split, values in measured.items()}
        seeds = dict.fromkeys(clip.identity_seed for clip in planned)
        record = {
            "identities": identities,
            "test_identities": test_identities,
            "clips": clips,
            "frames": frames,
            "size": list(size),
            "seed": seed,
            "amount": amount,
            "portraits": portraits,
            "mean_motion": {split: round(mean.motion, 4) for split, mean in means.items()},
            "disoccluded": {split: round(mean.disoccluded, 4) for split, mean in means.items()},
            "nearest_identities": round(measure_nearest(map(sample_identity, itertools.islice(seeds, _COMPARED))), 2),
        }
        (folder / "puppets.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        shown = (clip.sample(frames, amount, portraits) for clip in planned[::clips][:_SHEET_ROWS])
        video.write_image(folder / "sheet.png", draw_sheet(shown))
    motion_percent, hidden_percent = (100 * fraction for fraction in means["train"])
    return (
        f"{out}: {identities * clips} clips of {identities} identities in train, {test_identities * clips} of "
        f"{test_identities} others in test, {frames} frames of {size[0]}x{size[1]} each; between two frames of a clip "
        f"a joint moves by {motion_percent:.1f} % of the side and {hidden_percent:.1f} % of the pixels are disoccluded"
    )


def write_transfers(
    out: pathlib.Path, pairs: int, frames: int, size: tuple[int, int], seed: int = 0, portraits: bool = False
) -> str:
    """Writes pairs of characters and their true animations, to evaluate a model.

    Args:
      out: directory to write; it must be new or empty.
      pairs: number of pairs.
      frames: number of frames per clip, at least 2.
      size: `(H, W)`.
      seed: of the pairs.
      portraits: head and shoulders only, before a plain wall.

    Returns:
      A one-line summary.

    Raises:
      UserError: if `out` is not empty, an argument is invalid or the disk is full.
    """
    _check_empty(out)
    size = drawing.check_size(size)
    _check_at_least(1, pairs=pairs)
    _check_at_least(2, frames=frames)
    _check_at_least(0, seed=seed)
    if pairs > _MAX_PAIRS:
        raise errors.UserError(f"`pairs` must be at most {_MAX_PAIRS}; got {pairs}.")
    names = ["source", "driving", "truth"]
    rows = [[f"sources/{index:05d}.png", f"driving/{index:05d}", f"test/{index:05d}"] for index in range(pairs)]
    with files.replace_atomically(out) as folder:
        for index, row in enumerate(tqdm.tqdm(rows, unit="pair", disable=None)):
            drawn = drawing.draw_transfer(*sample_transfer(_MAX_PAIRS * seed + index, frames, portraits), size)
            source, driving, truth = (folder / path for path in row)
            video.write_image(source, drawn.source)
            _write_frames(driving, drawn.driving)
            _write_frames(truth, drawn.expected)
        files.write_csv(folder / PAIRS, names, rows)
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


def sample_transfer(number: int, frames: int, portraits: bool) -> tuple[Identity, Identity, list[Pose]]:
    """The character to animate, the driving character and its poses, of pair `number`, 0 or more; all seeds are odd."""
    source, driving, motion = (2 * int(seed) + 1 for seed in np.random.SeedSequence(number).generate_state(3))
    source, driving = (sample_identity(seed, portraits) for seed in (source, driving))
    return source, driving, sample_motion(motion, frames, portrait=portraits)


def draw_sheet(clips: Iterable[tuple[Identity, Sequence[Pose]]], side: int = 68) -> np.ndarray:
    """Draws a contact sheet with one row per clip: eight frames of `side` pixels, evenly spaced.

    Returns:
      `[rows * side, 8 * side, 3]` uint8 RGB.
    """
    rows = []
    for identity, poses in clips:
        numbers = np.linspace(0, len(poses) - 1, _SHEET_COLUMNS).round().astype(int)
        rows.append(np.concatenate([drawing.draw(identity, poses[number], side) for number in numbers], axis=1))
    return np.concatenate(rows)


def measure_clip(
    identity: Identity, poses: Sequence[Pose], size: tuple[int, int], seed: int, pairs: int = 2
) -> Difficulty:
    """Measures the difficulty of a few random pairs of frames.

    Args:
      identity: the character.
      poses: of the clip, at least two.
      size: `(H, W)`; frames are measured at this aspect ratio, with at most 64 pixels on the shorter side.
      seed: of the random pairs.
      pairs: number of pairs.
    """
    generator = np.random.default_rng(seed)
    size = tuple(round(side * min(1, _MEASURED_SIDE / min(size))) for side in size)
    measured = []
    for _ in range(pairs):
        first, second = (poses[number] for number in generator.choice(len(poses), 2, replace=False))
        before, after = (drawing.label(identity, pose, size) for pose in (first, second))
        moves = (after.value - before.value) * (np.array(size[::-1]) - 1) / 2 / min(size)
        both = before.visible & after.visible
        distance = np.linalg.norm(moves[both if both.any() else ...], axis=-1).mean()
        measured.append((distance, 1 - drawing.flow(identity, first, second, size).visible.mean()))
    return Difficulty(*np.mean(measured, axis=0).tolist())


def measure_nearest(identities: Iterable[Identity]) -> float:
    """The difference of the two most similar identities.

    Args:
      identities: at least two; each is drawn at 32 pixels in the rest pose before the same background.

    Returns:
      The mean difference of their images in gray levels, over the whole frame, of which a figure covers a quarter.
    """
    reference = sample_identity(0)
    background = {"background_kind": reference.background_kind, "background": reference.background}
    images = np.array(
        [drawing.draw(identity._replace(**background), Pose(), _COMPARED_SIDE).ravel() for identity in identities],
        np.int16,
    )
    rows = enumerate(images[:-1], start=1)
    return float(min(np.abs(images[number:] - image).mean(axis=1).min() for number, image in rows))


def _write_frames(path: pathlib.Path, frames: Iterable[np.ndarray]) -> None:
    with video.write_video(path, _FPS) as writer:
        for frame in frames:
            writer.write(frame)


def _write_labels(
    folder: pathlib.Path, clip: Clip, identity: Identity, poses: list[Pose], size: tuple[int, int]
) -> None:
    labels = [drawing.label(identity, pose, size) for pose in poses]
    target = folder / "labels" / clip.split
    target.mkdir(parents=True, exist_ok=True)
    np.savez(
        target / f"{clip.name}.npz",
        joints=np.stack([label.value for label in labels]),
        visible=np.stack([label.visible for label in labels]),
        joint_names=np.array(figure.JOINTS),
        poses=np.array(poses),
        pose_names=np.array(Pose._fields),
        identity_seed=np.uint64(clip.identity_seed),
        motion_seed=np.uint64(clip.motion_seed),
    )


def _check_at_least(minimum: int, **values: int) -> None:
    for name, value in values.items():
        if value < minimum:
            raise errors.UserError(f"`{name}` must be at least {minimum}; got {value}.")


def _check_empty(out: pathlib.Path) -> None:
    if out.exists() and not out.is_dir():
        raise errors.UserError(f"{out} is a file; give a directory.")
    if out.is_dir() and any(out.iterdir()):
        raise errors.UserError(f"{out} is not empty; give a new directory, or delete it first.")

"""Writes a data set of puppets with their labels, which is a data root for training."""

from __future__ import annotations

import itertools
import json
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tqdm

from fomm_tf import errors, files, video
from fomm_tf.data import layout
from fomm_tf.data.puppets import drawing, figure, motion, truth
from fomm_tf.data.puppets.identity import Identity, sample_identity

_FPS = 25
# Rows of the contact sheet, and identities that are compared with each other.
_ROWS, _COMPARED = 6, 1000


class Clip(NamedTuple):
    """Split, name and seeds of a clip."""

    split: str
    name: str
    identity_seed: int
    motion_seed: int


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
    for name, value, minimum in (
        ("identities", identities, 1),
        ("test_identities", test_identities, 1),
        ("clips", clips, 1),
        ("frames", frames, 2),
        ("seed", seed, 0),
    ):
        if value < minimum:
            raise errors.UserError(f"`{name}` must be at least {minimum}; got {value}.")
    if not 0 < amount <= 1:
        raise errors.UserError(f"`amount` must be above 0 and at most 1; got {amount:g}.")
    check_empty(out)

    counts = dict(zip(layout.SPLITS, (identities, test_identities), strict=True))
    plans = list(plan(seed, counts, clips))
    seeds = dict.fromkeys(clip.identity_seed for clip in plans)
    measured: dict[str, list[truth.Difficulty]] = {split: [] for split in layout.SPLITS}
    with (
        files.replace_atomically(out) as folder,
        tqdm.tqdm(total=len(plans) * frames, unit="frame", disable=None) as bar,
    ):
        for clip in plans:
            measured[clip.split].append(_write_clip(folder, clip, frames, size, amount, portraits, bar))
        means = {split: truth.Difficulty(*np.mean(values, axis=0)) for split, values in measured.items()}
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
            "nearest_identities": round(
                truth.measure_nearest(map(sample_identity, itertools.islice(seeds, _COMPARED))), 2
            ),
        }
        (folder / "puppets.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        shown = (_sample(clip, frames, amount, portraits) for clip in plans[::clips][:_ROWS])
        video.write_image(folder / "sheet.png", drawing.draw_sheet(shown))
    motion_percent, hidden_percent = (100 * fraction for fraction in means["train"])
    return (
        f"{out}: {identities * clips} clips of {identities} identities in train, {test_identities * clips} of "
        f"{test_identities} others in test, {frames} frames of {size[0]}x{size[1]} each; between two frames of a clip "
        f"a joint moves by {motion_percent:.1f} % of the side and {hidden_percent:.1f} % of the pixels are disoccluded"
    )


def plan(seed: int, counts: dict[str, int], clips: int) -> Iterator[Clip]:
    """Chooses names and seeds of all clips.

    Seeds are even in train and odd in test, so that the splits have nothing in common, whatever `seed` is.

    Args:
      seed: of the data set.
      counts: number of identities per split.
      clips: number of clips per identity.
    """
    first = 0
    for parity, (split, count) in enumerate(counts.items()):
        for index in range(count):
            who, *moves = np.random.SeedSequence([seed, parity, index]).generate_state(1 + clips, np.uint64).tolist()
            for number, moved in enumerate(moves):
                yield Clip(
                    split, f"{first + index:05d}#{number:03d}", who - who % 2 + parity, moved - moved % 2 + parity
                )
        first += count


def check_empty(out: pathlib.Path) -> None:
    """Checks that a directory is new or empty.

    Raises:
      UserError: if it is not.
    """
    if out.exists() and not out.is_dir():
        raise errors.UserError(f"{out} is a file; give a directory.")
    if out.is_dir() and any(out.iterdir()):
        raise errors.UserError(f"{out} is not empty; give a new directory, or delete it first.")


def _sample(clip: Clip, frames: int, amount: float, portraits: bool) -> tuple[Identity, list[motion.Pose]]:
    poses = motion.sample_motion(clip.motion_seed, frames, amount, portraits)
    return sample_identity(clip.identity_seed, portraits), poses


def _write_clip(
    folder: pathlib.Path,
    clip: Clip,
    frames: int,
    size: tuple[int, int],
    amount: float,
    portraits: bool,
    bar: tqdm.tqdm,
) -> truth.Difficulty:
    identity, poses = _sample(clip, frames, amount, portraits)
    with video.write_video(folder / clip.split / clip.name, _FPS) as writer:
        for pose in poses:
            writer.write(drawing.draw(identity, pose, size))
            bar.update()
    labels = [truth.label(identity, pose, size) for pose in poses]
    target = folder / "labels" / clip.split
    target.mkdir(parents=True, exist_ok=True)
    np.savez(
        target / f"{clip.name}.npz",
        joints=np.stack([one.value for one in labels]),
        visible=np.stack([one.visible for one in labels]),
        joint_names=np.array(figure.JOINTS),
        poses=np.array(poses),
        pose_names=np.array(motion.Pose._fields),
        identity_seed=np.uint64(clip.identity_seed),
        motion_seed=np.uint64(clip.motion_seed),
    )
    return truth.measure_clip(identity, poses, size, clip.motion_seed)

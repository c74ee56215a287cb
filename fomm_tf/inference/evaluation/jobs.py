"""What is evaluated: the clips of a test set, each rebuilt from itself, or pairs of source and driving video."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from fomm_tf import config, errors
from fomm_tf.data import frames, layout, pairlist

RECONSTRUCTION, ANIMATION = "reconstruction", "animation"


class Job(NamedTuple):
    """One video to make and to judge.

    Attributes:
      task: `reconstruction` or `animation`.
      name: no other job of the task has it.
      source: a picture, or a video whose first frame is meant.
      driving: a video.
      truth: a video, the true result; None if it is not known.
      group: `known` for somebody whom the training part shows too, `others`; empty if that is not known.
    """

    task: str
    name: str
    source: Path
    driving: Path
    truth: Path | None
    group: str = ""


class Jobs(NamedTuple):
    """All that is to be done.

    Attributes:
      jobs: in the order of their names.
      note: which videos these are.
    """

    jobs: tuple[Job, ...]
    note: str


def reconstructions(root: Path, trained_on: config.DataConfig) -> Jobs:
    """The clips of a test set.

    Args:
      root: a folder with a part `test`, whose clips they are (see `fomm_tf.data.frames`); or any folder of clips: all
        of them, but those that the run keeps for testing if it was trained on that folder.
      trained_on: where the run's training set was, and how it was divided.

    Raises:
      errors.UserError: if there is no such folder or no clip in it.
    """
    if not root.is_dir():
        raise errors.UserError(f"--data {root} is no folder; give one of videos, or one with a part test.")
    parted = any((root / split).is_dir() for split in layout.SPLITS)
    same = Path(trained_on.root).resolve() == root.resolve()
    if parted or same:
        division = {"test_share": trained_on.test_share, "seed": trained_on.split_seed} if same else {}
        place, paths = frames.find(root, "test", **division)
        known = {layout.identity_of(path) for path in frames.find(root, "train", **division)[1]}
        note = f"the clips of {place}" if parted else f"the clips of {root} that the run was not trained on"
    else:
        place, paths, known = root, frames.clips_in(root), set()
        note = f"all clips of {root}"
    if not paths:
        raise errors.UserError(
            f"{place} holds no clips: give a folder of videos ({', '.join(layout.SUFFIXES)}) or folders of frames."
        )
    names = _names(paths)
    groups = [("known" if layout.identity_of(path) in known else "others") if known else "" for path in paths]
    return Jobs(
        tuple(
            Job(RECONSTRUCTION, name, path, path, path, group)
            for name, path, group in zip(names, paths, groups, strict=True)
        ),
        note,
    )


def animations(root: Path, pairs: Path) -> Jobs:
    """The pairs of a list, whose paths begin in `root`; see `fomm_tf.data.pairlist`.

    Raises:
      errors.UserError: if the list cannot be read, or there is no such folder.
    """
    if not root.is_dir():
        raise errors.UserError(f"--data {root} is no folder; give the one that the pairs' paths start from.")
    found = tuple(
        Job(ANIMATION, pair.name, root / pair.source, root / pair.driving, root / pair.truth if pair.truth else None)
        for pair in pairlist.read(pairs)
    )
    return Jobs(found, f"the pairs of {pairs}")


def _names(paths: list[Path]) -> list[str]:
    """File names, without their suffixes where all remain different."""
    stems = [path.name if path.is_dir() else path.stem for path in paths]
    return stems if len(set(stems)) == len(stems) else [path.name for path in paths]

"""What the runs are trained and judged on: a folder of the user's, or drawn characters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fomm_tf import config, errors, files
from fomm_tf.data import pairlist
from fomm_tf.data.puppets import dataset as puppets
from fomm_tf.data.puppets import transfers

# Where pairs may lie below the data: a folder of transfers is one of its own.
_PAIRS = (transfers.PAIRS, f"transfers/{transfers.PAIRS}")
_DRAWN_PAIRS = 40


class Material(NamedTuple):
    """Data that is there.

    Attributes:
      root: the folder, with a test part or to be divided.
      pairs: a list of pairs with their true animations, whose paths begin in its folder; or None.
      drawn: whether puppets are shown, in whom no detector need look for faces.
    """

    root: Path
    pairs: Path | None
    drawn: bool

    def names(self) -> tuple[str, str | None]:
        """Root and pairs as they are told."""
        return str(self.root), None if self.pairs is None else str(self.pairs)

    def stamps(self) -> list[str]:
        """Change with the clips to judge by, by the names, sizes and times of their files."""
        test = self.root / "test"
        judged = test if test.is_dir() else self.root
        places = sorted(path for path in judged.iterdir() if not path.name.startswith("."))
        if self.pairs is not None:
            named = (name for pair in pairlist.read(self.pairs) for name in pair)
            places += [self.pairs, *(self.pairs.parent / name for name in named)]
        return [files.fingerprint(place).hex() for place in places]


def point_at(base: config.Config, data: Path | None) -> config.Config:
    """The recipe on the data that the user names; without any it stays as it is.

    Raises:
      errors.UserError: if there is no such folder.
    """
    if data is None:
        return base
    if not data.is_dir():
        raise errors.UserError(f"--data {data} is no folder; give one of videos, with the parts train and test.")
    return dataclasses.replace(base, data=dataclasses.replace(base.data, root=str(data), puppets=None))


def prepare(base: config.Config, say: Callable[[str], object]) -> Material:
    """Finds the recipe's data, or draws it if it is not there and the recipe says what to draw; then pairs too.

    Args:
      base: the recipe.
      say: takes lines for the user.

    Raises:
      errors.UserError: if there is no data, or no test part in it.
    """
    root, wanted, size = Path(base.data.root), base.data.puppets, base.model.frame_size
    if not root.is_dir():
        if wanted is None:
            raise errors.UserError(f"The recipe's data.root {root} does not exist; give --data DIR.")
        say(f"{root} does not exist: drawing it")
        say(puppets.write(root, size=size, **dataclasses.asdict(wanted)))
    if (root / "train").is_dir() and not (root / "test").is_dir():
        raise errors.UserError(f"{root} has a part train and none called test; add one, to judge the variants by.")
    pairs = _find_pairs(root)
    if pairs is None and wanted is not None:
        say(transfers.write(root / "transfers", _DRAWN_PAIRS, wanted.frames, size, wanted.seed, wanted.portraits))
        pairs = _find_pairs(root)
    return Material(root, pairs, (root / "puppets.json").is_file())


def _find_pairs(root: Path) -> Path | None:
    """A list of pairs, if it knows a true animation."""
    places = [root / name for name in _PAIRS if (root / name).is_file()]
    return next((place for place in places if any(pair.truth for pair in pairlist.read(place))), None)

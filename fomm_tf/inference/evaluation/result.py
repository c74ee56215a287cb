"""What is kept of a finished video, so that it need not be made again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fomm_tf import files

# Who is judged: the model, and the source taken as the answer.
MODEL, COPYING = WHO = ("model", "copying")


class Tally(NamedTuple):
    """A metric over the frames of a video.

    Attributes:
      total: of the frames that have such a number.
      frames: how many have.
      left_out: how many have not.
    """

    total: float = 0.0
    frames: int = 0
    left_out: int = 0

    def add(self, values: np.ndarray) -> Tally:
        """With further frames, `[N]`; those that are NaN are left out."""
        missing = int(np.isnan(values).sum())
        return Tally(
            self.total + float(np.nansum(values)), self.frames + len(values) - missing, self.left_out + missing
        )

    @property
    def mean(self) -> float | None:
        """None if there is no frame."""
        return self.total / self.frames if self.frames else None


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a video.

    Attributes:
      key: changes with all that the result depends on.
      name: of the job.
      group: of the job.
      frames: how many were made; 0 if it could not be evaluated.
      tallies: who -> metric -> its tally.
      found: what was looked for (`points`, `embeddings`) -> whose frames -> in how many of them it was found.
      remarks: what to say of the video, such as that it is damaged, or why it could not be evaluated.
    """

    key: str
    name: str
    group: str = ""
    frames: int = 0
    tallies: dict[str, dict[str, Tally]] = dataclasses.field(default_factory=dict)
    found: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def write(path: Path, result: Result) -> None:
    """Keeps a result; the file is there complete or not at all."""
    with files.replace_atomically(path) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(result), indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Result | None:
    """What is kept; None if there is nothing that can be read."""
    try:
        kept = Result(**json.loads(path.read_text(encoding="utf-8")))
        tallies = {who: {name: Tally(*each) for name, each in of.items()} for who, of in kept.tallies.items()}
        return dataclasses.replace(kept, tallies=tallies, remarks=tuple(kept.remarks))
    except (OSError, ValueError, TypeError, AttributeError):
        return None

"""A video's numbers, batch by batch: the model's, and those of the source taken as the answer."""

from __future__ import annotations

import numpy as np

from fomm_tf import detectors
from fomm_tf.inference.evaluation import judge as judges
from fomm_tf.inference.evaluation.result import COPYING, MODEL, WHO, Tally


class Scorer:
    """Judges the frames of one video.

    Args:
      judge: that compares frames.
      source: `[H, W, 3]` uint8.
      animated: the result is an animation: take the metrics that need no truth, too.

    Attributes:
      frames: how many were judged.
      tallies: see `result.Result`.
      found: likewise.
    """

    def __init__(self, judge: judges.Judge, source: np.ndarray, animated: bool) -> None:
        self._judge, self._animated = judge, animated
        self._source = judge.look(source[np.newaxis])
        self._firsts: tuple[detectors.Points, detectors.Points] | None = None
        self.frames = 0
        self.tallies: dict[str, dict[str, Tally]] = {who: {} for who in WHO}
        self.found: dict[str, dict[str, int]] = {}

    def add(self, made: np.ndarray, driving: np.ndarray, true: np.ndarray | None) -> None:
        """Judges the next frames.

        Args:
          made: `[N, H, W, 3]` float in [0, 1].
          driving: `[N, H, W, 3]` uint8.
          true: likewise, or None if the truth is not known.
        """
        seen, copied = self._judge.look(made), judges.repeat(self._source, len(made))
        self._note("made", seen)
        if true is not None:
            expected = self._judge.look(true)
            self._note("true", expected)
            self._tally(MODEL, self._judge.compare(seen, expected))
            self._tally(COPYING, self._judge.compare(copied, expected))
        if self._animated:
            self._add_animation(seen, copied, self._judge.find(driving))
        self.frames += len(made)

    def _add_animation(self, seen: judges.Sight, copied: judges.Sight, driving: detectors.Points | None) -> None:
        begins = self.frames == 0
        if driving is not None and begins:
            self._firsts = _first(seen.points), _first(driving)
        made_first, driving_first = self._firsts or (None, None)
        for who, sight, first in ((MODEL, seen, made_first), (COPYING, copied, self._source.points)):
            values = self._judge.compare_animation(sight, self._source, driving, first, driving_first)
            if begins and "motion" in values:
                # Nothing has moved in the first frame, by definition.
                values["motion"] = values["motion"][1:]
            self._tally(who, values)

    def _tally(self, who: str, values: judges.Values) -> None:
        of = self.tallies[who]
        for name, each in values.items():
            of[name] = of.get(name, Tally()).add(each)

    def _note(self, whose: str, seen: judges.Sight) -> None:
        """Counts the frames in which something was found."""
        for what, looked in (("points", seen.points), ("embeddings", seen.embeddings)):
            if looked is not None:
                of = self.found.setdefault(what, {})
                of[whose] = of.get(whose, 0) + int(looked.found.reshape(len(looked.found), -1).any(axis=1).sum())


def _first(points: detectors.Points) -> detectors.Points:
    return detectors.Points(points.value[:1], points.visibility[:1])

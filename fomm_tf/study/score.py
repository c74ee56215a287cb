"""Counts the answers of a study."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from fomm_tf import errors
from fomm_tf.study import key as keys


class Answers(NamedTuple):
    """What one file holds.

    Attributes:
      study, participant: ids.
      chosen: when and what, by question id.
    """

    study: str
    participant: str
    chosen: dict[str, tuple[datetime.datetime, str]]


class Preference(NamedTuple):
    """How often the first method was preferred.

    Attributes:
      preferred: answers that chose its result.
      answers: all.
    """

    preferred: int
    answers: int

    @property
    def share(self) -> float | None:
        """`preferred / answers`, or None if there is none."""
        return self.preferred / self.answers if self.answers else None

    def interval(self) -> tuple[float, float] | None:
        """Exact (Clopper-Pearson) 95 % interval of the share, as if all answers were independent; None without any."""
        if not self.answers:
            return None
        from scipy import stats  # takes longer to load than `fomm --help` may

        found = stats.binomtest(self.preferred, self.answers).proportion_ci(0.95, method="exact")
        return float(found.low), float(found.high)


@dataclasses.dataclass(frozen=True)
class Scores:
    """What `score` finds.

    Attributes:
      key: of the study.
      overall: all answers.
      questions: the answers by question id, in the key's order.
      participants: how many questions each answered, by id.
      repeated: answers that were left out since their participant gave a later one to the same question.
    """

    key: keys.Key
    overall: Preference
    questions: dict[str, Preference]
    participants: dict[str, int]
    repeated: int

    @property
    def incomplete(self) -> dict[str, int]:
        """Participants who did not answer every question."""
        return {name: count for name, count in self.participants.items() if count < len(self.questions)}


def read_answers(path: str | pathlib.Path, studies: Mapping[str, keys.Key]) -> Answers:
    """What a page exported.

    Args:
      path: the JSON file.
      studies: keys by study id.

    Raises:
      errors.UserError: if it cannot be read, is no such export, or belongs to none of the studies.
    """
    found = keys.read_json(path)
    broken = errors.UserError(f"{path} is no answers of a study, or was changed; give what its page saved at the end.")
    if not isinstance(found, dict) or not isinstance(found.get("study"), str):
        raise broken
    if found["study"] not in studies:
        known = ", ".join(f"{key.name} ({key.study})" for key in studies.values())
        raise errors.UserError(f"{path} answers the study {found['study']}, not {known}; give --key of that one too.")
    questions = studies[found["study"]].questions
    chosen = {}
    try:
        for row in found["answers"]:
            if row["choice"] not in questions[row["question"]].choices:
                raise broken
            time = datetime.datetime.fromisoformat(row["time"]).astimezone(datetime.UTC)
            chosen[row["question"]] = max((time, row["choice"]), chosen.get(row["question"], (time, row["choice"])))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise broken from None
    if not isinstance(found.get("participant"), str) or not found["participant"]:
        raise broken
    return Answers(found["study"], found["participant"], chosen)


def score(key: keys.Key, answers: Iterable[Answers]) -> Scores:
    """The shares in which the first method of a study was preferred.

    Of several answers of a participant to one question the latest counts, so that a file given twice changes nothing.

    Args:
      key: the study's.
      answers: those to other studies are passed over.
    """
    participants: dict[str, dict[str, tuple[datetime.datetime, str]]] = {}
    repeated = 0
    for found in answers:
        if found.study != key.study:
            continue
        known = participants.setdefault(found.participant, {})
        for question, choice in found.chosen.items():
            repeated += question in known
            known[question] = max(choice, known.get(question, choice))
    questions = {}
    for name, question in key.questions.items():
        methods = [question.choices[known[name][1]] for known in participants.values() if name in known]
        questions[name] = Preference(methods.count(key.methods[0]), len(methods))
    overall = Preference(*(sum(part) for part in zip(*questions.values(), strict=True)))
    return Scores(key, overall, questions, {name: len(known) for name, known in participants.items()}, repeated)

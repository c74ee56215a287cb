"""User study as in the paper's Table 2: reads the participants' answers, counts them, and writes the table."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fomm_tf import errors, files
from fomm_tf.experiments.study_build import Key

_NOTE = (
    "Share of the answers that preferred the first method, with the exact (Clopper-Pearson) 95 % confidence interval "
    "in brackets. It assumes independent answers; those of one person, and those to one question, are correlated."
)


class Answers(NamedTuple):
    """The answers of one file."""

    study: str  # id of the study
    participant: str  # id of the participant
    choices: dict[str, tuple[datetime.datetime, str]]  # question id -> time and choice id


class Preference(NamedTuple):
    """How often the first method was preferred."""

    preferred: int  # number of answers that chose its result
    answers: int  # number of all answers

    @property
    def share(self) -> float | None:
        """`preferred / answers`; None without answers."""
        return self.preferred / self.answers if self.answers else None

    def interval(self) -> tuple[float, float] | None:
        """Exact (Clopper-Pearson) 95 % confidence interval of the share; None without answers."""
        if not self.answers:
            return None
        from scipy import stats  # slower to load than `fomm --help` may be

        interval = stats.binomtest(self.preferred, self.answers).proportion_ci(0.95, method="exact")
        return float(interval.low), float(interval.high)


@dataclasses.dataclass(frozen=True)
class Scores:
    """The scores of a study."""

    key: Key  # of the study
    overall: Preference  # all answers
    questions: dict[str, Preference]  # the answers by question id, in the key's order
    participants: dict[str, int]  # number of answered questions by participant id
    repeated: int  # number of answers that a later one of the same participant to the same question replaced

    @property
    def incomplete(self) -> dict[str, int]:
        """Participants who did not answer every question."""
        return {name: count for name, count in self.participants.items() if count < len(self.questions)}


def read_answers(path: str | pathlib.Path, studies: Mapping[str, Key]) -> Answers:
    """Reads a file that a page exported.

    Args:
      path: the JSON file.
      studies: keys by study id.

    Raises:
      errors.UserError: if it cannot be read, is not such a file, or belongs to none of the studies.
    """
    tree = files.read_json(pathlib.Path(path))
    invalid = errors.UserError(
        f"{path} does not hold the answers of a study, or was changed; give the file that its page saved at the end."
    )
    if not isinstance(tree, dict) or not isinstance(tree.get("study"), str):
        raise invalid
    if tree["study"] not in studies:
        known = ", ".join(f"{key.name} ({key.study})" for key in studies.values())
        raise errors.UserError(
            f"{path} answers the study {tree['study']}, not {known}; give the `key` of that study too."
        )
    questions = studies[tree["study"]].questions
    choices = {}
    try:
        for row in tree["answers"]:
            if row["choice"] not in questions[row["question"]].choices:
                raise invalid
            time = datetime.datetime.fromisoformat(row["time"]).astimezone(datetime.UTC)
            choices[row["question"]] = max((time, row["choice"]), choices.get(row["question"], (time, row["choice"])))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise invalid from None
    if not isinstance(tree.get("participant"), str) or not tree["participant"]:
        raise invalid
    return Answers(tree["study"], tree["participant"], choices)


def score(key: Key, answers: Iterable[Answers]) -> Scores:
    """Computes how often the first method of a study was preferred.

    The latest answer of a participant to a question counts, so that a file given twice changes nothing.

    Args:
      key: of the study.
      answers: those to other studies are ignored.
    """
    participants: dict[str, dict[str, tuple[datetime.datetime, str]]] = {}
    repeated = 0
    for file in answers:
        if file.study != key.study:
            continue
        choices = participants.setdefault(file.participant, {})
        for question, choice in file.choices.items():
            repeated += question in choices
            choices[question] = max(choice, choices.get(question, choice))
    questions = {}
    for name, question in key.questions.items():
        methods = [question.choices[choices[name][1]] for choices in participants.values() if name in choices]
        questions[name] = Preference(methods.count(key.methods[0]), len(methods))
    overall = Preference(*(sum(counts) for counts in zip(*questions.values(), strict=True)))
    return Scores(key, overall, questions, {name: len(choices) for name, choices in participants.items()}, repeated)


def as_markdown(studies: Sequence[Scores]) -> str:
    """A table with a row per study, as the paper's Table 2, a table with a row per question, and notes."""
    lines = ["| study | preferred | share | answers | participants |", "|---|---|---|---|---|"]
    for scores in studies:
        methods, name = f"{scores.key.methods[0]} over {scores.key.methods[1]}", scores.key.name
        lines.append(_row(name, methods, _share(scores.overall), scores.overall.answers, len(scores.participants)))
    lines += ["", _NOTE]
    for scores in studies:
        lines += ["", f"## {scores.key.name}", "", "| source | driving | share | answers |", "|---|---|---|---|"]
        for name, question in scores.key.questions.items():
            preference = scores.questions[name]
            lines.append(_row(question.source, question.driving, _share(preference), preference.answers))
        notes = []
        if scores.incomplete:
            names = ", ".join(f"{name} ({count})" for name, count in sorted(scores.incomplete.items()))
            notes.append(f"Incomplete, of {len(scores.questions)} questions: {names}. Their answers are counted.")
        if scores.repeated:
            notes.append(f"Repeated answers of one person to one question: {scores.repeated}. The latest one counts.")
        lines += ["", " ".join(notes)] if notes else []
    return "\n".join(lines) + "\n"


def as_json(studies: Sequence[Scores]) -> list[dict]:
    """The same as JSON values."""
    return [
        {
            "study": scores.key.name,
            "id": scores.key.study,
            "preferred": scores.key.methods[0],
            "over": scores.key.methods[1],
            **_numbers(scores.overall),
            "participants": scores.participants,
            "incomplete": sorted(scores.incomplete),
            "repeated": scores.repeated,
            "questions": [
                {"source": question.source, "driving": question.driving, **_numbers(scores.questions[name])}
                for name, question in scores.key.questions.items()
            ],
        }
        for scores in studies
    ]


def _numbers(preference: Preference) -> dict:
    return {
        "share": preference.share,
        "interval": preference.interval(),
        "preferred_answers": preference.preferred,
        "answers": preference.answers,
    }


def _share(preference: Preference) -> str:
    if not preference.answers:
        return "-"
    low, high = preference.interval()
    return f"{100 * preference.share:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _row(*cells: object) -> str:
    # A bar in a file name would end the cell.
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

"""Scores of studies as a table in the shape of the paper's Table 2, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from fomm_tf.study.score import Preference, Scores

_NOTE = (
    "Share of the answers that preferred the first method. In brackets the exact (Clopper-Pearson) 95 % interval, as "
    "if all answers were independent; those of one person, and those to one question, are not quite."
)


def as_markdown(studies: Sequence[Scores]) -> str:
    """A row a study, then a row a question, then what to know about the participants."""
    lines = ["| study | preferred | share | answers | participants |", "|---|---|---|---|---|"]
    for found in studies:
        versus, name = f"{found.key.methods[0]} over {found.key.methods[1]}", found.key.name
        lines.append(_row(name, versus, _share(found.overall), found.overall.answers, len(found.participants)))
    lines += ["", _NOTE]
    for found in studies:
        lines += ["", f"## {found.key.name}", "", "| source | driving | share | answers |", "|---|---|---|---|"]
        for name, question in found.key.questions.items():
            here = found.questions[name]
            lines.append(_row(question.source, question.driving, _share(here), here.answers))
        notes = []
        if found.incomplete:
            names = ", ".join(f"{name} ({count})" for name, count in sorted(found.incomplete.items()))
            notes.append(f"Incomplete, of {len(found.questions)} questions: {names}. What they answered is counted.")
        if found.repeated:
            notes.append(f"Given more than once by one person to one question: {found.repeated}. The latest counts.")
        lines += ["", " ".join(notes)] if notes else []
    return "\n".join(lines) + "\n"


def as_json(studies: Sequence[Scores]) -> list[dict]:
    """The same, for programs."""
    return [
        {
            "study": found.key.name,
            "id": found.key.study,
            "preferred": found.key.methods[0],
            "over": found.key.methods[1],
            **_numbers(found.overall),
            "participants": found.participants,
            "incomplete": sorted(found.incomplete),
            "repeated": found.repeated,
            "questions": [
                {"source": question.source, "driving": question.driving, **_numbers(found.questions[name])}
                for name, question in found.key.questions.items()
            ],
        }
        for found in studies
    ]


def _numbers(found: Preference) -> dict:
    return {
        "share": found.share,
        "interval": found.interval(),
        "preferred_answers": found.preferred,
        "answers": found.answers,
    }


def _share(found: Preference) -> str:
    if not found.answers:
        return "-"
    low, high = found.interval()
    return f"{100 * found.share:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _row(*cells: object) -> str:
    # A bar in a file's name would end the cell.
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

"""The key of a study: which choice is whose result."""

from __future__ import annotations

import dataclasses
import json
import pathlib

from fomm_tf import errors


@dataclasses.dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
      source: the picture, as the list of pairs names it.
      driving: the video, as the list of pairs names it.
      choices: method by the id of the choice; the first is on the left where the page is not mirrored.
    """

    source: str
    driving: str
    choices: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Key:
    """What `score` has to know of a study.

    Attributes:
      study: the id that page and answers carry.
      name: what the table calls it, such as its data set.
      methods: the two; shares are the first one's.
      seed: what the order and the ids were drawn from.
      questions: by id.
    """

    study: str
    name: str
    methods: tuple[str, str]
    seed: int
    questions: dict[str, Question]

    def text(self) -> str:
        """The key as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False) + "\n"


def read_key(path: str | pathlib.Path) -> Key:
    """Reads what `fomm study build` wrote beside a page.

    Raises:
      errors.UserError: if it cannot be read or is no key.
    """
    found = read_json(path)
    try:
        questions = {name: Question(**question) for name, question in found.pop("questions").items()}
        key = Key(**found | {"methods": tuple(found["methods"]), "questions": questions})
        whole = bool(questions) and len(key.methods) == 2 and isinstance(key.study, str)
        whole = whole and all(sorted(key.methods) == sorted(entry.choices.values()) for entry in questions.values())
    except (AttributeError, KeyError, TypeError):
        whole = False
    if not whole:
        raise errors.UserError(f"{path} is no key of a study; give the .key.json that fomm study build wrote.")
    return key


def read_json(path: str | pathlib.Path) -> object:
    """A JSON file.

    Raises:
      errors.UserError: if it cannot be read or is none.
    """
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise errors.UserError(f"{path} cannot be read ({error.strerror}); check the name.") from None
    except (ValueError, RecursionError) as error:
        raise errors.UserError(f"{path} is no JSON ({error}); save or download it again.") from None

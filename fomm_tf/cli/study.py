"""`fomm study`: ask people which of two methods they prefer."""

from __future__ import annotations

import argparse
import json
import pathlib
import secrets

from fomm_tf import errors, files, study
from fomm_tf.data import pairlist
from fomm_tf.study.build import QUESTION

TEXT = "ask people which of two methods they prefer: make the page of a user study, and count its answers"
_BUILD = (
    "Makes a page that shows, pair by pair, the image, the driving video and the results of two methods beside each "
    "other in random order. It is one file with everything in it: open it, put it on any web server, or send it. At "
    "its end people save their answers as JSON. Beside the page a key is written, which says whose result is which: "
    "keep it, and keep it from them. Where the page's address ends in ?participant=NAME, that is filled in."
)
_SCORE = (
    "Counts answers: the share of them that preferred the first method, by study and by question, with 95 % intervals, "
    "as Markdown; as JSON too with --out."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's two commands and their arguments."""
    commands = parser.add_subparsers(title="commands", metavar="build|score", required=True)
    build = commands.add_parser("build", help="make the page and its key", description=_BUILD)
    build.set_defaults(act=_build, parser=build)
    build.add_argument("--pairs", metavar="CSV", required=True, help="a table with the columns source and driving")
    build.add_argument("--data", metavar="DIR", required=True, help="the folder that its paths start from")
    for option, text in (("--a", "the method whose share is told"), ("--b", "the one that it is compared with")):
        build.add_argument(
            option,
            metavar="NAME=DIR",
            required=True,
            help=f"{text}: its name, and the folder that fomm animate-set wrote (SOURCE--DRIVING.mp4)",
        )
    build.add_argument("--out", metavar="PAGE.html", required=True, help="the page; the key is PAGE.key.json beside it")
    build.add_argument("--key", metavar="KEY.json", help="another place for the key")
    build.add_argument("--name", help="what the table of scores calls the study (default: the page's file name)")
    build.add_argument("--question", metavar="TEXT", default=QUESTION, help='what to ask (default: "%(default)s")')
    build.add_argument(
        "--fit",
        choices=("crop", "pad", "stretch"),
        default="crop",
        help="how image and driving video get the results' size: as for animate-set (default: crop)",
    )
    build.add_argument(
        "--start", type=float, default=0.0, metavar="SECONDS", help="where the results begin in the driving videos"
    )
    build.add_argument(
        "--seed", type=int, metavar="N", help="draws the order (default: a new one each time; it is in the key)"
    )
    score = commands.add_parser("score", help="count answers", description=_SCORE)
    score.set_defaults(act=_score, parser=score)
    score.add_argument("answers", metavar="ANSWERS.json", nargs="+", help="what the page saved, a file a participant")
    score.add_argument(
        "--key", metavar="KEY.json", nargs="+", required=True, help="the study's; of several, a row of the table each"
    )
    score.add_argument("--out", metavar="DIR", help="write study.md and study.json there")


def run(arguments: argparse.Namespace) -> None:
    """Builds or scores.

    Raises:
      errors.UserError: for input that cannot be read or does not belong together, or output that cannot be written.
    """
    arguments.act(arguments)


def _build(arguments: argparse.Namespace) -> None:
    page = pathlib.Path(arguments.out)
    if page.suffix.lower() not in (".html", ".htm"):
        raise errors.UserError(f"--out {page} is a page for browsers; give a name that ends in .html.")
    key = pathlib.Path(arguments.key or page.with_suffix(".key.json"))
    methods = [_method(option, getattr(arguments, option)) for option in ("a", "b")]
    data = pathlib.Path(arguments.data)
    pairs = [
        study.Pair(
            data / pair.source,
            data / pair.driving,
            tuple(folder / f"{pair.name}.mp4" for _, folder in methods),
            (pair.source, pair.driving),
        )
        for pair in pairlist.read(arguments.pairs)
    ]

    import tqdm  # not for `fomm --help`

    made = study.build(
        pairs,
        tuple(name for name, _ in methods),
        page,
        key,
        name=arguments.name or page.stem,
        seed=secrets.randbits(32) if arguments.seed is None else arguments.seed,
        question=arguments.question,
        fit=arguments.fit,
        start=arguments.start,
        track=lambda items: tqdm.tqdm(items, unit="pair", disable=None),
    )
    print(f"{page}: {len(pairs)} questions, {page.stat().st_size / 1e6:.2f} MB")
    print(f"{key}: the key of the study {made.study}; answers are counted with it")


def _method(option: str, text: str) -> tuple[str, pathlib.Path]:
    name, equals, folder = text.partition("=")
    if not (name.strip() and equals and folder):
        raise errors.UserError(f"--{option} is {text!r}; give the method's name and its folder as NAME=DIR.")
    if not pathlib.Path(folder).is_dir():
        raise errors.UserError(f"--{option} {folder} is no folder; give the one that fomm animate-set wrote.")
    return name.strip(), pathlib.Path(folder)


def _score(arguments: argparse.Namespace) -> None:
    keys = {key.study: key for key in map(study.read_key, arguments.key)}
    answers = [study.read_answers(path, keys) for path in arguments.answers]
    found = [study.score(key, answers) for key in keys.values()]
    text = study.as_markdown(found)
    print(text, end="")
    if arguments.out:
        folder = pathlib.Path(arguments.out)
        for name, content in (("study.md", text), ("study.json", json.dumps(study.as_json(found), indent=1) + "\n")):
            with files.replace_atomically(folder / name) as temporary:
                temporary.write_text(content, encoding="utf-8")

"""`fomm study`: ask people which of two methods they prefer."""

from __future__ import annotations

import argparse
import pathlib
import secrets

from fomm_tf import console, errors, files
from fomm_tf.data import layout
from fomm_tf.experiments import study_build, study_score

_BUILD = (
    "Builds a page that shows, pair by pair, the image, the driving video and the results of two methods side by side "
    "in random order. It is one self-contained file: open it, put it on any web server, or send it. At its end "
    "participants save their answers as JSON. A key is written beside the page, which maps results to methods: keep it "
    "private. If the page's address ends in ?participant=NAME, the name is filled in."
)
_SCORE = (
    "Computes the share of answers that preferred the first method, by study and by question, with 95 % confidence "
    "intervals, as Markdown; with --out also as JSON."
)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(title="commands", metavar="build|score", required=True)
    build = commands.add_parser("build", help="build the page and its key", description=_BUILD)
    build.set_defaults(act=_build, parser=build)
    build.add_argument("--pairs", metavar="CSV", required=True, help="a table with the columns source and driving")
    build.add_argument(
        "--data", metavar="DIR", required=True, help="the directory that the paths in the CSV are relative to"
    )
    for option, text in (("--a", "the method whose share is reported"), ("--b", "the method to compare with")):
        build.add_argument(
            option,
            metavar="NAME=DIR",
            required=True,
            help=f"{text}: its name, and the directory that fomm animate-set wrote (SOURCE--DRIVING.mp4)",
        )
    build.add_argument("--out", metavar="PAGE.html", required=True, help="the page; the key is PAGE.key.json beside it")
    build.add_argument("--key", metavar="KEY.json", help="another place for the key")
    build.add_argument("--name", help="name of the study in the table of scores (default: the page's file name)")
    build.add_argument(
        "--question", metavar="TEXT", default=study_build.QUESTION, help='text of the question (default: "%(default)s")'
    )
    build.add_argument(
        "--fit",
        choices=("crop", "pad", "stretch"),
        default="crop",
        help="how image and driving video are resized to the results' size: as for animate-set (default: crop)",
    )
    build.add_argument(
        "--start", type=float, default=0.0, metavar="SECONDS", help="where the results start in the driving videos"
    )
    build.add_argument(
        "--seed", type=int, metavar="N", help="seed of the order (default: a random one, stored in the key)"
    )
    score = commands.add_parser("score", help="score the answers", description=_SCORE)
    score.set_defaults(act=_score, parser=score)
    score.add_argument("answers", metavar="ANSWERS.json", nargs="+", help="saved by the page, one file per participant")
    score.add_argument(
        "--key",
        metavar="KEY.json",
        nargs="+",
        required=True,
        help="of the study; each of several keys is a row",
    )
    score.add_argument("--out", metavar="DIR", help="write study.md and study.json there")


def _build(arguments: argparse.Namespace) -> None:
    page = pathlib.Path(arguments.out)
    if page.suffix.lower() not in (".html", ".htm"):
        raise errors.UserError(f"--out {page} must be an HTML file; give a name that ends in .html.")
    key_path = pathlib.Path(arguments.key or page.with_suffix(".key.json"))
    methods = [_method(option, getattr(arguments, option)) for option in ("a", "b")]
    data = pathlib.Path(arguments.data)
    pairs = [
        study_build.Pair(
            data / pair.source,
            data / pair.driving,
            tuple(folder / f"{pair.name}.mp4" for _, folder in methods),
            (pair.source, pair.driving),
        )
        for pair in layout.read_pairs(arguments.pairs)
    ]

    used = [path for pair in pairs for path in (pair.source, pair.driving, *pair.results)]
    for output in (page, key_path):
        files.check_output(output, arguments.pairs, *used)

    import tqdm  # not for `fomm --help`

    key = study_build.build(
        pairs,
        tuple(name for name, _ in methods),
        page,
        key_path,
        name=arguments.name or page.stem,
        seed=secrets.randbits(32) if arguments.seed is None else arguments.seed,
        question=arguments.question,
        fit=arguments.fit,
        start=arguments.start,
        track=lambda items: tqdm.tqdm(items, unit="pair", disable=None),
    )
    print(f"{page}: {len(pairs)} questions, {page.stat().st_size / 1e6:.2f} MB")
    print(f"{key_path}: the key of the study {key.study}, which fomm study score needs")


def _method(option: str, text: str) -> tuple[str, pathlib.Path]:
    name, equals, folder = text.partition("=")
    if not (name.strip() and equals and folder):
        raise errors.UserError(f"--{option} is {text!r}; give the method's name and its directory as NAME=DIR.")
    if not pathlib.Path(folder).is_dir():
        raise errors.UserError(f"--{option} {folder} is not a directory; give the one that fomm animate-set wrote.")
    return name.strip(), pathlib.Path(folder)


def _score(arguments: argparse.Namespace) -> None:
    if arguments.out:
        for name in ("study.md", "study.json"):
            files.check_output(pathlib.Path(arguments.out) / name, *arguments.answers, *arguments.key)
    keys = {key.study: key for key in map(study_build.read_key, arguments.key)}
    answers = [study_score.read_answers(path, keys) for path in arguments.answers]
    scores = [study_score.score(key, answers) for key in keys.values()]
    text = study_score.as_markdown(scores)
    print(text, end="")
    if arguments.out:
        folder = pathlib.Path(arguments.out)
        files.write_text(folder / "study.md", text)
        files.write_json(folder / "study.json", study_score.as_json(scores))


STUDY = console.Command(
    "run a user study that compares two methods: build its page, score the answers",
    _add_arguments,
    lambda arguments: arguments.act(arguments),
)

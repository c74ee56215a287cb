"""The `fomm` command line, which only maps options to parameters."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import shlex
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence

import fomm_tf
from fomm_tf import console
from fomm_tf.cli import options

# By module of this package and name; a module is imported when its command runs, or to list all commands.
_COMMANDS = {
    "animate": "animate.ANIMATE",
    "animate-set": "animate_set.ANIMATE_SET",
    "faces": "animate.FACES",
    "train": "training.TRAIN",
    "reconstruct": "evaluate.RECONSTRUCT",
    "evaluate": "evaluate.EVALUATE",
    "convert": "convert.CONVERT",
    "info": "convert.INFO",
    "models": "convert.MODELS",
    "fetch": "convert.FETCH",
    "prepare": "preparation.PREPARE",
    "shards": "preparation.SHARDS",
    "study": "experiments.STUDY",
    "figure": "experiments.FIGURE",
    "ablation": "experiments.ABLATION",
    "personalization": "personalization.PERSONALIZATION",
    "experiment": "table3.EXPERIMENT",
    "bench": "bench.BENCH",
    "export": "deployment.EXPORT",
    "serve": "serving.SERVE",
    "client": "deployment.CLIENT",
    "app": "app.APP",
    "webcam": "app.WEBCAM",
    "demo": "animate.DEMO",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      argv: the arguments; by default those of the process.

    Returns:
      The exit code.
    """
    return console.run("fomm", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> None:
    argv = sys.argv[1:] if argv is None else list(argv)
    arguments = parse(argv)
    arguments.command_line = shlex.join(["fomm", *argv])
    console.prepare_tensorflow(arguments.verbose)
    parser = arguments.parser
    with _one_line_warnings(parser), parser.options_in_errors(), _offline(arguments.offline):
        options.resolve_model(arguments)
        arguments.run(arguments)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parses a command line; with `--runner`, arguments that the command does not know become `pipeline_options`.

    Raises:
      errors.UserError: for a bad command line.
    """
    parser = _parser(argv[:1]) if argv and argv[0] in _COMMANDS else _parser()
    arguments, arguments_of_beam = parser.parse_known_args(argv)
    if arguments_of_beam and getattr(arguments, "runner", None) is None:
        parser.error(f"unrecognized arguments: {' '.join(arguments_of_beam)}")
    arguments.pipeline_options = arguments_of_beam
    return arguments


def _parser(names: Iterable[str] = tuple(_COMMANDS)) -> console.Parser:
    parser = console.Parser(
        prog="fomm", description="First Order Motion Model: animates a still image by the motion in a video."
    )
    parser.add_argument("--version", action="version", version=f"fomm-tf {fomm_tf.__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in names:
        module, _, attribute = _COMMANDS[name].partition(".")
        command = getattr(importlib.import_module(f"fomm_tf.cli.{module}"), attribute)
        description = f"{command.text[0].upper()}{command.text[1:]}."
        subparser = subparsers.add_parser(name, help=command.text, description=description)
        command.add_arguments(subparser)
        subparser.add_argument("--verbose", action="store_true", help="show log messages too, also TensorFlow's")
        subparser.add_argument("--offline", action="store_true", help="download nothing; FOMM_OFFLINE=1 does the same")
        subparser.set_defaults(run=command.run, parser=subparser)
    return parser


@contextlib.contextmanager
def _offline(chosen: bool) -> Iterator[None]:
    before = os.environ.get("FOMM_OFFLINE", "")
    os.environ["FOMM_OFFLINE"] = "1" if chosen else before
    try:
        yield
    finally:
        os.environ["FOMM_OFFLINE"] = before


@contextlib.contextmanager
def _one_line_warnings(parser: console.Parser) -> Iterator[None]:
    def show(message: Warning | str, *_: object) -> None:
        print(f"fomm: warning: {console.one_line(parser.name_options(str(message)))}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        yield

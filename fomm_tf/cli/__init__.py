"""The `fomm` command line: one module per command, which maps options to parameters and nothing else."""

from __future__ import annotations

import contextlib
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence

import fomm_tf
from fomm_tf import console
from fomm_tf.cli import (
    ablation,
    animate,
    animate_set,
    client,
    convert,
    demo,
    evaluate,
    export,
    fetch,
    figure,
    info,
    prepare,
    reconstruct,
    serve,
    study,
    train,
)

_COMMANDS = {
    "animate": animate,
    "animate-set": animate_set,
    "train": train,
    "reconstruct": reconstruct,
    "evaluate": evaluate,
    "convert": convert,
    "info": info,
    "fetch": fetch,
    "prepare": prepare,
    "study": study,
    "figure": figure,
    "ablation": ablation,
    "export": export,
    "serve": serve,
    "client": client,
    "demo": demo,
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
    arguments = _parser().parse_args(argv)
    arguments.command_line = shlex.join(["fomm", *argv])
    console.prepare_tensorflow(arguments.verbose)
    parser = arguments.parser
    with _one_line_warnings(parser), parser.options_in_errors():
        arguments.run(arguments)


def _parser() -> console.Parser:
    parser = console.Parser(
        prog="fomm", description="First Order Motion Model: makes a still image move as the object in a video does."
    )
    parser.add_argument("--version", action="version", version=f"fomm-tf {fomm_tf.__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module in _COMMANDS.items():
        description = f"{module.TEXT[0].upper()}{module.TEXT[1:]}."
        command = subparsers.add_parser(name, help=module.TEXT, description=description)
        module.add_arguments(command)
        command.add_argument("--verbose", action="store_true", help="show log messages too, also TensorFlow's")
        command.set_defaults(run=module.run, parser=command)
    return parser


@contextlib.contextmanager
def _one_line_warnings(parser: console.Parser) -> Iterator[None]:
    def show(message: Warning | str, *_: object) -> None:
        print(f"fomm: warning: {parser.name_options(str(message))}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        yield

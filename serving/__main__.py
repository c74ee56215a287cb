"""`python -m serving`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from fomm_tf import console
from serving import animate, local

_DESCRIPTION = "Serve an exported SavedModel over TF-Serving's protocols, or animate through such a server."
_EPILOG = """\
examples:
  python -m export --to saved_model --out models/fomm
  python -m serving local --model models/fomm
  python -m serving animate --server localhost:8501 --source face.jpg --driving clip.mp4 --out animated.mp4

exit codes: 0 done, 2 user error, full disk or unavailable server, 130 interrupted
"""
_COMMANDS = {"local": local, "animate": animate}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return console.run("serving", lambda: _run(sys.argv[1:] if argv is None else argv))


def _run(argv: Sequence[str]) -> None:
    arguments = _parser().parse_args(argv)
    arguments.run(arguments)


def _parser() -> console.Parser:
    parser = console.Parser(
        prog="python -m serving",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, module in _COMMANDS.items():
        command = commands.add_parser(name, help=module.TEXT, description=module.TEXT)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())

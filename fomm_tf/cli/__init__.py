"""`fomm ...`: files in, files out; a module a command.

A user's mistake or a full disk is one line on stderr and exit code 2; Ctrl-C and SIGTERM end with 130; a bug keeps its
traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence

import fomm_tf
from fomm_tf import errors
from fomm_tf.cli import animate, animate_set, convert, demo, fetch, info

_COMMANDS = {
    "animate": animate,
    "animate-set": animate_set,
    "convert": convert,
    "info": info,
    "fetch": fetch,
    "demo": demo,
}
_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      argv: the arguments; default those of the process.

    Returns:
      The exit code.
    """
    try:
        arguments = _parser().parse_args(argv)
        if not arguments.verbose:
            # TensorFlow reads the first before its first import; the second is its Python side.
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            logging.getLogger("tensorflow").setLevel(logging.ERROR)
        with _terminable(), _one_line_warnings():
            arguments.run(arguments)
    except errors.UserError as error:
        return _refuse(str(error))
    except OSError as error:
        if error.errno not in _FULL:
            raise
        return _refuse(f"{error.filename or 'the output'} cannot be written: {error.strerror}; make room first.")
    except KeyboardInterrupt:
        print("fomm: interrupted; nothing is left half-written.", file=sys.stderr)
        return 130
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise errors.UserError(f"{message}; see {self.prog} --help.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fomm", description="First Order Motion Model: makes a still picture move as the object in a video does."
    )
    parser.add_argument("--version", action="version", version=f"fomm-tf {fomm_tf.__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module in _COMMANDS.items():
        description = f"{module.TEXT[0].upper()}{module.TEXT[1:]}."
        command = subparsers.add_parser(name, help=module.TEXT, description=description)
        module.add_arguments(command)
        command.add_argument("--verbose", action="store_true", help="show TensorFlow's own messages too")
        command.set_defaults(run=module.run)
    return parser


def _refuse(message: str) -> int:
    print(f"fomm: {message}", file=sys.stderr)
    return 2


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does, so that what is half-written goes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"fomm: warning: {message}", file=sys.stderr)
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        yield

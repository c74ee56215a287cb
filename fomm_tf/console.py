"""Shared by command entry points: one-line errors, exit codes, signals, TensorFlow's log level.

A user error or a full disk is one line on stderr and exit code 2; Ctrl-C and SIGTERM end with 130; a bug keeps its
traceback.

Libraries name parameters in their messages, in backquotes: "`batch_size` must be at least 1; got 0". The command line
replaces each by the option that sets it, which is the one with that `dest`.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from fomm_tf import errors


class Command(NamedTuple):
    """A subcommand.

    Attributes:
      text: what it does, for `--help`; in lower case, without a period.
      add_arguments: declares its arguments.
      run: runs it with the parsed arguments.
    """

    text: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


class Parser(argparse.ArgumentParser):
    """An argument parser that raises a `UserError` of one line, and knows which option sets which parameter.

    Attributes:
      takes_foreign_options: options of another program may stand anywhere on the line; `parse_known_args` returns them.
    """

    takes_foreign_options = False
    _is_parsing = False

    def error(self, message: str) -> None:
        raise errors.UserError(f"{message}; see {self.prog} --help.")

    def parse_known_args(
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parses; positional arguments may come before, between and after options, in subcommands too."""
        if self._subparsers is not None or self._is_parsing:
            return super().parse_known_args(args, namespace)
        foreign: list[str] = []
        if self.takes_foreign_options and args is not None:
            args, foreign = self._split_off_foreign(args)
        self._is_parsing = True  # `parse_known_intermixed_args` calls this method
        try:
            namespace, rest = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_parsing = False
        return namespace, [*foreign, *rest]

    def _split_off_foreign(self, args: Sequence[str]) -> tuple[list[str], list[str]]:
        """Splits off the options that this parser does not know, which may stand between its arguments."""
        end = args.index("--") if "--" in args else len(args)
        own: list[str] = []
        foreign: list[str] = []
        for arg in args[:end]:
            (own if self._knows(arg) else foreign).append(arg)
        return [*own, *args[end:]], foreign

    def _knows(self, arg: str) -> bool:
        """Whether an argument is positional, or an option of this parser, which may be abbreviated."""
        name = arg.partition("=")[0]
        return not name.startswith("--") or any(option.startswith(name) for option in self._option_string_actions)

    def name_options(self, message: str) -> str:
        """Replaces parameters in backquotes by the options that set them; leaves other names as they are."""
        names = {}
        for action in self._actions:
            options = [option for option in action.option_strings if option.startswith("--")]
            names[action.dest] = options[0] if options else str(action.metavar or action.dest)
        return re.sub(r"`(\w+)`", lambda match: names.get(match[1], match[0]), message)

    @contextlib.contextmanager
    def options_in_errors(self) -> Iterator[None]:
        """Applies `name_options` to each `UserError` that leaves the block."""
        try:
            yield
        except errors.UserError as error:
            error.args = (self.name_options(str(error)),)
            raise


def run(name: str, command: Callable[[], None]) -> int:
    """Runs a command and reports how it ended.

    Args:
      name: prefix of each line on stderr.
      command: the whole command, parsing of its arguments included.

    Returns:
      The exit code.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # for file names that are not UTF-8
    try:
        with _sigterm_as_interrupt():
            command()
    except errors.UserError as error:
        return _fail(2, name, str(error))
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return _fail(2, name, f"the name {os.fsdecode(error.filename or '')[:80]}... is too long; shorten it.")
        if error.errno not in errors.DISK_FULL:
            raise
        place = error.filename or "the output"
        return _fail(2, name, f"{place} cannot be written: {error.strerror}; free some space first.")
    except KeyboardInterrupt as interruption:
        return _fail(130, name, str(interruption) or "interrupted; nothing is left half-written.")
    return 0


@contextlib.contextmanager
def requires_extra(extra: str) -> Iterator[None]:
    """Reports a package that is not installed as a `UserError` that names the extra which has it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("fomm_tf."):
            raise
        raise errors.UserError(
            f'{error.name} is not installed; install it with: pip install "fomm-tf[{extra}]"'
        ) from error


def prepare_tensorflow(verbose: bool) -> None:
    """Configures TensorFlow before it is loaded; environment variables that the user has set are kept.

    GPU memory is allocated as needed, and log messages below errors are hidden.

    Args:
      verbose: show all log messages.
    """
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    if not verbose:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _fail(code: int, name: str, message: str) -> int:
    print(f"{name}: {one_line(message)}", file=sys.stderr)
    return code


def one_line(message: str) -> str:
    """Escapes line breaks and other control characters, which file names may have."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda match: repr(match[0])[1:-1], message)


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Makes SIGTERM end a command as Ctrl-C does, so that temporary files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

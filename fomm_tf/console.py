"""What every command of the project does alike: one-line errors, exit codes, an end that leaves nothing half-written.

A user's mistake or a full disk is one line on stderr and exit code 2; Ctrl-C and SIGTERM end with 130; a bug keeps its
traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from fomm_tf import errors


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is a `UserError`, one line."""

    def error(self, message: str) -> None:
        raise errors.UserError(f"{message}; see {self.prog} --help.")


def run(name: str, command: Callable[[], None]) -> int:
    """Runs a command and says how it ended.

    Args:
      name: what begins a line on stderr.
      command: the whole command, parsing of its arguments included.

    Returns:
      The exit code.
    """
    try:
        with _terminable():
            command()
    except errors.UserError as error:
        return _end(2, name, str(error))
    except OSError as error:
        if error.errno not in errors.DISK_FULL:
            raise
        place = error.filename or "the output"
        return _end(2, name, f"{place} cannot be written: {error.strerror}; make room first.")
    except KeyboardInterrupt:
        return _end(130, name, "interrupted; nothing is left half-written.")
    return 0


def prepare_tensorflow(verbose: bool) -> None:
    """Says how TensorFlow, not loaded yet, behaves in a command; variables that the user has set stay.

    It takes a GPU's memory as it needs it, and keeps its messages to itself.

    Args:
      verbose: let it talk.
    """
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    if not verbose:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Keeps what is written to the process' stderr to itself: TensorFlow Lite greets there, whatever it is told."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _end(code: int, name: str, message: str) -> int:
    print(f"{name}: {message}", file=sys.stderr)
    return code


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

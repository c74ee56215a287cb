"""Runs in processes of their own: their lines, their ends, and Ctrl-C."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable

from fomm_tf import errors
from fomm_tf.ablation import work


def run(task: work.Task, say: Callable[[str], object]) -> None:
    """Does a task and waits for its end.

    Args:
      task: what to do.
      say: takes the lines that the process prints.

    Raises:
      errors.UserError: as the process says, or if it was killed.
      KeyboardInterrupt: after Ctrl-C or SIGTERM, when the run is saved; a second one kills it.
      RuntimeError: if it ends by a bug, with its traceback.
    """
    command = [sys.executable, "-u", "-m", "fomm_tf.ablation.work", json.dumps(task._asdict())]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as complaints:
        # A session of its own: the terminal's Ctrl-C reaches it through here alone, once.
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        with process:
            try:
                _follow(process, say)
            except KeyboardInterrupt:
                process.terminate()
                _follow(process, say)
                raise
            finally:
                process.kill()
        complaints.seek(0)
        _judge(process.returncode, complaints.read())


def _follow(process: subprocess.Popen, say: Callable[[str], object]) -> None:
    for line in process.stdout:
        say(line.rstrip("\n"))
    process.wait()


def _judge(code: int, complaint: str) -> None:
    """Makes of a process' end what it would have been here."""
    last = complaint.strip().splitlines()[-1:] or [""]
    if code == 2:
        raise errors.UserError(last[0].removeprefix("ablation: "))
    if code == 130:
        raise KeyboardInterrupt
    if code < 0:
        raise errors.UserError(
            f"It was ended by signal {-code}, out of memory perhaps; the same command goes on from its last checkpoint."
        )
    if code:
        raise RuntimeError(f"A run's process ended with code {code}:\n{complaint}")

"""The pool of worker processes: progress bar, cooperative stop, clean Ctrl-C, errors that name the task.

Convention:
  * workers are spawned, since TensorFlow does not survive a fork: a script calls `run` below
    `if __name__ == "__main__":`;
  * to resume, the caller passes only the tasks that are left, and how many were finished before;
  * tasks call `tick` often. It counts units of work for the progress bar and ends the task when the command stops;
  * a worker never outlives the command, not even after `kill -9`, and does not see the terminal's Ctrl-C.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import NamedTuple, TypeVar

import tqdm

from fomm_tf import errors

Task = TypeVar("Task")
Result = TypeVar("Result")
# Calls a function on each of some tasks: `run` with all arguments but `function`, `tasks` and `on_result`.
Execute = Callable[..., None]

# Seconds between two updates of the progress bar.
_PERIOD = 0.5


class StoppedError(Exception):
    """Raised by `tick` in a task when the command stops."""


class _Shared(NamedTuple):
    """What the command and its workers share."""

    stop: object  # a `multiprocessing.Event`, set when the command stops
    units: object  # a `multiprocessing.Value`, the units of work counted so far


_shared: _Shared | None = None
_lines: _LineWriter | None = None


def tick(count: int = 1) -> None:
    """Counts units of work of a task; does nothing in a task that runs in the command's own process.

    Raises:
      StoppedError: if the command stops.
    """
    if _shared is None:
        return
    if _shared.stop.is_set():
        raise StoppedError
    with _shared.units.get_lock():
        _shared.units.value += count


def available_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    processes: int,
    *,
    name: Callable[[Task], str] = str,
    setup: Callable[[], object] | None = None,
    on_result: Callable[[Task, Result], object] | None = None,
    on_line: Callable[[str], object] | None = None,
    finished: int = 0,
    unit: str = "task",
    description: str | None = None,
    status: Callable[[int], Mapping[str, object]] | None = None,
    progress: bool = True,
) -> None:
    """Runs tasks in worker processes and shows a progress bar on a terminal.

    Args:
      function: what a worker does with a task; picklable, as are tasks and results.
      tasks: those that are left, started in this order.
      processes: number of workers; 0 runs the tasks one after the other in this process.
      name: names a task in error messages.
      setup: called once in each worker before its first task; picklable.
      on_result: called in this process as each task finishes, in any order.
      on_line: called with each line that a task prints, instead of printing it. The tasks are then interrupted by
        `KeyboardInterrupt` (their SIGTERM) when the command stops, rather than by `tick`; needs `processes=1`.
      finished: tasks finished by earlier runs, for the progress bar.
      unit: what a task is called in the progress bar.
      description: text before the progress bar.
      status: from the units counted by `tick`, what the progress bar shows after the rate.
      progress: show the progress bar.

    Raises:
      errors.UserError: if a worker dies; it names the tasks that may have been running.
      Exception: what `function` raises.
    """
    total, hidden = finished + len(tasks), None if progress else True
    with tqdm.tqdm(total=total, initial=finished, desc=description, unit=unit, disable=hidden) as bar:
        if processes == 0:
            for task in tasks:
                result = function(task)
                if on_result:
                    on_result(task, result)
                bar.update()
        elif tasks:
            _run_pool(function, tasks, min(processes, len(tasks)), name, setup, on_result, on_line, status, bar)


def _run_pool(function, tasks, processes, name, setup, on_result, on_line, status, bar) -> None:
    context = multiprocessing.get_context("spawn")
    shared = _Shared(context.Event(), context.Value("q"))
    level = logging.getLogger("tensorflow").level
    unfinished = dict.fromkeys(range(len(tasks)))
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(_forward_lines(on_line)) if on_line else None
        pool = concurrent.futures.ProcessPoolExecutor(processes, context, _start_worker, (shared, writer, setup, level))
        stack.callback(_shut_down, pool, shared)
        futures = {pool.submit(_call, function, task): index for index, task in enumerate(tasks)}
        if writer:
            writer.close()  # the worker holds the other end: its exit ends the stream
        waiting = set(futures)
        try:
            while waiting:
                done, waiting = concurrent.futures.wait(waiting, _PERIOD, concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    result = future.result()
                    del unfinished[futures[future]]
                    if on_result:
                        on_result(tasks[futures[future]], result)
                if status:
                    bar.set_postfix(status(shared.units.value), refresh=False)
                bar.update(len(done))
                bar.refresh()
        except BrokenProcessPool:
            running = [name(tasks[index]) for index in unfinished][:processes]  # tasks start in order
            raise errors.UserError(
                f"A worker process died at {' or '.join(running)}: out of memory, killed, or a file that crashes the "
                "decoder. Run the command again, with fewer processes or without that file; finished work is kept."
            ) from None


def _shut_down(pool: concurrent.futures.ProcessPoolExecutor, shared: _Shared) -> None:
    shared.stop.set()
    try:
        pool.shutdown(cancel_futures=True)
    except KeyboardInterrupt:  # the second one
        for process in multiprocessing.active_children():
            process.kill()
        raise


@contextlib.contextmanager
def _forward_lines(on_line: Callable[[str], object]) -> Iterator[connection.Connection]:
    """Yields the end of a pipe for a worker; a thread passes on the lines that come through it."""
    reader, writer = multiprocessing.get_context("spawn").Pipe(duplex=False)

    def forward() -> None:
        with contextlib.suppress(EOFError):
            while True:
                line = reader.recv()
                with tqdm.tqdm.external_write_mode():
                    on_line(line)

    thread = threading.Thread(target=forward, daemon=True)
    thread.start()
    try:
        yield writer
    finally:
        writer.close()
        thread.join()
        reader.close()


class _LineWriter(io.TextIOBase):
    """A text stream that sends whole lines through a pipe."""

    def __init__(self, writer: connection.Connection) -> None:
        self._writer, self._rest = writer, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._writer.send(line)
        return len(text)


def _start_worker(
    shared: _Shared, writer: connection.Connection | None, setup: Callable[[], object] | None, level: int
) -> None:
    global _shared, _lines
    _shared, _lines = shared, writer and _LineWriter(writer)
    # In a session of its own a worker does not get the terminal's Ctrl-C, which is the command's to handle.
    os.setsid()
    command = multiprocessing.parent_process()
    threading.Thread(target=lambda: (command.join(), os._exit(1)), daemon=True).start()
    logging.getLogger("tensorflow").setLevel(level)
    if setup:
        setup()


def _call(function: Callable[[Task], Result], task: Task) -> Result:
    if _lines is None:
        return function(task)
    with contextlib.redirect_stdout(_lines), contextlib.redirect_stderr(_lines), _interrupt_on_stop():
        return function(task)


@contextlib.contextmanager
def _interrupt_on_stop() -> Iterator[None]:
    """Has SIGTERM raise `KeyboardInterrupt` in the block, and sends it when the command stops."""
    running = True

    def wait() -> None:
        _shared.stop.wait()
        if running:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=wait, daemon=True).start()
    try:
        yield
    finally:
        running = False
        signal.signal(signal.SIGTERM, before)

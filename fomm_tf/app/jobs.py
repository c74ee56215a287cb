"""Jobs of the page: one at a time for each model, few waiting; their files are deleted with them."""

from __future__ import annotations

import concurrent.futures
import contextvars
import dataclasses
import logging
import pathlib
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from fomm_tf import errors

_LOG = logging.getLogger(__name__)
_CURRENT: contextvars.ContextVar[Job | None] = contextvars.ContextVar("job", default=None)


class CancelledError(Exception):
    """The visitor cancelled the job."""


@dataclasses.dataclass(eq=False)
class Job:
    """Work on uploaded files.

    Attributes:
      owner: the visitor's session.
      model: that does the work.
      folder: for its files; deleted with the job.
      state: `queued`, `running`, `done`, `failed` or `cancelled`.
      frames: how many are done.
      total: how many there will be, if known.
      notes: lines about choices that were made, and warnings.
      error: the line that says why it failed.
      result: the file that it wrote.
      figure: `[H, W, 3]` uint8, what the model saw.
      cancelled: set to stop it.
      finished: set at its end.
      future: of the thread that runs it.
      begin: when it started, by `time.monotonic`.
    """

    owner: str
    model: str
    folder: pathlib.Path
    state: str = "queued"
    frames: int = 0
    total: int | None = None
    notes: list[str] = dataclasses.field(default_factory=list)
    error: str | None = None
    result: pathlib.Path | None = None
    figure: np.ndarray | None = None
    cancelled: threading.Event = dataclasses.field(default_factory=threading.Event)
    finished: threading.Event = dataclasses.field(default_factory=threading.Event)
    future: concurrent.futures.Future | None = None
    begin: float = 0.0

    def check(self) -> None:
        """Raises `CancelledError` if the job is to stop."""
        if self.cancelled.is_set():
            raise CancelledError

    def note(self, line: str) -> None:
        """Keeps a line for the visitor."""
        self.notes.append(self.shorten(line))

    def shorten(self, line: str) -> str:
        """Removes the job's folder from the names of files in a line."""
        for name in ("source/", "driving/", ""):
            line = line.replace(f"{self.folder}/{name}", "")
        return line

    def progress(self) -> str:
        """How far it is, in words."""
        seconds = time.monotonic() - self.begin
        if not self.frames:
            return "starting"
        rate = self.frames / max(seconds, 1e-9)
        if not self.total or self.frames > self.total:
            return f"{self.frames} frames, {rate:.1f} frames/s"
        left = (self.total - self.frames) / rate
        return f"{self.frames} of {self.total} frames, {rate:.1f} frames/s, {left:.0f} s left"


class JobQueue:
    """Runs jobs, those of one model one after the other.

    Args:
      root: an existing directory, for the folders of the jobs.
      max_jobs: that are not finished.
    """

    def __init__(self, root: pathlib.Path, max_jobs: int) -> None:
        self._root, self._max_jobs = root, max_jobs
        self._jobs: list[Job] = []  # that are not finished
        self._with_files: set[Job] = set()
        self._threads: dict[str, concurrent.futures.ThreadPoolExecutor] = {}
        self._lock = threading.Lock()

    def submit(self, owner: str, model: str, run: Callable[[Job], None]) -> Job:
        """Queues a job.

        Args:
          owner: the visitor's session, which may have one job at a time.
          model: that does the work.
          run: does the work in a thread; raises `errors.UserError` for files and options that it cannot use.

        Raises:
          errors.UserError: if the owner has a job, or too many are waiting.
        """
        with self._lock:
            if any(job.owner == owner and not job.cancelled.is_set() for job in self._jobs):
                raise errors.UserError("Another job of this page is running; wait for it, or cancel it.")
            if len(self._jobs) >= self._max_jobs:
                raise errors.UserError(f"The limit of {self._max_jobs} jobs is reached; try again in a few minutes.")
            job = Job(owner, model, pathlib.Path(tempfile.mkdtemp(prefix="job-", dir=self._root)))
            self._jobs.append(job)
            self._with_files.add(job)
            thread = self._threads.setdefault(model, concurrent.futures.ThreadPoolExecutor(1))
            job.future = thread.submit(self._run, job, run)
        job.future.add_done_callback(lambda _: self._end(job))
        return job

    def waiting_before(self, job: Job) -> int:
        """How many jobs run before this one."""
        with self._lock:
            before = self._jobs[: self._jobs.index(job)] if job in self._jobs else []
        return sum(other.model == job.model for other in before)

    def cancel(self, owner: str) -> None:
        """Stops the jobs of a visitor."""
        with self._lock:
            jobs = [job for job in self._jobs if job.owner == owner]
        for job in jobs:
            job.cancelled.set()
            job.future.cancel()

    def release(self, job: Job) -> None:
        """Stops a job if it runs, and deletes its files once it has ended."""
        with self._lock:
            self._with_files.discard(job)
        job.cancelled.set()
        job.future.cancel()
        job.future.add_done_callback(lambda _: shutil.rmtree(job.folder, ignore_errors=True))

    def close(self) -> None:
        """Stops all jobs, waits for their ends, and deletes their files."""
        with self._lock:
            jobs = list(self._with_files)
        for job in jobs:
            self.release(job)
        for thread in self._threads.values():
            thread.shutdown()

    def _run(self, job: Job, run: Callable[[Job], None]) -> None:
        _CURRENT.set(job)
        job.state, job.begin = "running", time.monotonic()
        try:
            job.check()
            run(job)
            job.state = "done"
        except CancelledError:
            job.state = "cancelled"
        except errors.UserError as error:
            job.state, job.error = "failed", job.shorten(str(error))
        except OSError as error:
            if error.errno not in errors.DISK_FULL:
                raise
            job.state, job.error = "failed", "The disk of the server is full; try again later."
        except Exception:
            _LOG.exception("job failed")
            job.state, job.error = "failed", "Internal error; the log of the server has the details."
        finally:
            _CURRENT.set(None)

    def _end(self, job: Job) -> None:
        if job.future.cancelled():
            job.state = "cancelled"
        elif job.future.exception() is not None:
            _LOG.error("job failed", exc_info=job.future.exception())
            job.state, job.error = "failed", "Internal error; the log of the server has the details."
        with self._lock:
            self._jobs.remove(job)
        job.finished.set()


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Makes a `UserWarning` that is raised in the thread of a job a note of that job."""
    before = warnings.showwarning

    def show(message: Warning | str, *arguments: object, **named: object) -> None:
        job = _CURRENT.get()
        if job is None:
            before(message, *arguments, **named)
        else:
            job.note(str(message))

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before

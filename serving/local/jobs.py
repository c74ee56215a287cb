"""Animations of whole files as jobs: one at a time, with progress; results are kept for a time and a size."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import logging
import pathlib
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping

import grpc

from fomm_tf import errors
from fomm_tf.serving.local import core as cores
from fomm_tf.serving.local import inputs, status

_LOG = logging.getLogger(__name__)
# Of jobs that are not finished: their uploads are on disk.
_MAX_WAITING = 8
_KEEP_SECONDS, _KEEP_BYTES = 600.0, 2**30


@dataclasses.dataclass(eq=False)
class Job:
    """An animation.

    Attributes:
      directory: has the uploaded files, and the result; deleted with the job.
      source, driving: the uploaded files.
      options: of `fomm animate`, by name, as text.
      id: unguessable.
      state: `queued`, `running`, `done`, `failed` or `cancelled`.
      frames: how many are rendered.
      total: how many there will be, if known.
      error: why it failed.
      finished: set at the end.
    """

    directory: pathlib.Path
    source: pathlib.Path
    driving: pathlib.Path
    options: Mapping[str, str]
    id: str = dataclasses.field(default_factory=lambda: secrets.token_urlsafe(16))
    state: str = "queued"
    frames: int = 0
    total: int | None = None
    error: status.RpcError | None = None
    finished: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    cancelled: threading.Event = dataclasses.field(default_factory=threading.Event)
    end: float = 0.0  # `time.monotonic`

    @property
    def result(self) -> pathlib.Path:
        """The animated video."""
        return self.directory / "animated.mp4"

    def describe(self) -> dict[str, object]:
        """For clients."""
        link = f"/v1/jobs/{self.id}/result" if self.state == "done" else None
        error = self.error.message if self.error else None
        return {
            "id": self.id,
            "state": self.state,
            "frames": self.frames,
            "total": self.total,
            "error": error,
            "result": link,
        }


# Runs a signature for a job: its name and inputs -> outputs.
RunSignature = Callable[[str, inputs.Arrays], inputs.Arrays]
# Animates the files of a job into its `result`.
Animate = Callable[[Job, RunSignature], None]


class Jobs:
    """The jobs of a server; belongs to its event loop.

    Args:
      core: whose model animates, in the same queue as other requests.
      animate: called in a thread; raises `errors.UserError` for files and options that it cannot use.
      max_frames: of one job.
    """

    def __init__(self, core: cores.ServerCore, animate: Animate, max_frames: int) -> None:
        self._core, self._animate, self._max_frames = core, animate, max_frames
        self._jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task] = set()
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="job")
        self._root = pathlib.Path(tempfile.mkdtemp(prefix="fomm-serve-"))

    def check_room(self) -> None:
        """Refuses a further job before its files are received.

        Raises:
          status.RpcError: UNAVAILABLE.
        """
        self._expire()
        if len(self._tasks) >= _MAX_WAITING:
            raise status.unavailable(f"{len(self._tasks)} animations are waiting")

    def new_directory(self) -> pathlib.Path:
        """For the files of a job."""
        return pathlib.Path(tempfile.mkdtemp(dir=self._root))

    def start(self, job: Job, key: tuple[str, int | None, str | None]) -> None:
        """Queues a job.

        Args:
          job: with its files.
          key: the model's name, and version or label.
        """
        self._jobs[job.id] = job
        task = asyncio.get_running_loop().create_task(self._run(job, key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def get(self, job_id: str) -> Job:
        """Returns a job.

        Raises:
          status.RpcError: NOT_FOUND.
        """
        self._expire()
        if job_id not in self._jobs:
            message = f"there is no job {job_id[:50]}; results are kept for {_KEEP_SECONDS:g} s."
            raise status.RpcError(grpc.StatusCode.NOT_FOUND, message)
        return self._jobs[job_id]

    def delete(self, job_id: str) -> Job:
        """Cancels a job, or deletes its result; returns it."""
        job = self.get(job_id)
        job.cancelled.set()
        if job.finished.is_set():
            self._forget(job)
        return job

    async def close(self) -> None:
        """Cancels all jobs, and deletes their files."""
        for job in self._jobs.values():
            job.cancelled.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._thread.shutdown()
        shutil.rmtree(self._root, ignore_errors=True)

    async def _run(self, job: Job, key: tuple[str, int | None, str | None]) -> None:
        loop, core = asyncio.get_running_loop(), self._core
        try:
            with core.record("REST"), core.versions.lease(*key) as version:

                async def predict(*call: object) -> inputs.Arrays:
                    async with core.predict(version, *call) as outputs:
                        return outputs

                def run(signature: str, arrays: inputs.Arrays) -> inputs.Arrays:
                    if job.cancelled.is_set():
                        raise status.cancelled()
                    status.require(
                        job.frames <= self._max_frames,
                        f"driving: got more than {self._max_frames:,} frames; give a `duration` or a lower `fps`.",
                    )
                    deadline = time.monotonic() + core.limits.timeout
                    outputs = asyncio.run_coroutine_threadsafe(predict(signature, arrays, deadline), loop).result()
                    if signature.startswith("render"):
                        job.frames += arrays["value"].shape[1]
                    return outputs

                await loop.run_in_executor(self._thread, self._animate_files, job, run)
            job.state = "done"
        except status.RpcError as error:
            job.state = "cancelled" if job.cancelled.is_set() else "failed"
            job.error = error
        except Exception:
            _LOG.exception("job failed")
            job.state, job.error = "failed", status.RpcError(grpc.StatusCode.INTERNAL, "internal error; see the log.")
        finally:
            for path in (job.source, job.driving):
                path.unlink(missing_ok=True)
            job.end = time.monotonic()
            job.finished.set()

    def _animate_files(self, job: Job, run: RunSignature) -> None:
        job.state = "running"
        try:
            self._animate(job, run)
        except errors.UserError as error:
            raise status.invalid_argument(str(error).replace(f"{job.directory}/", "")) from error

    def _expire(self) -> None:
        """Deletes results that are too old, and the oldest of those that take too much space."""
        finished = sorted((job for job in self._jobs.values() if job.finished.is_set()), key=lambda job: job.end)
        sizes = {job.id: job.result.stat().st_size if job.result.exists() else 0 for job in finished}
        total, now = sum(sizes.values()), time.monotonic()
        for job in finished:
            if total > _KEEP_BYTES or job.end < now - _KEEP_SECONDS:
                total -= sizes[job.id]
                self._forget(job)

    def _forget(self, job: Job) -> None:
        self._jobs.pop(job.id, None)
        with contextlib.suppress(OSError):
            shutil.rmtree(job.directory)

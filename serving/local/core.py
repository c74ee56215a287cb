"""The part of the server that both protocols share: admission, checks, batching and limits."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator

import grpc

from fomm_tf.serving.local import batching, metrics, servable, status, versions


@dataclasses.dataclass(frozen=True)
class Limits:
    """The server's limits."""

    max_requests: int  # requests in the server at once, queued or computed; further ones are rejected
    max_request_bytes: int  # size of a request
    max_frames: int  # frames, or other items along a signature's variable axes, of a request
    timeout: float  # seconds for a request without a deadline
    max_batch_rows: int  # rows of requests that are batched; 1 turns batching off
    num_threads: int  # batches computed at once


class ServerCore:
    """One model behind both protocols; belongs to one event loop.

    Args:
      version_manager: the model's versions.
      limits: the server's limits.
    """

    def __init__(self, version_manager: versions.VersionManager, limits: Limits) -> None:
        self.versions, self.limits, self.metrics = version_manager, limits, metrics.Metrics(version_manager.name)
        self._batcher = batching.Batcher(limits.num_threads, limits.max_batch_rows, self.metrics)
        # Separate from the computing threads, so that large messages do not delay batches.
        self._codec_pool = concurrent.futures.ThreadPoolExecutor(limits.num_threads, thread_name_prefix="codec")
        self._admitted = 0

    @contextlib.contextmanager
    def admit(self, entrypoint: str) -> Iterator[None]:
        """Admits, counts and times a request; rejects it if the server is full.

        Raises:
          status.RpcError: RESOURCE_EXHAUSTED.
        """
        start, code = time.perf_counter(), grpc.StatusCode.OK
        try:
            if self._admitted >= self.limits.max_requests:
                raise status.RpcError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"the queue is full: {self._admitted} requests are queued; expected at most "
                    f"{self.limits.max_requests}; retry later.",
                )
            self._add_admitted(1)
            try:
                yield
            finally:
                self._add_admitted(-1)
        except status.RpcError as error:
            code = error.code
            raise
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        except Exception:
            code = grpc.StatusCode.INTERNAL
            raise
        finally:
            self.metrics.count_request(code.name, entrypoint, time.perf_counter() - start)

    async def predict(
        self, version: servable.Servable, signature: str, decode: Callable[[], servable.Arrays], deadline: float
    ) -> servable.Arrays:
        """Runs a signature.

        Args:
          version: the leased version.
          signature: its name.
          decode: converts the message to checked arrays; runs in a thread.
          deadline: `time.monotonic` after which the answer is not needed.

        Raises:
          status.RpcError: from `decode` or the model, or DEADLINE_EXCEEDED.
        """
        inputs = await self.run_in_thread(decode)
        rows = servable.check_batch(inputs)
        return await self._batcher.submit(version, signature, inputs, rows, deadline)

    async def run_in_thread(self, function: Callable[[], object]) -> object:
        """Runs what is slow for large messages outside of the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._codec_pool, function)

    def close(self) -> None:
        """Stops the threads after their current work."""
        self._batcher.close()
        self._codec_pool.shutdown()

    def _add_admitted(self, change: int) -> None:
        self._admitted += change
        self.metrics.set_admitted(self._admitted)

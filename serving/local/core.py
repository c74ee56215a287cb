"""What both protocols call: a request is admitted, checked, put in the queue and answered."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator

from serving.local import batching, metrics, servable, status, versions


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the server takes.

    Attributes:
      requests: in the server at once, waiting or computed; more are refused.
      request_bytes: of one request.
      frames: or other items along a signature's open axes, of one request.
      seconds: for one request that names no deadline.
      batch_rows: of requests that are joined; 1 joins none.
      threads: batches computed at once.
    """

    requests: int
    request_bytes: int
    frames: int
    seconds: float
    batch_rows: int
    threads: int


class Core:
    """One model behind both protocols; belongs to one event loop.

    Args:
      held: its versions.
      limits: what it takes.
    """

    def __init__(self, held: versions.Versions, limits: Limits) -> None:
        self.versions, self.limits, self.metrics = held, limits, metrics.Metrics(held.name)
        self._batcher = batching.Batcher(limits.threads, limits.batch_rows, self.metrics)
        # Beside the computing threads, so that large messages hold nobody up.
        self._codec = concurrent.futures.ThreadPoolExecutor(limits.threads, thread_name_prefix="codec")
        self._admitted = 0

    @contextlib.contextmanager
    def admit(self, entrypoint: str) -> Iterator[None]:
        """A request's whole stay: counted and timed, refused where the server is full.

        Raises:
          status.Refused: RESOURCE_EXHAUSTED.
        """
        began, code = time.perf_counter(), status.Code.OK
        try:
            if self._admitted >= self.limits.requests:
                raise status.Refused(
                    status.Code.RESOURCE_EXHAUSTED,
                    f"{self._admitted} requests are waiting already, the most that this server takes; try again later.",
                )
            self._change(1)
            try:
                yield
            finally:
                self._change(-1)
        except status.Refused as error:
            code = error.code
            raise
        except asyncio.CancelledError:
            code = status.Code.CANCELLED
            raise
        except Exception:
            code = status.Code.INTERNAL
            raise
        finally:
            self.metrics.request(code.name, entrypoint, time.perf_counter() - began)

    async def predict(
        self, used: servable.Servable, signature: str, decode: Callable[[], servable.Arrays], deadline: float
    ) -> servable.Arrays:
        """Runs a signature.

        Args:
          used: the version, on lease.
          signature: its name.
          decode: makes checked arrays of the message; runs in a thread of its own.
          deadline: `time.monotonic` after which nobody waits.

        Raises:
          status.Refused: by `decode`, the model, or the deadline.
        """
        inputs = await self.work(decode)
        rows = servable.check_batch(inputs)
        return await self._batcher.submit(used, signature, inputs, rows, deadline)

    async def work(self, function: Callable[[], object]) -> object:
        """Runs what takes long on large messages beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._codec, function)

    def close(self) -> None:
        """Ends the threads, after what they are doing."""
        self._batcher.close()
        self._codec.shutdown()

    def _change(self, by: int) -> None:
        self._admitted += by
        self.metrics.admitted(self._admitted)
